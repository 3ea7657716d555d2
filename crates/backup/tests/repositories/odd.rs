//! Unusual files are restored unchanged, and none leads out of the volume.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::stage::*;

/// What must be restored of every entry, by its path: type and mode, time, length, content or
/// target.
pub fn image(root: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut stack = vec![root.to_owned()];
    while let Some(folder) = stack.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut content = Vec::new();
            if meta.is_dir() {
                stack.push(path.clone());
            } else if meta.is_symlink() {
                content = fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec();
            } else if meta.is_file() && meta.len() < 1 << 20 {
                content = fs::read(&path).unwrap();
            }
            let length = if meta.is_file() { meta.len() } else { 0 };
            let name = path.strip_prefix(root).unwrap().to_owned();
            found.insert(name, (meta.mode(), meta.mtime(), meta.mtime_nsec(), length, content));
        }
    }
    found
}

#[tokio::test]
async fn odd_files_come_back_as_they_were() {
    let stage = Stage::new();
    let volume = stage.volume();
    stage.write("plain", "x");
    stage.write("empty", "");
    fs::create_dir_all(volume.join("hollow/inner")).unwrap();
    for (name, mode) in [("locked", 0o000), ("shared", 0o666), ("sticky", 0o1777), ("set", 0o6755)]
    {
        stage.write(name, name);
        fs::set_permissions(volume.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("plain", volume.join("link")).unwrap();
    symlink("/etc/shadow", volume.join("outside")).unwrap();
    symlink(OsStr::from_bytes(b"no\xffutf8"), volume.join("dangling")).unwrap();
    symlink("..", volume.join("hollow/up")).unwrap();
    for name in [
        &b"back\\slash"[..],
        b"quote\"",
        b"line\nbreak",
        b"\xff\xfe",
        b"-rf",
        "émoji 🦀".as_bytes(),
        b" ",
    ] {
        fs::write(volume.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(volume.join("linked-1"), noise(1, 5000)).unwrap();
    fs::hard_link(volume.join("linked-1"), volume.join("hollow/linked-2")).unwrap();
    mknodat(CWD, volume.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(volume.join("socket")).unwrap());
    let sparse = fs::File::create(volume.join("sparse")).unwrap();
    sparse.set_len(200 << 20).unwrap();
    fs::write(volume.join("large"), noise(2, 30 << 20)).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(86_400, 123_456_789);
    fs::File::open(volume.join("plain")).unwrap().set_modified(old).unwrap();
    fs::File::open(volume.join("hollow")).unwrap().set_modified(old).unwrap();

    let info = stage.take().await.unwrap();
    let root = stage.restore(&info.id).await.unwrap();
    let (before, after) = (image(&volume), image(&root));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, wanted) in &before {
        assert_eq!(Some(wanted), after.get(path), "{}", path.display());
    }
    let meta = |name: &str| root.join(name).metadata().unwrap();
    assert_eq!(meta("linked-1").ino(), meta("hollow/linked-2").ino());
    assert!(meta("sparse").blocks() * 512 < 1 << 20, "it is sparse again");
    assert_eq!(fs::read(root.join("large")).unwrap(), noise(2, 30 << 20));
    for path in after.keys() {
        assert_eq!(fs::symlink_metadata(root.join(path)).unwrap().uid(), uid());
    }
}

#[tokio::test]
async fn a_link_out_of_the_volume_is_kept_as_a_link_and_neither_read_nor_written_through() {
    let stage = Stage::new();
    let outside = stage.empty("outside");
    fs::write(outside.join("secret"), "canary-of-the-host").unwrap();
    symlink(&outside, stage.volume().join("folder")).unwrap();
    symlink(outside.join("secret"), stage.volume().join("file")).unwrap();
    let info = stage.take().await.unwrap();
    assert!(info.bytes < 10, "{info:?}");
    let root = stage.restore(&info.id).await.unwrap();
    assert!(root.join("folder").is_symlink() && root.join("file").is_symlink());
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "canary-of-the-host");
    assert_eq!(outside.join("secret").metadata().unwrap().uid(), 0, "it is whose it was");
}

#[tokio::test]
async fn a_race_of_folder_and_link_never_shows_what_lies_outside() {
    let stage = Stage::new();
    let outside = stage.empty("outside");
    fs::write(outside.join("secret"), "canary-of-the-host").unwrap();
    let volume = stage.volume();
    stage.write("d/secret", "mine");
    symlink(&outside, volume.join("l")).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, place) = (stop.clone(), volume.clone());
    let swapper = std::thread::spawn(move || {
        while !told.load(std::sync::atomic::Ordering::Relaxed) {
            for (from, to) in [("d", "x"), ("l", "d"), ("d", "l"), ("x", "d")] {
                let _ = fs::rename(place.join(from), place.join(to));
            }
        }
    });
    for _ in 0..8 {
        // The folder changes, so it may fail; it must not read anything outside.
        let _ = stage.take().await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
    for snapshot in list(&stage.repository()).await {
        let root = stage.restore(&snapshot.id).await.unwrap();
        for file in files(&root) {
            if !file.is_symlink() {
                assert_eq!(fs::read_to_string(&file).unwrap(), "mine", "{}", file.display());
            }
        }
    }
}

#[tokio::test]
async fn a_restore_needs_an_empty_folder() {
    let stage = Stage::new();
    stage.write("a", "x");
    stage.take().await.unwrap();
    let work = startclaw_backup::Work::Restore {
        snapshot: "latest".into(),
        root: stage.volume(),
        uid: uid(),
    };
    let error = run(&stage.repository(), work).await.unwrap_err();
    assert!(error.message.contains("not empty"), "{error}");
}
