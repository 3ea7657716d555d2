//! Damage is found and named, and made no worse.

use std::{fs, os::unix::fs::FileExt, path::PathBuf};

use startclaw_backup::{BackupError, BackupErrorKind, ReadData, Report, Work};

use crate::{bucket::restic, stage::*};

/// A repository with one snapshot of some data, and its largest pack.
async fn with_a_pack() -> (Stage, PathBuf) {
    let stage = Stage::new();
    for n in 0..20 {
        stage.write(&format!("f{n}"), noise(n, 50_000));
    }
    stage.take().await.unwrap();
    let packs = files(&stage.files().join("data"));
    let largest = packs.into_iter().max_by_key(|p| p.metadata().unwrap().len()).unwrap();
    (stage, largest)
}

async fn check(stage: &Stage, read: ReadData) -> Result<(), BackupError> {
    run(&stage.repository(), Work::Check { read }).await.map(drop)
}

/// A message for people: on one line, not too long, and not about values of a program.
fn is_plain(error: &BackupError) {
    let message = &error.message;
    assert!(message.chars().count() <= 600, "{message}");
    assert!(!message.chars().any(char::is_control), "{message}");
    for word in ["unwrap", "rustic", "Rustic", "panicked", "Backtrace", "kind: ", "Err("] {
        assert!(!message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn a_good_repository_is_found_good() {
    let (stage, _) = with_a_pack().await;
    for read in [ReadData::Nothing, ReadData::All, ReadData::Part { n: 1, of: 4 }] {
        check(&stage, read).await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_pack_is_found_and_what_needs_it_is_not_restored() {
    let (stage, pack) = with_a_pack().await;
    fs::remove_file(&pack).unwrap();
    let name = pack.file_name().unwrap().to_string_lossy().into_owned();
    let error = check(&stage, ReadData::Nothing).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged);
    assert!(error.message.contains(&name[..8]), "{error}");
    is_plain(&error);
    let error = stage.restore("latest").await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged, "{error}");
    is_plain(&error);
    assert!(error.message.contains(&name[..8]), "{error}");
}

/// Unchanged files are read again where their data are gone.
#[tokio::test]
async fn after_packs_are_lost_new_snapshots_are_complete() {
    let (stage, pack) = with_a_pack().await;
    fs::remove_file(&pack).unwrap();
    let second = stage.take().await.unwrap();
    let root = stage.restore(&second.id).await.unwrap();
    assert_eq!(files(&root).len(), 20);
    for pack in files(&stage.files().join("data")) {
        let file = fs::File::options().write(true).open(&pack).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }
    let third = stage.take().await.unwrap();
    let root = stage.restore(&third.id).await.unwrap();
    assert_eq!(files(&root).len(), 20);
    // The others are whole again only if nothing in them differs, down to the times of the files.
    let older = list(&stage.repository()).await.into_iter().skip(1).map(|s| s.id).collect();
    run(&stage.repository(), Work::Forget { snapshots: older }).await.unwrap();
    check(&stage, ReadData::All).await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_opens_nothing_and_harms_nothing() {
    let (stage, _) = with_a_pack().await;
    let wrong = startclaw_backup::Repository { key: key(8), ..stage.repository() };
    let before = files(&stage.files());
    for work in [Work::Check { read: ReadData::Nothing }, Work::Forget { snapshots: Vec::new() }] {
        let error = run(&wrong, work).await.unwrap_err();
        assert!(error.message.contains("key"), "{error}");
    }
    take(&wrong, &stage.volume()).await.unwrap_err();
    assert_eq!(files(&stage.files()), before);
    check(&stage, ReadData::All).await.unwrap();
}

#[tokio::test]
async fn a_truncated_pack_is_found() {
    let (stage, pack) = with_a_pack().await;
    let file = fs::File::options().write(true).open(&pack).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = check(&stage, ReadData::Nothing).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged, "{error}");
    is_plain(&error);
    let error = stage.restore("latest").await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged, "{error}");
    is_plain(&error);
}

#[tokio::test]
async fn a_flipped_bit_is_found_when_the_data_are_read() {
    let (stage, pack) = with_a_pack().await;
    let file = fs::File::options().read(true).write(true).open(&pack).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1000).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 1000).unwrap();
    let error = check(&stage, ReadData::All).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged, "{error}");
    is_plain(&error);
    let error = stage.restore("latest").await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged, "{error}");
    is_plain(&error);
    // A check of parts finds it as well, in one part.
    let mut found = 0;
    for n in 1..=4 {
        found += u32::from(check(&stage, ReadData::Part { n, of: 4 }).await.is_err());
    }
    assert_eq!(found, 1);
}

#[tokio::test]
async fn a_missing_index_or_config_is_said_and_no_new_repository_buries_the_old() {
    let (stage, _) = with_a_pack().await;
    let config = stage.files().join("config");
    let kept = fs::read(&config).unwrap();
    fs::remove_file(&config).unwrap();
    let error = stage.take().await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Damaged);
    assert!(error.message.contains("config"), "{error}");
    fs::write(&config, kept).unwrap();
    for index in files(&stage.files().join("index")) {
        fs::remove_file(index).unwrap();
    }
    assert!(check(&stage, ReadData::Nothing).await.is_err());
}

