//! The order of snapshots, and damaged snapshot files.

use std::{fs, path::PathBuf};

use startclaw_backup::{BackupErrorKind, ReadData, Report, SnapshotInfo, Work};

use crate::stage::*;

/// Three snapshots, the oldest first.
async fn with_three() -> (Stage, Vec<SnapshotInfo>) {
    let stage = Stage::new();
    let mut taken = Vec::new();
    for day in 1..=3 {
        stage.write("file", format!("day {day}"));
        taken.push(stage.take().await.unwrap());
    }
    (stage, taken)
}

/// The file of the newest snapshot in a repository's folder.
fn newest_file(stage: &Stage) -> PathBuf {
    let all = files(&stage.files().join("snapshots"));
    all.into_iter().max_by_key(|f| f.metadata().unwrap().modified().unwrap()).unwrap()
}

#[tokio::test]
async fn snapshots_are_numbered_and_listed_newest_first() {
    let (stage, taken) = with_three().await;
    let listed = list(&stage.repository()).await;
    assert_eq!(listed.iter().map(|s| s.sequence).collect::<Vec<_>>(), [Some(3), Some(2), Some(1)]);
    assert_eq!(listed[0], taken[2]);
    let newest = &taken[2];
    forget(&stage.repository(), &[&taken[0].id, &taken[1].id]).await;
    let next = stage.take().await.unwrap();
    assert_eq!(next.sequence, Some(newest.sequence.unwrap() + 1));
}

/// What can happen to a snapshot file.
fn damages(stage: &Stage, file: &PathBuf) -> Vec<(&'static str, Vec<u8>)> {
    let whole = fs::read(file).unwrap();
    let mut flipped = whole.clone();
    flipped[40] ^= 4;
    let index = files(&stage.files().join("index")).remove(0);
    vec![
        ("a flipped bit", flipped),
        ("nothing in it", Vec::new()),
        ("half of it", whole[..whole.len() / 2].to_vec()),
        ("JSON in the clear", b"{\"tree\":\"no tree\"}".to_vec()),
        ("an encrypted file of another kind", fs::read(index).unwrap()),
    ]
}

#[tokio::test]
async fn a_damaged_snapshot_file_hinders_nothing_else() {
    let (stage, taken) = with_three().await;
    let (repository, bucket) = (stage.repository(), stage.repository_in("bucket"));
    let file = newest_file(&stage);
    let whole = fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    for (what, content) in damages(&stage, &file) {
        fs::write(&file, content).unwrap();
        let (listed, damaged) = list_all(&repository).await;
        let ids: Vec<_> = listed.iter().map(|s| s.id.clone()).collect();
        assert_eq!(ids, [taken[1].id.clone(), taken[0].id.clone()], "{what}");
        assert_eq!(damaged, [name.as_str()], "{what}");
        let error = run(&repository, Work::Check { read: ReadData::All }).await.unwrap_err();
        assert_eq!(error.kind, BackupErrorKind::Damaged, "{what}: {error}");
        assert!(error.message.contains(&name) && !error.message.contains("key"), "{error}");
        let latest = stage.restore("latest").await.unwrap();
        assert_eq!(fs::read_to_string(latest.join("file")).unwrap(), "day 2", "{what}");
        let error = stage.restore(&taken[2].id).await.unwrap_err();
        assert_eq!(error.kind, BackupErrorKind::NoSnapshot, "{what}: {error}");
        copy(&repository, &bucket).await;
        assert_eq!(list(&bucket).await.len(), 2, "{what}");
        let next = stage.take().await.unwrap();
        assert_eq!(list(&repository).await[0].id, next.id, "{what}");
        forget(&repository, &[&next.id]).await;
        run(&bucket, Work::Erase).await.unwrap();
    }
    // The file is put back: its data was kept.
    fs::write(&file, whole).unwrap();
    run(&repository, Work::Check { read: ReadData::All }).await.unwrap();
    let root = stage.restore(&taken[2].id).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "day 3");
}

#[tokio::test]
async fn a_damaged_snapshot_file_can_be_forgotten_by_its_name() {
    let (stage, taken) = with_three().await;
    let file = newest_file(&stage);
    fs::write(&file, b"").unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(forget(&stage.repository(), &[&name]).await > 0);
    let (listed, damaged) = list_all(&stage.repository()).await;
    assert_eq!((listed.len(), damaged.len()), (2, 0));
    run(&stage.repository(), Work::Check { read: ReadData::All }).await.unwrap();
    stage.restore(&taken[0].id).await.unwrap();
}

/// The bucket has more snapshots than the local repository, which was begun again on another host.
#[tokio::test]
async fn snapshots_of_a_new_local_repository_are_newer_than_all_in_the_bucket() {
    let (stage, mut taken) = with_three().await;
    let bucket = stage.repository_in("bucket");
    copy(&stage.repository(), &bucket).await;
    run(&stage.repository(), Work::Erase).await.unwrap();
    for _ in 0..2 {
        let next = stage.take().await.unwrap();
        copy(&stage.repository(), &bucket).await;
        taken.push(next);
        let order: Vec<_> = list(&bucket).await.into_iter().map(|s| s.id).collect();
        let expected: Vec<_> = taken.iter().rev().map(|s| s.id.clone()).collect();
        assert_eq!(order, expected);
    }
    let numbers: Vec<_> = list(&bucket).await.into_iter().filter_map(|s| s.sequence).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn copying_goes_on_after_a_snapshot_whose_data_are_damaged() {
    let stage = Stage::new();
    let (repository, bucket) = (stage.repository(), stage.repository_in("bucket"));
    for flip in [false, true] {
        stage.write("first", noise(1, 40_000));
        let first = stage.take().await.unwrap();
        let before = files(&stage.files().join("data"));
        stage.write("big", noise(2, 2 << 20));
        let second = stage.take().await.unwrap();
        let mut packs = files(&stage.files().join("data"));
        packs.retain(|pack| !before.contains(pack));
        let pack = packs.into_iter().max_by_key(|p| p.metadata().unwrap().len()).unwrap();
        fs::remove_file(stage.volume().join("big")).unwrap();
        let third = stage.take().await.unwrap();
        if flip {
            let mut content = fs::read(&pack).unwrap();
            content[1000] ^= 1;
            fs::write(&pack, content).unwrap();
        } else {
            fs::remove_file(&pack).unwrap();
        }
        let report = run(&repository, Work::Copy { to: bucket.clone() }).await.unwrap();
        let Report::Copied { copied, failed } = report else { panic!("{report:?}") };
        let ids: Vec<_> = copied.into_iter().map(|s| s.id).collect();
        assert_eq!(ids, [first.id.clone(), third.id.clone()]);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].0, second.id);
        assert!(!failed[0].1.contains("unwrap") && !failed[0].1.contains("key"), "{failed:?}");
        run(&bucket, Work::Check { read: ReadData::All }).await.unwrap();
        let root = stage.empty(&format!("restored-{flip}"));
        run(&bucket, Work::Restore { snapshot: third.id, root, uid: uid() }).await.unwrap();
        for repository in [&repository, &bucket] {
            run(repository, Work::Erase).await.unwrap();
        }
        fs::remove_file(stage.volume().join("first")).unwrap();
    }
}
