//! The identity of a destination, and probes of it.

use std::{fs, os::unix::fs::symlink, path::Path};

use startclaw_backup::{
    BackupError, BackupErrorKind, Destination, ReadData, Report, Repository, Work,
};
use startclaw_model::Timestamp;

use crate::{bucket::Gcs, s3::S3, stage::*};

/// The id of an instance.
const ID: &str = "01990000-0000-7000-8000-00000000000a";

pub async fn identify(
    repository: &Repository,
    create: Option<&str>,
) -> Result<(Option<String>, bool), BackupError> {
    let create = create.map(str::to_owned);
    match run(repository, Work::Identify { create }).await? {
        Report::Identified { id, has_repositories } => Ok((id, has_repositories)),
        other => panic!("{other:?}"),
    }
}

pub async fn probe(repository: &Repository) -> Result<Option<Timestamp>, BackupError> {
    match run(repository, Work::Probe).await? {
        Report::Probed { server_time } => Ok(server_time),
        other => panic!("{other:?}"),
    }
}

fn expecting(repository: &Repository, id: &str) -> Repository {
    Repository { destination_id: Some(id.into()), ..repository.clone() }
}

/// The same repository in a bucket of this name.
fn in_bucket(repository: &Repository, name: &str) -> Repository {
    let mut other = repository.clone();
    let scheme = other.storage.destination.to_string()[..5].to_owned();
    other.storage.destination = Destination::parse(&format!("{scheme}{name}/prefix")).unwrap();
    other
}

async fn has_one_identity(repository: &Repository) {
    assert_eq!(identify(repository, None).await.unwrap(), (None, false));
    let first = identify(repository, Some("first-1")).await.unwrap();
    assert_eq!(first, (Some("first-1".into()), false));
    let again = identify(repository, Some("second-2")).await.unwrap();
    assert_eq!(again.0.as_deref(), Some("first-1"), "it keeps the first");
    assert_eq!(identify(repository, None).await.unwrap().0.as_deref(), Some("first-1"));
}

/// Every kind of work is refused, and nothing is created.
async fn is_refused(repository: &Repository, stage: &Stage, why: &str) {
    let elsewhere = stage.repository_in("elsewhere");
    for work in [
        Work::List,
        Work::Check { read: ReadData::Nothing },
        Work::Forget { snapshots: Vec::new() },
        Work::Copy { to: elsewhere.clone() },
        Work::Repair { from: elsewhere.clone() },
        Work::Probe,
        Work::Erase,
    ] {
        let error = run(repository, work).await.unwrap_err();
        assert_eq!(error.kind, BackupErrorKind::Foreign, "{error}");
        assert!(error.message.contains(why), "{error}");
    }
    let error = take(repository, &stage.volume()).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Foreign, "{error}");
    for work in [Work::Copy { to: repository.clone() }, Work::Repair { from: repository.clone() }] {
        let error = run(&stage.repository(), work).await.unwrap_err();
        assert_eq!(error.kind, BackupErrorKind::Foreign, "{error}");
    }
}

#[tokio::test]
async fn a_folder_keeps_its_identity_and_its_repositories_are_told_from_other_folders() {
    let stage = Stage::new();
    let repository = Repository { folder: ID.into(), ..stage.repository() };
    has_one_identity(&repository).await;
    // A mount point without a file system, and a repository that is not of StartClaw.
    let root = stage.dir.path().join("repositories");
    for folder in ["lost+found", "control-plane", ID, "laptop"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("laptop/config"), "x").unwrap();
    assert_eq!(identify(&repository, None).await.unwrap(), (Some("first-1".into()), false));
    stage.write("a", "x");
    let known = expecting(&repository, "first-1");
    take(&known, &stage.volume()).await.unwrap();
    probe(&known).await.unwrap();
    assert_eq!(identify(&repository, None).await.unwrap(), (Some("first-1".into()), true));
    assert_eq!(list(&known).await.len(), 1);
}

#[tokio::test]
async fn a_destination_that_is_another_or_not_mounted_is_left_alone() {
    let stage = Stage::new();
    stage.write("a", "x");
    stage.take().await.unwrap();
    let repository = stage.repository_in("mount");
    is_refused(&expecting(&repository, "mine"), &stage, "no identity").await;
    let place = stage.empty("mount");
    is_refused(&expecting(&repository, "mine"), &stage, "no identity").await;
    assert!(files(&place).is_empty());
    identify(&repository, Some("theirs")).await.unwrap();
    is_refused(&expecting(&repository, "mine"), &stage, "another identity").await;
    assert_eq!(files(&place).len(), 1, "only the identity is there");
    assert!(!stage.dir.path().join("elsewhere").exists());
}

