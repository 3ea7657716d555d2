//! A volume that somebody removed or emptied is seen as such, and nothing puts an empty one in its
//! place.

use startclaw_host::{
    Host, HostErrorKind, InstanceSpec, NoReport, Observed, Target, objects::Step,
};

use super::platform::{Platform, run, works};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_volume_that_was_removed_is_missing_and_one_that_was_emptied_is_empty() {
    let p = Platform::new(27);
    let spec = p.spec("lost", 0, &["sleep", "infinity"]);
    p.bring_up(&spec).await;
    let object = p.object(&spec);
    let root = run("docker", &["volume", "inspect", "-f", "{{.Mountpoint}}", &object]);
    p.says(&spec, "echo data > ~/.openclaw/data && mkdir ~/.openclaw/.hidden");
    assert!(!p.observe(&spec).await.volume_empty, "it is not looked into while it is used");

    // Stopped: what is in it is seen, down to one hidden file.
    p.apply(&spec, Step::StopContainer).await;
    let seen = p.observe(&spec).await;
    assert!(seen.volume && seen.volume_ready && !seen.volume_empty, "{seen:?}");
    run("sh", &["-c", r#"rm -rf "$0/"* && [ -e "$0/.hidden" ]"#, &root]);
    assert!(!p.observe(&spec).await.volume_empty);
    run("rmdir", &[&format!("{root}/.hidden")]);
    let seen = p.observe(&spec).await;
    assert!(seen.volume && seen.volume_ready && seen.volume_empty, "{seen:?}");
    assert_eq!((seen.volume_name, seen.config), (object.clone(), None));
    // Its user may have it still, and that does not fill it.
    p.apply(&spec, Step::OwnVolume).await;
    assert!(p.observe(&spec).await.volume_empty);

    // Docker removes no volume that a container holds, so both go.
    assert!(!works("docker", &["volume", "rm", "-f", &object]));
    run("docker", &["rm", "-f", &object]);
    run("docker", &["volume", "rm", "-f", &object]);
    let seen = p.observe(&spec).await;
    let missing = Observed { network: true, secrets: Some(1), ..p.nothing(&spec) };
    assert_eq!(seen, missing);
    let found = p.host.inventory().await.unwrap();
    assert!(!found[0].volume && found[0].network, "{found:?}");

    // Whoever needs it fails, and makes none.
    for step in [Step::OwnVolume, Step::WriteConfig("{}".into()), Step::CreateContainer] {
        let error = p.fails(&spec, &step).await;
        assert_eq!(error.kind, HostErrorKind::Unavailable, "{step}: {error}");
        assert!(error.message.contains("volume"), "{step}: {error}");
    }
    let error = p.host.repair(&spec).await.unwrap_err();
    assert!(
        error.kind == HostErrorKind::Unavailable && error.message.contains("volume"),
        "{error}"
    );
    let holds_data = InstanceSpec { volume_holds_data: true, ..spec.clone() };
    let asked = p.host.converge(&holds_data, Target::Stopped, &missing, &mut NoReport).await;
    assert!(asked.unwrap_err().message.contains("an empty one must not replace it"));
    assert_eq!(p.host.volume_mount(&spec).await.unwrap(), None);
    assert_eq!(p.observe(&spec).await, missing);
    assert!(!works("docker", &["volume", "inspect", &object]));
    p.apply(&spec, Step::RemoveVolume).await;

    // A volume of the same name that is not this instance's does not count for it.
    run("docker", &["volume", "create", "--label", "schost27.instance=other", &object]);
    assert_eq!(p.observe(&spec).await, missing);
    let error = p.fails(&spec, &Step::OwnVolume).await;
    assert!(error.message.contains("missing"), "{error}");
    run("docker", &["volume", "rm", &object]);
}
