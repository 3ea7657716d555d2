//! A volume, a repository, and workers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use startclaw_backup::{
    BackupError, Command, Event, Job, Report, Repository, RepositoryKey, Running, SnapshotInfo,
    Storage, Work, WorkerLimits, Workers,
};
use startclaw_model::Secret;

pub struct Stage {
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let stage = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(stage.volume()).unwrap();
        stage
    }

    pub fn volume(&self) -> PathBuf {
        self.dir.path().join("volume")
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.volume().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A fresh empty folder.
    pub fn empty(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    pub fn repository(&self) -> Repository {
        self.repository_in("repositories")
    }

    pub fn repository_in(&self, folder: &str) -> Repository {
        Repository {
            storage: Storage::folder(self.dir.path().join(folder)),
            folder: "alice".into(),
            lock: self.dir.path().join(format!("locks/{folder}")),
            key: key(7),
            destination_id: None,
        }
    }

    /// The folder of the repository's files.
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("repositories/alice")
    }

    pub async fn take(&self) -> Result<SnapshotInfo, BackupError> {
        take(&self.repository(), &self.volume()).await
    }

    /// Restores a snapshot; returns the folder.
    pub async fn restore(&self, snapshot: &str) -> Result<PathBuf, BackupError> {
        let root = self.empty(&format!("restored-{:08x}", rand()));
        let work = Work::Restore { snapshot: snapshot.into(), root: root.clone(), uid: uid() };
        run(&self.repository(), work).await.map(|_| root)
    }
}

pub fn rand() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    u32::try_from(std::hash::RandomState::new().build_hasher().finish() >> 32).unwrap()
}

pub fn uid() -> u32 {
    200_000
}

pub fn key(n: u8) -> RepositoryKey {
    RepositoryKey::new(Secret::new(format!("password-{n}")), [n; 64])
}

pub fn workers() -> Workers {
    workers_with(Duration::from_secs(30))
}

pub fn workers_with(stall: Duration) -> Workers {
    // This is target/debug/deps/backup-…; the example is in a folder beside deps.
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/worker");
    Workers::new(program, Vec::new(), stall)
}

pub fn job(repository: &Repository, work: Work) -> Job {
    let limits = WorkerLimits { memory_mib: 1024, threads: 2 };
    Job { repository: Some(repository.clone()), limits, work }
}

pub async fn start(repository: &Repository, work: Work) -> Running {
    workers().start(&job(repository, work)).await.unwrap()
}

/// Runs a job that needs no commands.
pub async fn run(repository: &Repository, work: Work) -> Result<Report, BackupError> {
    start(repository, work).await.finish().await
}

pub fn taking(root: &Path, live: bool) -> Work {
    Work::Take { root: root.into(), live, exclude: vec!["cache".into()], check: true }
}

/// Takes a snapshot in two passes, of a folder that does not change.
pub async fn take(repository: &Repository, root: &Path) -> Result<SnapshotInfo, BackupError> {
    take_while(repository, root, || {}).await
}

/// Takes a snapshot in two passes, and changes the folder between them.
pub async fn take_while(
    repository: &Repository,
    root: &Path,
    between: impl FnOnce(),
) -> Result<SnapshotInfo, BackupError> {
    take_with(start(repository, taking(root, true)).await, between).await
}

/// Lets a worker take a snapshot in two passes.
pub async fn take_with(
    mut worker: Running,
    between: impl FnOnce(),
) -> Result<SnapshotInfo, BackupError> {
    until(&mut worker, |e| matches!(e, Event::Ready)).await?;
    between();
    worker.send(Command::Go).await?;
    until(&mut worker, |e| matches!(e, Event::Read)).await?;
    worker.send(Command::Commit).await?;
    match worker.finish().await? {
        Report::Taken(info) => Ok(info),
        other => panic!("{other:?}"),
    }
}

pub async fn until(
    worker: &mut Running,
    wanted: impl Fn(&Event) -> bool,
) -> Result<(), BackupError> {
    loop {
        let event = worker.next().await?;
        if wanted(&event) {
            return Ok(());
        }
        assert!(matches!(event, Event::Progress(_)), "{event:?}");
    }
}

pub async fn list(repository: &Repository) -> Vec<SnapshotInfo> {
    list_all(repository).await.0
}

/// The snapshots, and the names of damaged snapshot files.
pub async fn list_all(repository: &Repository) -> (Vec<SnapshotInfo>, Vec<String>) {
    match run(repository, Work::List).await.unwrap() {
        Report::Listed { snapshots, damaged } => (snapshots, damaged),
        other => panic!("{other:?}"),
    }
}

/// Copies all snapshots; returns the ids of those that were copied.
pub async fn copy(from: &Repository, to: &Repository) -> Vec<String> {
    match run(from, Work::Copy { to: to.clone() }).await.unwrap() {
        Report::Copied { copied, failed } => {
            assert!(failed.is_empty(), "{failed:?}");
            copied.into_iter().map(|s| s.id).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Deletes these snapshots; returns how many bytes were freed.
pub async fn forget(repository: &Repository, snapshots: &[&str]) -> u64 {
    let snapshots = snapshots.iter().map(|id| (*id).to_owned()).collect();
    match run(repository, Work::Forget { snapshots }).await.unwrap() {
        Report::Forgotten { freed_bytes } => freed_bytes,
        other => panic!("{other:?}"),
    }
}

/// Bytes in all files under a folder.
pub fn size(folder: &Path) -> u64 {
    files(folder).iter().map(|f| f.metadata().unwrap().len()).sum()
}

/// All files under a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut stack = vec![folder.to_owned()];
    while let Some(folder) = stack.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                stack.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Incompressible bytes, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}
