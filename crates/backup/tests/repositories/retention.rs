//! Retention, and copies to another repository.

use startclaw_backup::{ReadData, Report, Work};

use crate::stage::*;

async fn forget(stage: &Stage, keep_days: u32) -> (Vec<String>, u64) {
    match run(&stage.repository(), Work::Forget { keep_days }).await.unwrap() {
        Report::Forgotten { kept, freed_bytes } => (kept, freed_bytes),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_too_old_goes_with_its_data_and_the_newest_stays_whatever_its_age() {
    let stage = Stage::new();
    stage.write("big", noise(1, 2 << 20));
    stage.take().await.unwrap();
    stage.write("big", noise(2, 2 << 20));
    let second = stage.take().await.unwrap();
    assert_eq!(forget(&stage, 30).await.0.len(), 2, "both are young");
    let before = size(&stage.files());
    // Nothing is younger than zero days.
    let (kept, freed) = forget(&stage, 0).await;
    assert_eq!(kept, std::slice::from_ref(&second.id));
    assert!(freed > 1 << 20, "{freed}");
    assert!(size(&stage.files()) + (1 << 20) < before);
    run(&stage.repository(), Work::Check { read: ReadData::All }).await.unwrap();
    let root = stage.restore(&second.id).await.unwrap();
    assert_eq!(std::fs::read(root.join("big")).unwrap(), noise(2, 2 << 20));
    assert_eq!(forget(&stage, 0).await.0, [second.id]);
}

#[tokio::test]
async fn a_copy_catches_up_with_all_that_it_missed_and_keeps_their_ids() {
    let stage = Stage::new();
    let mut ids = Vec::new();
    for day in 0..3 {
        stage.write("file", format!("day {day}"));
        ids.insert(0, stage.take().await.unwrap().id);
    }
    let other = stage.repository_in("bucket");
    let copy = || run_copy(&stage);
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

async fn run_copy(stage: &Stage) -> Vec<String> {
    let work = Work::Copy { to: stage.repository_in("bucket") };
    match run(&stage.repository(), work).await.unwrap() {
        Report::Copied(all) => all.into_iter().map(|s| s.id).collect(),
        other => panic!("{other:?}"),
    }
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
