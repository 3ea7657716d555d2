//! What a snapshot holds when the folder changes before, between and after the two passes.

use std::{
    ffi::CStr,
    fs,
    io::Write,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use startclaw_backup::{BackupErrorKind, Command, Event, Report, Running, SnapshotInfo};

use crate::{odd::image, stage::*};

/// Waits until time stamps are old enough to prove something.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(4)).await;
}

/// Writes into a file without a change of its length or of its folder.
fn overwrite(path: &Path, text: &str) {
    fs::File::options().write(true).open(path).unwrap().write_all_at(text.as_bytes(), 0).unwrap();
}

/// The restored snapshot has exactly what the volume had.
async fn assert_is(stage: &Stage, info: &SnapshotInfo, wanted: &Image) {
    let root = stage.restore(&info.id).await.unwrap();
    let restored = image(&root);
    assert_eq!(wanted.keys().collect::<Vec<_>>(), restored.keys().collect::<Vec<_>>());
    for (path, entry) in wanted {
        assert_eq!(Some(entry), restored.get(path), "{}", path.display());
    }
}

type Image = std::collections::BTreeMap<std::path::PathBuf, (u32, i64, i64, u64, Vec<u8>)>;

fn fill(stage: &Stage) {
    for folder in ["same", "edited", "chmod", "created", "deleted", "replaced", "moved/deep"] {
        for n in 0..3 {
            stage.write(&format!("{folder}/f{n}"), format!("old {folder} {n}"));
        }
    }
    let volume = stage.volume();
    stage.write("becomes-link/f", "old");
    stage.write("becomes-file/f", "old");
    stage.write("becomes-folder", "old");
    symlink("same", volume.join("link")).unwrap();
    symlink("same", volume.join("same/link")).unwrap();
}

