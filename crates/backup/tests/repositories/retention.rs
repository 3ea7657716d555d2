//! Retention, and copies to another repository.

use startclaw_backup::{Command, Event, ReadData, Work};

use crate::stage::*;

#[tokio::test]
async fn forgotten_snapshots_go_with_the_data_that_only_they_used() {
    let stage = Stage::new();
    let repository = stage.repository();
    stage.write("big", noise(1, 2 << 20));
    let first = stage.take().await.unwrap();
    stage.write("big", noise(2, 2 << 20));
    let second = stage.take().await.unwrap();
    assert_eq!(forget(&repository, &[]).await, 0);
    assert_eq!(list(&repository).await.len(), 2);
    let before = size(&stage.files());
    let freed = forget(&repository, &[&first.id, "an id that is not there"]).await;
    assert!(freed > 1 << 20, "{freed}");
    assert!(size(&stage.files()) + (1 << 20) < before);
    run(&repository, Work::Check { read: ReadData::All }).await.unwrap();
    let root = stage.restore(&second.id).await.unwrap();
    assert_eq!(std::fs::read(root.join("big")).unwrap(), noise(2, 2 << 20));
    assert_eq!(forget(&repository, &[&first.id]).await, 0);
    assert_eq!(list(&repository).await.len(), 1);
}

#[tokio::test]
async fn data_of_unfinished_runs_are_freed_even_when_no_snapshot_is_forgotten() {
    let stage = Stage::new();
    let repository = stage.repository();
    stage.write("small", "x");
    stage.take().await.unwrap();
    let before = size(&stage.files());
    stage.write("big", noise(1, 3 << 20));
    let mut worker = start(&repository, taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    worker.send(Command::Abort).await.unwrap();
    worker.finish().await.unwrap_err();
    assert!(size(&stage.files()) > before + (3 << 20));
    std::fs::remove_file(stage.volume().join("big")).unwrap();
    stage.take().await.unwrap();
    let freed = forget(&repository, &[]).await;
    assert!(freed > 3 << 20, "{freed}");
    assert!(size(&stage.files()) < before + (1 << 20));
    run(&repository, Work::Check { read: ReadData::All }).await.unwrap();
    assert_eq!(list(&repository).await.len(), 2);
    assert_eq!(forget(&repository, &[]).await, 0);
}

/// As a worker leaves it that was killed before it wrote an index.
#[tokio::test]
async fn a_pack_that_no_index_contains_is_removed() {
    let stage = Stage::new();
    stage.write("small", "x");
    stage.take().await.unwrap();
    let pack = stage.files().join(format!("data/ab/ab{}", "0".repeat(62)));
    std::fs::create_dir_all(pack.parent().unwrap()).unwrap();
    std::fs::write(&pack, noise(1, 100_000)).unwrap();
    assert!(forget(&stage.repository(), &[]).await >= 100_000);
    assert!(!pack.exists());
    run(&stage.repository(), Work::Check { read: ReadData::All }).await.unwrap();
}

#[tokio::test]
async fn a_copy_catches_up_with_all_that_it_missed_and_keeps_their_ids() {
    let stage = Stage::new();
    let mut ids = Vec::new();
    for day in 0..3 {
        stage.write("file", format!("day {day}"));
        ids.insert(0, stage.take().await.unwrap().id);
    }
    let (here, other) = (stage.repository(), stage.repository_in("bucket"));
    let copy = || copy(&here, &other);
    assert_eq!(copy().await.len(), 3);
    assert_eq!(copy().await.len(), 0, "it has them all");
    stage.write("file", "day 3");
    ids.insert(0, stage.take().await.unwrap().id);
    assert_eq!(copy().await, [ids[0].clone()]);
    let there: Vec<_> = list(&other).await.into_iter().map(|s| s.id).collect();
    assert_eq!(there, ids);
    run(&other, Work::Check { read: ReadData::All }).await.unwrap();
    let root = stage.empty("from-the-bucket");
    let work = Work::Restore { snapshot: ids[2].clone(), root: root.clone(), uid: uid() };
    run(&other, work).await.unwrap();
    assert_eq!(std::fs::read_to_string(root.join("file")).unwrap(), "day 1");
}

#[tokio::test]
async fn what_is_erased_is_gone_and_can_be_begun_anew() {
    let stage = Stage::new();
    stage.write("a", "x");
    stage.take().await.unwrap();
    run(&stage.repository(), Work::Erase).await.unwrap();
    assert!(!stage.files().exists());
    assert!(list(&stage.repository()).await.is_empty());
    stage.take().await.unwrap();
    assert_eq!(list(&stage.repository()).await.len(), 1);
}

#[tokio::test]
async fn a_snapshot_that_is_not_there_is_said() {
    let stage = Stage::new();
    let error = stage.restore("latest").await.unwrap_err();
    assert_eq!(error.kind, startclaw_backup::BackupErrorKind::NoSnapshot, "{error}");
}
