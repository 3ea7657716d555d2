//! The content of a snapshot, and its cost.

use std::{fs, os::unix::fs::MetadataExt, time::Instant};

use startclaw_backup::{BackupErrorKind, Command, Event};

use crate::stage::*;

#[tokio::test]
async fn a_snapshot_comes_back_as_it_was_and_the_later_is_not_in_it() {
    let stage = Stage::new();
    stage.write("workspace/MEMORY.md", "the first");
    stage.write("cache/thrown-away", "x");
    let first = stage.take().await.unwrap();
    stage.write("workspace/MEMORY.md", "the second");
    let second = stage.take().await.unwrap();
    let listed: Vec<_> = list(&stage.repository()).await.into_iter().map(|s| s.id).collect();
    assert_eq!(listed, [second.id.clone(), first.id.clone()]);
    for (id, text) in [(&first.id, "the first"), (&second.id, "the second")] {
        let root = stage.restore(id).await.unwrap();
        assert_eq!(fs::read_to_string(root.join("workspace/MEMORY.md")).unwrap(), text);
        assert!(!root.join("cache").exists());
        assert_eq!(root.join("workspace").metadata().unwrap().uid(), uid());
    }
    let latest = stage.restore("latest").await.unwrap();
    assert_eq!(fs::read_to_string(latest.join("workspace/MEMORY.md")).unwrap(), "the second");
}

#[tokio::test]
async fn an_unchanged_day_stores_next_to_nothing() {
    let stage = Stage::new();
    for n in 0..400 {
        stage.write(&format!("d{}/f{n}", n % 20), noise(n, 20_000));
    }
    stage.take().await.unwrap();
    let full = size(&stage.files());
    stage.take().await.unwrap();
    let more = size(&stage.files()) - full;
    // With the metadata of all files, which may be stored once more if they were fresh at first.
    assert!(more * 50 < full, "{more} bytes more than {full}");
}

#[tokio::test]
async fn what_changes_between_the_passes_is_in_the_snapshot_also_with_the_same_size_and_times() {
    let stage = Stage::new();
    stage.write("state/openclaw.sqlite", "SQLite format 3\0 old");
    stage.write("state/openclaw.sqlite-wal", "old");
    stage.write("notes", "old");
    let volume = stage.volume();
    let old = filetime(&volume.join("state/openclaw.sqlite"));
    let info = take_while(&stage.repository(), &volume, || {
        for (name, text) in [
            ("state/openclaw.sqlite", "SQLite format 3\0 new"),
            ("state/openclaw.sqlite-wal", "new"),
            ("notes", "new"),
        ] {
            fs::write(volume.join(name), text).unwrap();
            // As an attacker would hide it: only the change time cannot be set.
            let file = fs::File::options().write(true).open(volume.join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
        fs::write(volume.join("fresh"), "new").unwrap();
    })
    .await
    .unwrap();
    let root = stage.restore(&info.id).await.unwrap();
    for name in ["state/openclaw.sqlite", "state/openclaw.sqlite-wal", "notes", "fresh"] {
        assert!(fs::read_to_string(root.join(name)).unwrap().ends_with("new"), "{name}");
    }
}

fn filetime(path: &std::path::Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

#[tokio::test]
async fn what_the_first_pass_could_not_read_is_no_failure_if_it_is_gone_in_the_second() {
    let stage = Stage::new();
    stage.write("keep", "x");
    stage.write("goes", "x");
    let volume = stage.volume();
    let between = || fs::remove_file(volume.join("goes")).unwrap();
    let info = take_while(&stage.repository(), &volume, between).await.unwrap();
    let root = stage.restore(&info.id).await.unwrap();
    assert!(root.join("keep").exists() && !root.join("goes").exists());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_fails_the_backup_by_name() {
    let stage = Stage::new();
    stage.write("good", "x");
    // Root can read every file; only a folder on another file system is refused.
    let mount = stage.volume().join("inner/mounted");
    fs::create_dir_all(&mount).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &mount, "tmpfs", flags, None::<&std::ffi::CStr>).unwrap();
    let taken = stage.take().await;
    rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::empty()).unwrap();
    let error = taken.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Unreadable);
    assert!(error.message.contains("inner/mounted"), "{error}");
    assert!(list(&stage.repository()).await.is_empty());
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_no_empty_snapshot() {
    let stage = Stage::new();
    let missing = stage.dir.path().join("nothing");
    let error = take(&stage.repository(), &missing).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Unreadable, "{error}");
    assert!(list(&stage.repository()).await.is_empty());
}

#[tokio::test]
async fn a_folder_that_did_not_hold_still_gives_no_snapshot() {
    let stage = Stage::new();
    stage.write("a", "x");
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    worker.send(Command::Go).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    worker.send(Command::Abort).await.unwrap();
    assert!(worker.finish().await.is_err());
    assert!(list(&stage.repository()).await.is_empty());
}

#[tokio::test]
async fn one_pass_is_enough_for_what_nobody_writes_to() {
    let stage = Stage::new();
    stage.write("a", "x");
    let mut worker = start(&stage.repository(), taking(&stage.volume(), false)).await;
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    worker.send(Command::Commit).await.unwrap();
    worker.finish().await.unwrap();
    assert_eq!(list(&stage.repository()).await.len(), 1);
}

/// Asserts no limit, which is the benchmark's task: this only prints the time with `--nocapture`.
#[tokio::test]
async fn the_second_pass_reads_only_what_changed() {
    let stage = Stage::new();
    for n in 0..700 {
        stage.write(&format!("d{}/f{n}", n % 50), noise(n, 5_000));
    }
    stage.take().await.unwrap();
    // The files are old enough to trust their timestamps.
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    let begun = Instant::now();
    worker.send(Command::Go).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    println!("from go to read: {:?}", begun.elapsed());
    worker.send(Command::Commit).await.unwrap();
    worker.finish().await.unwrap();
}
