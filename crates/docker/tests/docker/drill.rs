//! The container of a restore test: beside the live one, and isolated.

use startclaw_host::{
    ContainerState, Enforced, Host, InstanceSpec, Probe, SecretFile, objects::Step,
};
use startclaw_model::{InstanceId, Secret};

use super::platform::{CANARY, Platform, SERVER, run, works};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_drill_answers_us_and_reaches_nobody_and_the_living_instance_goes_on() {
    let p = Platform::new(22);
    let living = p.spec("dora", 2, &["node", "-e", SERVER]);
    p.bring_up(&living).await;
    let answers = |probe: &Probe| matches!(probe, Probe::Answer { status: 200, .. });
    p.until(&living, |seen| answers(&seen.probe)).await;
    let pid = p.pid(&living);

    let drill = InstanceSpec {
        id: InstanceId(format!("drill-{}", living.id)),
        isolated: true,
        secrets: vec![SecretFile { name: "KEY".into(), value: Secret::new("placeholder") }],
        ..living.clone()
    };
    for step in [
        Step::CreateVolume,
        Step::WriteSecrets,
        Step::WriteConfig("{}".into()),
        Step::CreateContainer,
        Step::CreateContainer,
        Step::StartContainer,
        Step::StartContainer,
    ] {
        p.apply(&drill, step).await;
    }
    let seen = p.until(&drill, |seen| answers(&seen.probe)).await;
    let container = seen.container.unwrap();
    assert_eq!(container.state, ContainerState::Running);
    assert_eq!(container.enforced, Enforced::Cpu, "it boots under its CPU limit");
    assert!(answers(&p.host.probe(&drill).await.unwrap()));
    assert_eq!(p.inspect(&drill, r#"{{index .Config.Labels "schost22.role"}}"#), "drill");
    assert_eq!(
        p.inspect(&drill, "{{.HostConfig.NetworkMode}} {{.HostConfig.PortBindings}}"),
        "none map[]"
    );

    // It reaches nothing: not the internet, this host, or the instance beside it.
    assert_eq!(p.says(&drill, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"), "lo");
    let webhook = p.host.endpoints_of(living.slot).unwrap();
    for address in [
        "198.41.0.4",
        "169.254.169.254",
        &webhook.webhook.ip().to_string(),
        &webhook.proxy.to_string(),
    ] {
        for port in [53, 80, 443, 18789] {
            assert!(!p.reaches(&drill, address, port), "{address}:{port}");
        }
    }
    p.refuses(&drill, "timeout 5 getent ahosts example.com", "");
    // Nor anything that is not its own.
    assert_eq!(p.says(&drill, "cat /run/secrets/startclaw/KEY"), "placeholder");
    assert!(!p.inspect(&drill, "{{json .}}").contains(CANARY));
    p.refuses(&drill, "echo x > /x", "Read-only file system");
    assert!(p.says(&drill, "cat /proc/self/status").contains("CapEff:\t0000000000000000"));

    // The live instance does not see it.
    let seen = p.observe(&living).await;
    assert!(seen.other_volumes.is_empty() && answers(&seen.probe));
    assert_eq!(seen.secrets, Some(1));
    assert_eq!(p.says(&living, "cat /run/secrets/startclaw/KEY"), CANARY);

    for step in [Step::RemoveContainer, Step::RemoveSecrets, Step::RemoveVolume] {
        p.apply(&drill, step.clone()).await;
        p.apply(&drill, step).await;
    }
    let found = p.host.inventory().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!works("docker", &["volume", "inspect", &p.object(&drill)]));
    assert!(!p.settings.runtime_dir.join("secrets").join(drill.id.as_str()).exists());
    assert_eq!(p.pid(&living), pid);
    assert_eq!(run("docker", &["ps", "-q", "--filter", "label=schost22.role=drill"]), "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_drill_that_ends_is_seen_with_its_log() {
    use futures::TryStreamExt;
    let p = Platform::new(25);
    let drill = InstanceSpec {
        id: InstanceId(format!("drill-{}", InstanceId::new())),
        isolated: true,
        ..p.spec("ends", 0, &["bash", "-c", "echo no state; exit 78"])
    };
    for step in
        [Step::CreateVolume, Step::WriteSecrets, Step::CreateContainer, Step::StartContainer]
    {
        p.apply(&drill, step).await;
    }
    assert_eq!(p.until_ended(&drill).await.code, 78);
    let request = startclaw_host::LogRequest { tail: 5, follow: false };
    let lines = p.host.logs(&drill.id, request).await.unwrap();
    assert_eq!(lines.try_collect::<Vec<_>>().await.unwrap(), ["no state"]);
    assert_eq!(p.observe(&drill).await.probe, Probe::NotAsked);
}