#[tokio::test]
async fn a_hostile_identity_is_an_error_and_stays_out_of_messages() {
    let stage = Stage::new();
    let repository = stage.repository();
    let file = stage.empty("repositories").join("startclaw-destination");
    for content in [
        vec![b'a'; 100_000],
        b"two\nlines".to_vec(),
        b"\xff\xfe".to_vec(),
        b"<!channel>".to_vec(),
        Vec::new(),
    ] {
        fs::write(&file, &content).unwrap();
        for create in [None, Some("mine")] {
            let error = identify(&repository, create).await.unwrap_err();
            assert_eq!(error.kind, BackupErrorKind::Foreign, "{error}");
            assert!(error.message.len() < 600 && !error.message.contains("channel"), "{error}");
        }
        assert_eq!(fs::read(&file).unwrap(), content, "it is left as it is");
    }
    fs::remove_file(&file).unwrap();
    symlink("/dev/zero", &file).unwrap();
    identify(&repository, None).await.unwrap_err();
    fs::remove_file(&file).unwrap();
    let error = identify(&repository, Some("no identity\n")).await.unwrap_err();
    assert!(error.message.contains("identity"), "{error}");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_probe_of_a_folder_leaves_nothing_and_creates_no_folder() {
    let stage = Stage::new();
    let repository = stage.repository();
    let error = probe(&repository).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Unavailable);
    assert!(error.message.contains("does not exist"), "{error}");
    let place = stage.dir.path().join("repositories");
    assert!(!place.exists());
    fs::create_dir(&place).unwrap();
    assert_eq!(probe(&repository).await.unwrap(), None);
    assert!(files(&place).is_empty());
    fs::remove_dir_all(&place).unwrap();
    fs::write(&place, "a file").unwrap();
    let error = probe(&repository).await.unwrap_err();
    assert!(error.message.contains("no folder"), "{error}");
}

async fn bucket_is_probed_and_identified(bucket: &Repository, root: &Path, stage: &Stage) {
    let before = Timestamp::now();
    let time = probe(bucket).await.unwrap().expect("a bucket has a clock");
    assert!(time.as_millis().abs_diff(before.as_millis()) < 60_000, "{time:?}");
    let left = files(root).into_iter().filter(|f| f.to_string_lossy().contains("startclaw-probe"));
    assert_eq!(left.count(), 0);
    has_one_identity(bucket).await;
    is_refused(&expecting(bucket, "mine"), stage, "another identity").await;
    let known = expecting(bucket, "first-1");
    let known = Repository { folder: ID.into(), ..known };
    take(&known, &stage.volume()).await.unwrap();
    assert_eq!(identify(bucket, None).await.unwrap(), (Some("first-1".into()), true));
}

/// Whatever is tried in it.
async fn missing_bucket_is_named(bucket: &Repository, stage: &Stage) {
    let missing = in_bucket(bucket, "nowhere");
    let taken = take(&missing, &stage.volume()).await.map(drop);
    let mut results = vec![taken, probe(&missing).await.map(drop)];
    results.push(identify(&missing, None).await.map(drop));
    results.push(identify(&missing, Some("mine")).await.map(drop));
    for work in [Work::List, Work::Check { read: ReadData::Nothing }] {
        results.push(run(&missing, work).await.map(drop));
    }
    results.push(run(&expecting(&missing, "mine"), Work::List).await.map(drop));
    let copied = run(&stage.repository(), Work::Copy { to: missing.clone() }).await;
    results.push(copied.map(drop));
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind, BackupErrorKind::Unavailable, "{error}");
        assert!(error.message.contains("the bucket does not exist"), "{error}");
    }
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_of_google_is_probed_and_identified() {
    let (gcs, stage) = (Gcs::start(), Stage::new());
    stage.write("a", "x");
    stage.take().await.unwrap();
    let bucket = gcs.repository(&stage);
    bucket_is_probed_and_identified(&bucket, gcs.root.path(), &stage).await;
    missing_bucket_is_named(&bucket, &stage).await;
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_of_the_s3_kind_is_probed_and_identified() {
    let (s3, stage) = (S3::start(), Stage::new());
    stage.write("a", "x");
    stage.take().await.unwrap();
    let bucket = s3.repository(&stage, "S3RVER");
    bucket_is_probed_and_identified(&bucket, s3.root.path(), &stage).await;
    missing_bucket_is_named(&bucket, &stage).await;
}