#[tokio::test]
async fn another_key_opens_nothing_and_harms_nothing() {
    let (stage, _) = with_a_pack().await;
    let mut other = stage.repository();
    other.key = key(8);
    let error = take(&other, &stage.volume()).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Key, "{error}");
    check(&stage, ReadData::All).await.unwrap();
    assert_eq!(list(&stage.repository()).await.len(), 1);
}

#[tokio::test]
async fn nothing_lies_in_the_clear() {
    let stage = Stage::new();
    stage.write("canary-name", "canary-content-canary-content");
    stage.take().await.unwrap();
    for file in files(&stage.files()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"canary"), "{}", file.display());
        assert!(!bytes.windows(8).any(|w| w == b"password"), "{}", file.display());
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_backup_and_not_the_repository() {
    let stage = Stage::new();
    let disk = stage.empty("repositories");
    let size = c"size=6m";
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &disk, "tmpfs", flags, Some(size)).unwrap();
    stage.write("small", noise(1, 500_000));
    let small = stage.take().await;
    stage.write("big", noise(2, 12 << 20));
    let full = stage.take().await;
    fs::remove_file(stage.volume().join("big")).unwrap();
    let checked = check(&stage, ReadData::All).await;
    let restored = stage.restore("latest").await;
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::empty()).unwrap();
    small.unwrap();
    let error = full.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Unavailable);
    assert!(error.message.contains("the disk is full"), "{error}");
    checked.unwrap();
    assert!(restored.unwrap().join("small").exists());
}

#[tokio::test]
async fn a_full_disk_fails_the_restore() {
    let stage = Stage::new();
    stage.write("big", noise(2, 12 << 20));
    stage.take().await.unwrap();
    let disk = stage.empty("small-disk");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &disk, "tmpfs", flags, Some(c"size=6m")).unwrap();
    let work = Work::Restore { snapshot: "latest".into(), root: disk.clone(), uid: uid() };
    let restored = run(&stage.repository(), work).await;
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::empty()).unwrap();
    let error = restored.unwrap_err();
    assert!(
        error.message.to_lowercase().contains("space") || error.message.contains("full"),
        "{error}"
    );
}

#[tokio::test]
async fn names_of_a_tenant_come_into_messages_on_one_line_and_short() {
    let stage = Stage::new();
    // Root can read every file; only a folder on another file system is refused.
    let long = "l".repeat(200);
    let evil = "evil\nStartClaw: all is well\x1b[0m<!channel>";
    let mounts: Vec<PathBuf> =
        (0..8).map(|n| stage.volume().join(format!("{evil}{n}")).join(&long).join(&long)).collect();
    for mount in &mounts {
        fs::create_dir_all(mount).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", mount, "tmpfs", flags, None::<&std::ffi::CStr>).unwrap();
    }
    let taken = stage.take().await;
    for mount in &mounts {
        rustix::mount::unmount(mount, rustix::mount::UnmountFlags::empty()).unwrap();
    }
    let error = taken.unwrap_err();
    is_plain(&error);
    assert!(error.message.contains("evil\\nStartClaw"), "{error}");
    assert!(error.message.ends_with(" and 3 more"), "{error}");
}

#[tokio::test]
async fn a_check_says_how_much_it_read() {
    let (stage, _) = with_a_pack().await;
    for (read, least, most) in [(ReadData::Nothing, 0, 50_000), (ReadData::All, 400_000, 2_000_000)]
    {
        match run(&stage.repository(), Work::Check { read }).await.unwrap() {
            Report::Checked { read_bytes } => {
                assert!((least..most).contains(&read_bytes), "{read_bytes}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_damaged_key_file_is_replaced_and_those_of_other_passwords_stay() {
    let (stage, _) = with_a_pack().await;
    let keys = || files(&stage.files().join("keys"));
    let mine = keys().remove(0);
    let password = stage.dir.path().join("other-password");
    fs::write(&password, "another password").unwrap();
    let option = format!("--new-password-file={}", password.display());
    restic(&stage.files(), &["key", "add", &option]);
    let other = keys().into_iter().find(|key| *key != mine).unwrap();
    for damaged in [b"{}".to_vec(), b"not even JSON".to_vec(), Vec::new()] {
        let mine = keys().into_iter().find(|key| *key != other).unwrap();
        fs::write(&mine, damaged).unwrap();
        check(&stage, ReadData::Nothing).await.unwrap();
        assert!(!mine.exists() && other.exists());
        assert_eq!(keys().len(), 2);
        restic(&stage.files(), &["snapshots"]);
    }
    fs::write(&other, "").unwrap();
    check(&stage, ReadData::Nothing).await.unwrap();
    assert_eq!(keys().len(), 1);
    restic(&stage.files(), &["snapshots"]);
}
