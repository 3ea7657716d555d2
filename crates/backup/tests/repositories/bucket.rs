//! Integration tests with an independent server of buckets, and with restic.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use startclaw_backup::{BackupErrorKind, Destination, ReadData, Repository, Storage, Work};

use crate::stage::*;

/// fake-gcs-server with one bucket.
pub struct Gcs {
    server: Option<Child>,
    pub port: u16,
    pub root: tempfile::TempDir,
}

impl Gcs {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("backups")).unwrap();
        let mut gcs = Self { server: None, port, root };
        gcs.come_back();
        gcs
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn come_back(&mut self) {
        let host = format!("127.0.0.1:{}", self.port);
        let server = Command::new("fake-gcs-server")
            .args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "filesystem"])
            .args(["-port", &self.port.to_string(), "-public-host", &host])
            .args(["-external-url", &self.endpoint()])
            .arg("-filesystem-root")
            .arg(self.root.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("fake-gcs-server is installed");
        self.server = Some(server);
        let begun = Instant::now();
        while !answers(self.port) {
            assert!(begun.elapsed() < Duration::from_secs(20), "fake-gcs-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn go_away(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub fn repository(&self, stage: &Stage) -> Repository {
        self.repository_at(self.port, stage)
    }

    /// The repository, reached through another port.
    pub fn repository_at(&self, port: u16, stage: &Stage) -> Repository {
        Repository {
            storage: Storage {
                endpoint: Some(format!("http://127.0.0.1:{port}")),
                ..Storage::new(Destination::parse("gs://backups/some/prefix").unwrap())
            },
            folder: "alice".into(),
            lock: stage.dir.path().join("locks/bucket"),
            key: key(7),
            destination_id: None,
        }
    }
}

fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /storage/v1/b/backups HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.contains(" 200 "))
    };
    ask().unwrap_or(false)
}

impl Drop for Gcs {
    fn drop(&mut self) {
        self.go_away();
    }
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_takes_all_that_it_missed_gives_it_back_and_forgets() {
    let mut gcs = Gcs::start();
    let stage = Stage::new();
    let bucket = gcs.repository(&stage);
    gcs.go_away();
    for day in 0..3 {
        stage.write("big", noise(day * 2, 3 << 20));
        stage.take().await.unwrap();
        let error = run(&stage.repository(), Work::Copy { to: bucket.clone() }).await.unwrap_err();
        assert_eq!(error.kind, BackupErrorKind::Unavailable, "{error}");
    }
    gcs.come_back();
    assert_eq!(copy(&stage.repository(), &bucket).await.len(), 3);
    let there: Vec<_> = list(&bucket).await.into_iter().map(|s| s.id).collect();
    let here: Vec<_> = list(&stage.repository()).await.into_iter().map(|s| s.id).collect();
    assert_eq!(there, here);
    run(&bucket, Work::Check { read: ReadData::All }).await.unwrap();
    let root = stage.empty("restored");
    let work = Work::Restore { snapshot: there[1].clone(), root: root.clone(), uid: uid() };
    run(&bucket, work).await.unwrap();
    assert_eq!(fs::read(root.join("big")).unwrap(), noise(2, 3 << 20));
    let before = size(gcs.root.path());
    for snapshot in &list(&bucket).await[1..] {
        forget(&bucket, &[&snapshot.id]).await;
    }
    assert!(size(gcs.root.path()) + (5 << 20) < before, "the bucket is smaller");
    run(&bucket, Work::Check { read: ReadData::All }).await.unwrap();
    run(&bucket, Work::Erase).await.unwrap();
    assert!(files(gcs.root.path()).iter().all(|f| !f.to_string_lossy().contains("alice")));
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_snapshot_goes_straight_into_a_bucket_too() {
    let gcs = Gcs::start();
    let stage = Stage::new();
    stage.write("a", "x");
    let bucket = gcs.repository(&stage);
    take(&bucket, &stage.volume()).await.unwrap();
    assert_eq!(list(&bucket).await.len(), 1);
}

pub fn restic(repository: &Path, arguments: &[&str]) -> Output {
    let output = Command::new("restic")
        .env("RESTIC_PASSWORD", "password-7")
        .args(["--no-cache", "--repo"])
        .arg(repository)
        .args(arguments)
        .output()
        .expect("restic is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn plain_restic_checks_and_restores_what_we_stored() {
    let stage = Stage::new();
    stage.write("workspace/MEMORY.md", "what it remembers");
    stage.write("big", noise(3, 5 << 20));
    std::os::unix::fs::symlink("big", stage.volume().join("link")).unwrap();
    let info = stage.take().await.unwrap();
    let repository = stage.files();
    restic(&repository, &["check", "--read-data"]);
    let listed = restic(&repository, &["snapshots", "--json"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&info.id), "the id is a tag");
    let target = stage.empty("by-restic");
    let to = target.to_string_lossy().into_owned();
    restic(&repository, &["restore", "latest", "--tag", &info.id, "--target", &to]);
    let root = target.join("data");
    assert_eq!(fs::read_to_string(root.join("workspace/MEMORY.md")).unwrap(), "what it remembers");
    assert_eq!(fs::read(root.join("big")).unwrap(), noise(3, 5 << 20));
    assert!(root.join("link").is_symlink());
}
