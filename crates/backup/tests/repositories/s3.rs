//! Integration tests with an independent S3 server that verifies signatures.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use startclaw_backup::{BackupErrorKind, Destination, ReadData, Repository, Storage, Work};

use crate::stage::*;

/// s3rver with the one bucket `backups`.
pub struct S3 {
    server: Child,
    pub port: u16,
    pub root: tempfile::TempDir,
}

impl S3 {
    pub fn start() -> Self {
        Self::with(&serde_json::json!({}))
    }

    /// A bucket with ways of its own: ways.mjs says which there are.
    pub fn with(ways: &serde_json::Value) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = tempfile::tempdir().unwrap();
        let server = Self::serve(port, root.path(), ways);
        Self { server, port, root }
    }

    fn serve(port: u16, root: &Path, ways: &serde_json::Value) -> Child {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3");
        let server = Command::new("node")
            .arg(folder.join("server.mjs"))
            .arg(port.to_string())
            .arg(root)
            .arg(ways.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("node runs");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "s3rver does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// The same bucket with other ways.
    pub fn change(&mut self, ways: &serde_json::Value) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        self.server = Self::serve(self.port, self.root.path(), ways);
    }

    /// The repository, opened with this key's secret.
    pub fn repository(&self, stage: &Stage, secret: &str) -> Repository {
        let credentials = stage.dir.path().join(format!("{secret}.key"));
        fs::write(&credentials, format!("S3RVER\n{secret}\n")).unwrap();
        Repository {
            storage: Storage {
                credentials: Some(credentials),
                endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
                ..Storage::new(Destination::parse("s3://backups/some/prefix").unwrap())
            },
            folder: "alice".into(),
            lock: stage.dir.path().join("locks/s3"),
            key: key(7),
            destination_id: None,
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_of_the_s3_kind_takes_gives_back_and_forgets() {
    let (s3, stage) = (S3::start(), Stage::new());
    let bucket = s3.repository(&stage, "S3RVER");
    for day in 0..2 {
        stage.write("big", noise(day * 2, 3 << 20));
        stage.take().await.unwrap();
    }
    assert_eq!(copy(&stage.repository(), &bucket).await.len(), 2);
    // And directly into the bucket.
    stage.write("big", noise(9, 3 << 20));
    take(&bucket, &stage.volume()).await.unwrap();
    let there: Vec<_> = list(&bucket).await.into_iter().map(|s| s.id).collect();
    assert_eq!(there.len(), 3);
    run(&bucket, Work::Check { read: ReadData::All }).await.unwrap();
    let root = stage.empty("restored");
    let newest = list(&bucket).await.into_iter().max_by_key(|s| s.taken_at).unwrap();
    run(&bucket, Work::Restore { snapshot: newest.id, root: root.clone(), uid: uid() })
        .await
        .unwrap();
    assert_eq!(fs::read(root.join("big")).unwrap(), noise(9, 3 << 20));
    let before = size(s3.root.path());
    for snapshot in &list(&bucket).await[1..] {
        forget(&bucket, &[&snapshot.id]).await;
    }
    assert!(size(s3.root.path()) + (5 << 20) < before, "the bucket is smaller");
    run(&bucket, Work::Erase).await.unwrap();
    assert!(list(&bucket).await.is_empty());
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_wrong_key_of_a_bucket_is_said_and_stores_nothing() {
    let (s3, stage) = (S3::start(), Stage::new());
    stage.write("a", "x");
    let bucket = s3.repository(&stage, "wrong");
    let error = take(&bucket, &stage.volume()).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Unavailable, "{error}");
    assert!(error.message.contains("backup.credentials"), "{error}");
    assert!(files(s3.root.path()).iter().all(|f| !f.to_string_lossy().contains("alice")));
}
