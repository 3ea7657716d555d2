//! Buckets as providers and their settings have them: append-only, with temporary credentials, other
//! regions, private certificates, and what some servers do not know.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use startclaw_backup::{
    BackupError, BackupErrorKind, Destination, ReadData, Repository, Storage, Work, Workers,
};

use crate::{
    destination::{identify, probe},
    s3::S3,
    stage::*,
};

fn append_only(repository: &Repository) -> Repository {
    with(repository, |storage| storage.append_only = true)
}

fn with(repository: &Repository, change: impl FnOnce(&mut Storage)) -> Repository {
    let mut other = repository.clone();
    change(&mut other.storage);
    other
}

/// Takes a snapshot into the bucket, and copies two others to it. Returns their ids.
async fn back_up(bucket: &Repository, stage: &Stage) -> Vec<String> {
    identify(bucket, Some("mine")).await.unwrap();
    stage.write("big", noise(1, 1 << 20));
    stage.take().await.unwrap();
    take(bucket, &stage.volume()).await.unwrap();
    stage.write("big", noise(2, 1 << 20));
    stage.take().await.unwrap();
    copy(&stage.repository(), bucket).await;
    list(bucket).await.into_iter().map(|s| s.id).collect()
}

/// All snapshots are listed, and can be checked and restored.
async fn is_whole(bucket: &Repository, stage: &Stage, ids: &[String]) {
    let found: Vec<_> = list(bucket).await.into_iter().map(|s| s.id).collect();
    assert_eq!(found, ids);
    run(bucket, Work::Check { read: ReadData::All }).await.unwrap();
    let root = stage.empty(&format!("restored-{}", rand()));
    let work = Work::Restore { snapshot: ids[0].clone(), root: root.clone(), uid: uid() };
    run(bucket, work).await.unwrap();
    assert_eq!(fs::read(root.join("big")).unwrap(), noise(2, 1 << 20));
}

/// All that is done in a bucket.
async fn works(bucket: &Repository, stage: &Stage) {
    probe(bucket).await.unwrap();
    let ids = back_up(bucket, stage).await;
    assert_eq!(ids.len(), 3);
    forget(bucket, &[&ids[1], &ids[2]]).await;
    is_whole(bucket, stage, &ids[..1]).await;
    run(bucket, Work::Erase).await.unwrap();
    assert!(list(bucket).await.is_empty());
}