/// Changes what was filled, in each way.
fn change(volume: &Path) {
    overwrite(&volume.join("edited/f1"), "new");
    fs::set_permissions(volume.join("chmod/f1"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(volume.join("chmod"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(volume.join("created/f10"), "new, between others").unwrap();
    fs::create_dir_all(volume.join("created/a/b")).unwrap();
    fs::write(volume.join("created/a/b/c"), "new").unwrap();
    fs::remove_file(volume.join("deleted/f1")).unwrap();
    fs::write(volume.join("x"), "new and replaces").unwrap();
    fs::rename(volume.join("x"), volume.join("replaced/f1")).unwrap();
    fs::rename(volume.join("moved"), volume.join("moved-away")).unwrap();
    fs::remove_dir_all(volume.join("becomes-link")).unwrap();
    symlink("same", volume.join("becomes-link")).unwrap();
    fs::remove_dir_all(volume.join("becomes-file")).unwrap();
    fs::write(volume.join("becomes-file"), "new").unwrap();
    fs::remove_file(volume.join("becomes-folder")).unwrap();
    fs::create_dir(volume.join("becomes-folder")).unwrap();
    fs::write(volume.join("becomes-folder/f"), "new").unwrap();
    fs::remove_file(volume.join("link")).unwrap();
    symlink("edit", volume.join("link")).unwrap();
}

#[tokio::test]
async fn every_kind_of_change_between_the_passes_is_in_the_snapshot() {
    let stage = Stage::new();
    fill(&stage);
    settle().await;
    let volume = stage.volume();
    let info = take_while(&stage.repository(), &volume, || change(&volume)).await.unwrap();
    assert_is(&stage, &info, &image(&volume)).await;
    // Also on the next day, when nothing changes.
    let info = stage.take().await.unwrap();
    assert_is(&stage, &info, &image(&volume)).await;
}

/// Two files of the same size whose time stamps are equal.
fn twins(one: &Path, other: &Path) {
    let times = |path: &Path| {
        let about = fs::metadata(path).unwrap();
        (about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec())
    };
    let begun = Instant::now();
    loop {
        fs::write(one, "this one").unwrap();
        fs::write(other, "that one").unwrap();
        if times(one) == times(other) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the clock is too fine");
    }
}

#[tokio::test]
async fn files_that_changed_places_are_told_apart_although_their_times_are_equal() {
    let stage = Stage::new();
    stage.write("a/f", "");
    stage.write("b/f", "");
    let volume = stage.volume();
    twins(&volume.join("a/f"), &volume.join("b/f"));
    settle().await;
    let exchange = || {
        for (from, to) in [("a", "x"), ("b", "a"), ("x", "b")] {
            fs::rename(volume.join(from), volume.join(to)).unwrap();
        }
    };
    let info = take_while(&stage.repository(), &volume, exchange).await.unwrap();
    assert_is(&stage, &info, &image(&volume)).await;
    // Also between two nights.
    exchange();
    let info = stage.take().await.unwrap();
    assert_is(&stage, &info, &image(&volume)).await;
}

#[tokio::test]
async fn what_changes_during_the_first_pass_is_in_the_snapshot() {
    let stage = Stage::new();
    for n in 0..2000 {
        stage.write(&format!("d{}/f{n}", n % 40), noise(n, 3000));
    }
    let volume = stage.volume();
    let stop = Arc::new(AtomicBool::new(false));
    let (told, place) = (stop.clone(), volume.clone());
    let writer = std::thread::spawn(move || {
        for n in 0_u32.. {
            if told.load(Ordering::Relaxed) {
                return n;
            }
            let folder = place.join(format!("d{}", n % 40));
            fs::write(folder.join(format!("f{}", n % 40)), n.to_string()).unwrap();
            fs::write(folder.join("new"), "x").unwrap();
            fs::rename(folder.join("new"), folder.join(format!("new-{}", n % 50))).unwrap();
            let _ = fs::remove_file(folder.join(format!("new-{}", (n + 7) % 50)));
        }
        0
    });
    let between = || {
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > 100, "it was too slow to change much");
    };
    let info = take_while(&stage.repository(), &volume, between).await.unwrap();
    assert_is(&stage, &info, &image(&volume)).await;
}

/// Begins a backup, and changes the folder between the passes; returns when all is read.
async fn until_read(stage: &Stage, between: impl FnOnce()) -> Running {
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    between();
    worker.send(Command::Go).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    worker
}

async fn commit(mut worker: Running) -> SnapshotInfo {
    worker.send(Command::Commit).await.unwrap();
    match worker.finish().await.unwrap() {
        Report::Taken(info) => info,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_that_is_written_after_the_freeze_is_in_the_snapshot() {
    let stage = Stage::new();
    fill(&stage);
    for n in 0..3000 {
        stage.write(&format!("many/d{}/f{n}", n % 60), noise(n, 500));
    }
    settle().await;
    let volume = stage.volume();
    let worker = until_read(&stage, || {
        change(&volume);
        // One more than fits into memory: the last go to the disk.
        for n in 0..9 {
            fs::write(volume.join(format!("large-{n}")), noise(n, 8 << 20)).unwrap();
        }
    })
    .await;
    let frozen = image(&volume);
    for file in files(&volume) {
        if !file.is_symlink() {
            overwrite(&file, "LATER");
        }
    }
    fs::remove_dir_all(volume.join("same")).unwrap();
    fs::write(volume.join("later"), "x").unwrap();
    let info = commit(worker).await;
    assert_is(&stage, &info, &frozen).await;
    let root = stage.restore(&info.id).await.unwrap();
    for n in 0..9 {
        let restored = fs::read(root.join(format!("large-{n}"))).unwrap();
        assert!(restored == noise(n, 8 << 20), "large-{n}");
    }
}

#[tokio::test]
async fn what_is_too_large_to_be_kept_stays_frozen_until_it_is_stored() {
    let stage = Stage::new();
    stage.write("a/small", "x");
    settle().await;
    let volume = stage.volume();
    let size = 1088 << 20;
    let worker = until_read(&stage, || {
        let mut file = fs::File::create(volume.join("a/huge")).unwrap();
        file.set_len(size).unwrap();
        file.write_all(b"old at its begin").unwrap();
        file.write_all_at(b"old", size - 3).unwrap();
    })
    .await;
    let huge = fs::File::options().write(true).open(volume.join("a/huge")).unwrap();
    huge.write_all_at(b"LATER", 0).unwrap();
    huge.write_all_at(b"LATER", size - 5).unwrap();
    let info = commit(worker).await;
    let root = stage.restore(&info.id).await.unwrap();
    let restored = fs::File::open(root.join("a/huge")).unwrap();
    assert_eq!(restored.metadata().unwrap().len(), size);
    for (at, wanted) in [(0, &b"old at"[..]), (size - 5, b"\0\0old")] {
        let mut read = vec![0; wanted.len()];
        restored.read_exact_at(&mut read, at).unwrap();
        assert_eq!(read, wanted);
    }
}

#[tokio::test]
async fn what_would_have_to_be_read_after_the_freeze_fails_the_backup() {
    let stage = Stage::new();
    stage.write("d/known", "x");
    settle().await;
    let repository = stage.files();
    let taken = take_while(&stage.repository(), &stage.volume(), || {
        // What the first pass stored is gone: then its files would be read again.
        files(&repository.join("data")).iter().for_each(|pack| fs::remove_file(pack).unwrap());
    })
    .await;
    let error = taken.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Stalled, "{error}");
    assert!(error.message.contains("d/known"), "{error}");
    assert!(list(&stage.repository()).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_while_frozen_fails_the_backup_by_name() {
    let stage = Stage::new();
    stage.write("inner/mounted/x", "x");
    settle().await;
    let mount = stage.volume().join("inner/mounted");
    let taken = take_while(&stage.repository(), &stage.volume(), || {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &mount, "tmpfs", flags, None::<&CStr>).unwrap();
    })
    .await;
    rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::empty()).unwrap();
    let error = taken.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Unreadable);
    assert!(error.message.contains("inner/mounted (another file system"), "{error}");
    assert!(list(&stage.repository()).await.is_empty());
}

/// Asserts no time: this only prints it, with `--nocapture`.
#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn an_instance_with_many_files_is_frozen_shortly() {
    let stage = Stage::new();
    for n in 0..100_000 {
        stage.write(&format!("p{}/d{}/f{n}", n % 40, n % 2000), "a module of some package");
    }
    settle().await;
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    let begun = Instant::now();
    worker.send(Command::Go).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    println!("frozen for {:?} with 100,000 files", begun.elapsed());
    let info = commit(worker).await;
    assert_eq!(info.files, 100_000);
}
