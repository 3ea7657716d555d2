//! The files of the database are readable by the daemon's user only, wherever they came from.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use startclaw_store::Store;

fn modes(folder: &Path) -> Vec<u32> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|f| f.metadata().unwrap().permissions().mode() & 0o777).collect()
}

#[tokio::test]
async fn a_copy_and_a_database_from_a_backup_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let made = Store::open(&dir.path().join("made.db")).await.unwrap();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    made.write_copy(&copy).await.unwrap();
    assert_eq!(modes(copies.path()), [0o600]);

    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
    let restored = Store::open(&copy).await.unwrap();
    let modes = modes(copies.path());
    assert!(modes.len() > 1 && modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
    restored.close().await;
}