async fn fails(bucket: &Repository, work: Work, kind: BackupErrorKind, text: &str) {
    let error = run(bucket, work).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(text), "{error}");
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn an_append_only_bucket_takes_and_gives_back_and_nothing_is_deleted_in_it() {
    let stage = Stage::new();
    let s3 = S3::with(&json!({ "refuseDeletes": 403, "refuseReplacing": true }));
    let bucket = append_only(&s3.repository(&stage, "S3RVER"));
    for _ in 0..2 {
        probe(&bucket).await.unwrap();
    }
    let ids = back_up(&bucket, &stage).await;
    assert_eq!(ids.len(), 3);
    assert_eq!(forget(&bucket, &[&ids[2]]).await, 0);
    let advice = "delete it with credentials of your own";
    fails(&bucket, Work::Erase, BackupErrorKind::Refused, advice).await;
    let repair = Work::Repair { from: stage.repository() };
    fails(&bucket, repair, BackupErrorKind::Refused, "backup.append_only").await;
    is_whole(&bucket, &stage, &ids).await;
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_that_refuses_deletion_says_so_and_loses_nothing() {
    let stage = Stage::new();
    let mut s3 = S3::with(&json!({ "refuseDeletes": 403 }));
    let bucket = s3.repository(&stage, "S3RVER");
    let ids = back_up(&bucket, &stage).await;
    for status in [403, 409] {
        s3.change(&json!({ "refuseDeletes": status }));
        for work in [Work::Probe, Work::Forget { snapshots: ids[1..].to_vec() }, Work::Erase] {
            let advice = "backup.append_only = true";
            fails(&bucket, work, BackupErrorKind::Refused, advice).await;
        }
    }
    is_whole(&bucket, &stage, &ids).await;
    // Permissions were granted.
    s3.change(&json!({}));
    forget(&bucket, &[&ids[1], &ids[2]]).await;
    is_whole(&bucket, &stage, &ids[..1]).await;
    run(&bucket, Work::Erase).await.unwrap();
}

/// The answer to a write is lost, and what was written cannot be replaced.
#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn what_was_written_already_is_not_written_again_to_a_lock() {
    let stage = Stage::new();
    let s3 = S3::with(&json!({ "refuseReplacing": true, "loseAnswers": 3 }));
    let bucket = append_only(&s3.repository(&stage, "S3RVER"));
    let ids = back_up(&bucket, &stage).await;
    is_whole(&bucket, &stage, &ids).await;
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_that_wants_fewer_requests_is_asked_again() {
    let stage = Stage::new();
    let s3 = S3::with(&json!({ "slowDown": 4 }));
    let bucket = s3.repository(&stage, "S3RVER");
    stage.write("big", noise(2, 1 << 20));
    let id = stage.take().await.unwrap().id;
    assert_eq!(copy(&stage.repository(), &bucket).await.len(), 1);
    is_whole(&bucket, &stage, &[id]).await;
}

/// As those of Backblaze and older ones of MinIO, and buckets with a lock.
#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn objects_have_a_checksum_that_every_server_knows() {
    let stage = Stage::new();
    let s3 = S3::with(&json!({ "checksum": true, "plain": true }));
    works(&s3.repository(&stage, "S3RVER"), &stage).await;
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn temporary_credentials_are_read_again_for_each_job() {
    let stage = Stage::new();
    let s3 = S3::with(&json!({ "token": "today+/=" }));
    let bucket = s3.repository(&stage, "S3RVER");
    let file = bucket.storage.credentials.clone().unwrap();
    for old in ["S3RVER\nS3RVER\nyesterday\n", "S3RVER\nS3RVER\n"] {
        fs::write(&file, old).unwrap();
        let text = "write new credentials into the file of backup.credentials";
        fails(&bucket, Work::Probe, BackupErrorKind::Unavailable, text).await;
        fails(&bucket, Work::List, BackupErrorKind::Unavailable, text).await;
    }
    fs::write(&file, "S3RVER\nS3RVER\ntoday+/=\n").unwrap();
    probe(&bucket).await.unwrap();
    let profile = "[default]\naws_access_key_id = S3RVER\naws_secret_access_key = S3RVER\n\
                   aws_session_token = today+/=\n";
    fs::write(&file, profile).unwrap();
    probe(&bucket).await.unwrap();
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_in_another_region_names_it() {
    let stage = Stage::new();
    let s3 = S3::with(&json!({ "region": "eu-west-1" }));
    let bucket = s3.repository(&stage, "S3RVER");
    let text = "the bucket's region is eu-west-1: set backup.region";
    fails(&bucket, Work::Probe, BackupErrorKind::Unavailable, text).await;
    fails(&bucket, Work::List, BackupErrorKind::Unavailable, text).await;
    probe(&with(&bucket, |storage| storage.region = Some("eu-west-1".into()))).await.unwrap();
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn errors_of_buckets_say_what_to_do() {
    let stage = Stage::new();
    let mut s3 = S3::start();
    for (ways, text) in [
        (json!({ "redirect": "eu-west-1" }), "region is eu-west-1"),
        (json!({ "error": "RequestTimeTooSkewed" }), "this host's clock"),
        (json!({ "error": "ExpiredToken" }), "write new credentials"),
        (json!({ "error": "InvalidAccessKeyId" }), "does not know the key"),
        (json!({ "error": "SignatureDoesNotMatch" }), "the secret in backup.credentials is wrong"),
        (json!({ "error": "AccessDenied" }), "check backup.credentials"),
    ] {
        s3.change(&ways);
        let bucket = s3.repository(&stage, "S3RVER");
        for work in [Work::Probe, Work::List, Work::Identify { create: None }] {
            fails(&bucket, work, BackupErrorKind::Unavailable, text).await;
        }
    }
}

/// Google's interface for S3 clients.
#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_of_google_opens_by_an_hmac_key_too() {
    let stage = Stage::new();
    let s3 = S3::with(&json!({ "google": true, "region": "auto", "plain": true }));
    let bucket = with(&s3.repository(&stage, "S3RVER"), |storage| {
        storage.destination = Destination::parse("gs://backups/some/prefix").unwrap();
    });
    works(&bucket, &stage).await;
    fs::write(bucket.storage.credentials.clone().unwrap(), "S3RVER\nwrong\n").unwrap();
    let text = "gs://backups/some/prefix";
    fails(&bucket, Work::List, BackupErrorKind::Unavailable, text).await;
}

/// A worker whose requests go to the server of a test, whatever their address is.
async fn through(s3: &S3, repository: &Repository, work: Work) -> Result<(), BackupError> {
    let worker = std::env::current_exe().unwrap();
    let worker = worker.parent().unwrap().parent().unwrap().join("examples/worker");
    let proxy = format!("http_proxy=http://127.0.0.1:{}", s3.port);
    let args = vec![proxy, worker.to_string_lossy().into_owned()];
    let workers = Workers::new("/usr/bin/env".into(), args, std::time::Duration::from_secs(30));
    workers.start(&job(repository, work)).await.unwrap().finish().await.map(drop)
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_can_be_a_part_of_the_host_name() {
    let stage = Stage::new();
    let host = "backups.s3.eu-west-1.amazonaws.com";
    let s3 = S3::with(&json!({ "host": host, "region": "eu-west-1" }));
    let in_path = with(&s3.repository(&stage, "S3RVER"), |storage| {
        storage.endpoint = Some("http://s3.eu-west-1.amazonaws.com".into());
    });
    through(&s3, &in_path, Work::Probe).await.unwrap_err();
    let in_host = with(&in_path, |storage| storage.virtual_hosted_style = true);
    through(&s3, &in_host, Work::Probe).await.unwrap();
    stage.take().await.unwrap();
    through(&s3, &stage.repository(), Work::Copy { to: in_host.clone() }).await.unwrap();
    through(&s3, &in_host, Work::Check { read: ReadData::All }).await.unwrap();
    let dotted = with(&in_host, |storage| {
        storage.destination = Destination::parse("s3://back.ups/x").unwrap();
    });
    let error = through(&s3, &dotted, Work::Probe).await.unwrap_err();
    assert!(error.message.contains("backup.virtual_hosted_style"), "{error}");
}

fn openssl(folder: &Path, arguments: &str) {
    let arguments = arguments.split(' ');
    let done = Command::new("openssl").args(arguments).current_dir(folder).output();
    let done = done.expect("openssl is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// An authority, and a certificate of it for this address.
fn certificate(folder: &Path, address: &str) -> Value {
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {curve} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"));
    openssl(folder, &format!("req {curve} -keyout s3.key -out s3.csr -subj /CN=s3"));
    fs::write(folder.join("names"), format!("subjectAltName=IP:{address}\n")).unwrap();
    let signed = "x509 -req -in s3.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out s3.pem";
    openssl(folder, &format!("{signed} -days 2 -extfile names"));
    json!({ "certificate": folder.join("s3.pem"), "key": folder.join("s3.key") })
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_certificate_of_a_private_authority_needs_the_authority() {
    let stage = Stage::new();
    let folder = stage.empty("certificates");
    let s3 = S3::with(&certificate(&folder, "127.0.0.1"));
    let bucket = with(&s3.repository(&stage, "S3RVER"), |storage| {
        storage.endpoint = Some(format!("https://127.0.0.1:{}", s3.port));
    });
    let unavailable = BackupErrorKind::Unavailable;
    fails(&bucket, Work::Probe, unavailable, "set backup.ca").await;
    let trusting = |name: &str| with(&bucket, |storage| storage.ca = Some(folder.join(name)));
    for wrong in ["missing.pem", "s3.csr"] {
        fails(&trusting(wrong), Work::Probe, unavailable, "backup.ca: cannot use").await;
    }
    probe(&trusting("ca.pem")).await.unwrap();
    stage.take().await.unwrap();
    assert_eq!(copy(&stage.repository(), &trusting("ca.pem")).await.len(), 1);
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_certificate_for_another_name_is_told_from_an_unknown_authority() {
    let stage = Stage::new();
    let folder = stage.empty("certificates");
    let s3 = S3::with(&certificate(&folder, "192.0.2.1"));
    let bucket = with(&s3.repository(&stage, "S3RVER"), |storage| {
        storage.endpoint = Some(format!("https://127.0.0.1:{}", s3.port));
        storage.ca = Some(folder.join("ca.pem"));
    });
    fails(&bucket, Work::Probe, BackupErrorKind::Unavailable, "correct backup.endpoint").await;
}
