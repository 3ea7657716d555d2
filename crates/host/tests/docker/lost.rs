//! A volume that somebody removed or emptied is seen as such, and nothing puts an empty one in its
//! place.

use startclaw_host::{Host, HostErrorKind, Observed, Step};

use super::platform::{Platform, run, works};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn a_volume_that_was_removed_is_missing_and_one_that_was_emptied_is_empty() {
    let p = Platform::new(27);
    let plan = p.plan("lost", 0, &["sleep", "infinity"]);
    p.bring_up(&plan).await;
    let object = p.object(&plan);
    let root = run("docker", &["volume", "inspect", "-f", "{{.Mountpoint}}", &object]);
    p.says(&plan, "echo data > ~/.openclaw/data && mkdir ~/.openclaw/.hidden");
    assert!(!p.observe(&plan).await.volume_empty, "it is not looked into while it is used");

    // Stopped: what is in it is seen, down to one hidden file.
    p.apply(&plan, Step::StopContainer).await;
    let seen = p.observe(&plan).await;
    assert!(seen.volume && seen.volume_ready && !seen.volume_empty, "{seen:?}");
    run("sh", &["-c", r#"rm -rf "$0/"* && [ -e "$0/.hidden" ]"#, &root]);
    assert!(!p.observe(&plan).await.volume_empty);
    run("rmdir", &[&format!("{root}/.hidden")]);
    let seen = p.observe(&plan).await;
    assert!(seen.volume && seen.volume_ready && seen.volume_empty, "{seen:?}");
    assert_eq!((seen.volume_name, seen.config), (object.clone(), None));
    // Its user may have it still, and that does not fill it.
    p.apply(&plan, Step::OwnVolume).await;
    assert!(p.observe(&plan).await.volume_empty);

    // Docker removes no volume that a container holds, so both go.
    assert!(!works("docker", &["volume", "rm", "-f", &object]));
    run("docker", &["rm", "-f", &object]);
    run("docker", &["volume", "rm", "-f", &object]);
    let seen = p.observe(&plan).await;
    let missing = Observed { network: true, secrets: Some(1), ..p.nothing(&plan) };
    assert_eq!(seen, missing);
    let found = p.host.inventory().await.unwrap();
    assert!(!found[0].volume && found[0].network, "{found:?}");

    // Whoever needs it fails, and makes none.
    for step in
        [Step::OwnVolume, Step::WriteConfig("{}".into()), Step::CreateContainer, Step::Repair]
    {
        let error = p.host.apply(&plan, &step).await.unwrap_err();
        assert_eq!(error.kind, HostErrorKind::Unavailable, "{step}: {error}");
        assert!(error.message.contains("volume"), "{step}: {error}");
    }
    assert_eq!(p.host.volume_mount(&plan).await.unwrap(), None);
    assert_eq!(p.observe(&plan).await, missing);
    assert!(!works("docker", &["volume", "inspect", &object]));
    p.apply(&plan, Step::RemoveVolume).await;

    // A volume of the same name that is not this instance's does not count for it.
    run("docker", &["volume", "create", "--label", "schost27.instance=other", &object]);
    assert_eq!(p.observe(&plan).await, missing);
    let error = p.host.apply(&plan, &Step::OwnVolume).await.unwrap_err();
    assert!(error.message.contains("missing"), "{error}");
    run("docker", &["volume", "rm", &object]);
}
