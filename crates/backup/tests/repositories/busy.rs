//! Databases that are written to while they are backed up.

use std::{
    ffi::CStr,
    fs,
    os::unix::fs::{FileExt, MetadataExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::{Pid, Signal, kill_process},
};
use sqlx::{
    AssertSqlSafe, Connection, Executor, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use startclaw_backup::{Command, Event, Report, Running, SnapshotInfo};

use crate::stage::*;

const DATABASE: &str = "STARTCLAW_TEST_DATABASE";

async fn open(path: &Path, mode: SqliteJournalMode) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(mode)
        .busy_timeout(Duration::from_secs(10));
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// A database of about `mib` MiB that does not compress.
async fn fill(path: &Path, mode: SqliteJournalMode, mib: u32) -> SqliteConnection {
    let mut database = open(path, mode).await;
    let rows = mib * 256;
    for statement in [
        "CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)".to_owned(),
        "CREATE TABLE log (n INTEGER PRIMARY KEY, b BLOB)".to_owned(),
        format!(
            "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             INSERT INTO t SELECT n, randomblob(4000) FROM c"
        ),
    ] {
        database.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    if mode == SqliteJournalMode::Wal {
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    }
    database
}

/// A process that writes to a database all the time.
struct Writer {
    child: Child,
    /// Holds the number of the last committed row.
    committed: PathBuf,
}

impl Writer {
    fn start(database: &Path, outside: &Path) -> Self {
        let committed = outside.join("committed");
        fs::write(&committed, 0_u64.to_le_bytes()).unwrap();
        let child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "busy::writes_until_it_is_killed", "--ignored"])
            .env(DATABASE, database)
            .env("STARTCLAW_TEST_COMMITTED", &committed)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut writer = Self { child, committed };
        while writer.committed() < 20 {
            assert!(writer.child.try_wait().unwrap().is_none(), "the writer ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        writer
    }

    fn committed(&self) -> u64 {
        let mut number = [0; 8];
        fs::File::open(&self.committed).unwrap().read_exact_at(&mut number, 0).unwrap();
        u64::from_le_bytes(number)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it wherever it is; returns the number of the last committed row.
    fn freeze(&self) -> u64 {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        while !fs::read_to_string(&stat).unwrap().contains(") T ") {
            std::thread::yield_now();
        }
        self.committed()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "a process that other tests start"]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let committed = std::env::var_os("STARTCLAW_TEST_COMMITTED").unwrap();
    let committed = fs::File::options().write(true).open(committed).unwrap();
    // As it is: a database in WAL mode stays in it.
    let options = SqliteConnectOptions::new().filename(path);
    let options = options.busy_timeout(Duration::from_secs(10)).pragma("synchronous", "NORMAL");
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let last = "SELECT COALESCE(MAX(n), 0) FROM log";
    let last: i64 = sqlx::query_scalar(last).fetch_one(&mut database).await.unwrap();
    for n in last + 1.. {
        let mut transaction = database.begin().await.unwrap();
        let log = sqlx::query("INSERT INTO log VALUES (?, randomblob(1000))").bind(n);
        log.execute(&mut *transaction).await.unwrap();
        let change = "UPDATE t SET b = randomblob(4000) WHERE n = abs(random()) % 1000";
        transaction.execute(change).await.unwrap();
        transaction.commit().await.unwrap();
        committed.write_all_at(&n.to_le_bytes(), 0).unwrap();
        // Busy, but not so that the WAL becomes as large as the database.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a backup of a busy database cost.
struct Cost {
    info: SnapshotInfo,
    /// The number of the last row that was committed before the freeze.
    committed: u64,
    /// Bytes that were read while frozen.
    read: u64,
}

async fn back_up_under_writes(stage: &Stage, database: &Path) -> Cost {
    let writer = Writer::start(database, stage.dir.path());
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    let committed = writer.freeze();
    let (begun, before) = (Instant::now(), read_by(&worker));
    worker.send(Command::Go).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    let (frozen, read) = (begun.elapsed(), read_by(&worker) - before);
    writer.signal(Signal::CONT);
    worker.send(Command::Commit).await.unwrap();
    let Report::Taken(info) = worker.finish().await.unwrap() else { panic!("it was taken") };
    println!("frozen for {frozen:?}, {} KiB read, {committed} rows", read >> 10);
    Cost { info, committed, read }
}

/// All bytes that a process read so far.
fn read_by(worker: &Running) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", worker.id().unwrap())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// The restored database is intact and has every row up to this one.
async fn assert_restored(stage: &Stage, snapshot: &SnapshotInfo, name: &str, rows: u64) {
    let root = stage.restore(&snapshot.id).await.unwrap();
    let options = SqliteConnectOptions::new().filename(root.join(name));
    let mut restored = SqliteConnection::connect_with(&options).await.unwrap();
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut restored).await.unwrap();
    assert_eq!(check, "ok");
    let counted = "SELECT COUNT(*) FROM log WHERE n <= ?";
    let counted = sqlx::query_scalar::<_, i64>(counted).bind(i64::try_from(rows).unwrap());
    let counted = counted.fetch_one(&mut restored).await.unwrap();
    assert_eq!(u64::try_from(counted).unwrap(), rows);
}

#[tokio::test]
async fn of_a_large_database_under_writes_only_the_wal_is_read_while_frozen() {
    let stage = Stage::new();
    let path = stage.volume().join("state.sqlite");
    // Another connection, as OpenClaw has several.
    let _reader = fill(&path, SqliteJournalMode::Wal, 300).await;
    for _ in 0..2 {
        let cost = back_up_under_writes(&stage, &path).await;
        let size = path.metadata().unwrap().len();
        assert!(size > 300 << 20, "{size}");
        assert!(cost.read < size / 4, "{} of {size} bytes were read", cost.read);
        assert_restored(&stage, &cost.info, "state.sqlite", cost.committed).await;
    }
}

#[tokio::test]
async fn a_large_database_with_a_rollback_journal_is_read_again() {
    let stage = Stage::new();
    let path = stage.volume().join("state.db");
    fill(&path, SqliteJournalMode::Delete, 20).await.close().await.unwrap();
    let cost = back_up_under_writes(&stage, &path).await;
    assert!(cost.read > 20 << 20, "{} bytes were read", cost.read);
    assert_restored(&stage, &cost.info, "state.db", cost.committed).await;
}

#[tokio::test]
async fn a_checkpoint_that_waits_for_readers_ends_the_pause() {
    let stage = Stage::new();
    let path = stage.volume().join("state.sqlite");
    let mut database = fill(&path, SqliteJournalMode::Wal, 20).await;
    database.execute("INSERT INTO log VALUES (1, randomblob(1000))").await.unwrap();
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    let passive = checkpoint(&mut database, "PASSIVE").await;
    assert!(passive.frames > 0 && passive.copied == 0, "{passive:?}");
    let begun = Instant::now();
    let truncated = checkpoint(&mut database, "TRUNCATE").await;
    // The connection would wait for 10 s.
    assert!(!truncated.busy && begun.elapsed() < Duration::from_secs(5), "{truncated:?}");
    let info = finish(worker).await;
    assert_restored(&stage, &info, "state.sqlite", 1).await;
}

#[derive(Debug)]
struct Checkpoint {
    busy: bool,
    frames: i64,
    copied: i64,
}

async fn checkpoint(database: &mut SqliteConnection, mode: &str) -> Checkpoint {
    let statement = AssertSqlSafe(format!("PRAGMA wal_checkpoint({mode})"));
    let row = sqlx::query(statement).fetch_one(database).await.unwrap();
    Checkpoint { busy: row.get::<i64, _>(0) != 0, frames: row.get(1), copied: row.get(2) }
}

#[tokio::test]
async fn the_owner_may_close_and_remove_a_database_whose_checkpoints_are_paused() {
    let stage = Stage::new();
    let path = stage.volume().join("state.sqlite");
    let mut database = fill(&path, SqliteJournalMode::Wal, 20).await;
    database.execute("INSERT INTO log VALUES (1, randomblob(1000))").await.unwrap();
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    database.close().await.unwrap();
    assert!(!stage.volume().join("state.sqlite-wal").exists(), "its checkpoint is complete");
    let info = finish(worker).await;
    assert_restored(&stage, &info, "state.sqlite", 1).await;
}

/// A file that is changed through a mapping: SQLite maps its `-shm` files, and this is a hard link
/// of one.
struct Mapped {
    database: SqliteConnection,
    path: PathBuf,
}

impl Mapped {
    async fn new(stage: &Stage) -> Self {
        let mut database = open(&stage.dir.path().join("x"), SqliteJournalMode::Wal).await;
        database.execute("CREATE TABLE t (n)").await.unwrap();
        let path = stage.volume().join("mapped");
        fs::hard_link(stage.dir.path().join("x-shm"), &path).unwrap();
        Self { database, path }
    }

    /// Changes the file, mostly in the same pages.
    async fn store(&mut self) {
        let before = fs::read(&self.path).unwrap();
        self.database.execute("INSERT INTO t VALUES (1)").await.unwrap();
        assert_ne!(fs::read(&self.path).unwrap(), before);
    }

    /// Changes the file until that does not show in its time stamps.
    async fn store_without_a_trace(&mut self) {
        loop {
            let before = filetime(&self.path);
            self.store().await;
            if filetime(&self.path) == before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the time stamps are old; the kernel writes out dirty pages later.
    async fn grow_old(&self) {
        while age(&self.path) < Duration::from_secs(4) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn assert_in(&self, stage: &Stage, snapshot: &SnapshotInfo) {
        let root = stage.restore(&snapshot.id).await.unwrap();
        assert!(fs::read(root.join("mapped")).unwrap() == fs::read(&self.path).unwrap());
    }
}

#[tokio::test]
async fn a_store_through_a_mapping_is_noticed_even_if_its_page_was_dirty_before() {
    let stage = Stage::new();
    let mut mapped = Mapped::new(&stage).await;
    mapped.grow_old().await;
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    mapped.store_without_a_trace().await;
    let info = finish(worker).await;
    mapped.assert_in(&stage, &info).await;
    // While the pages are dirty, the time stamps are still those that the backup saw.
    mapped.store().await;
    mapped.grow_old().await;
    let info = stage.take().await.unwrap();
    mapped.assert_in(&stage, &info).await;
}

/// Runs the second pass, and commits.
async fn finish(mut worker: Running) -> SnapshotInfo {
    worker.send(Command::Go).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    worker.send(Command::Commit).await.unwrap();
    match worker.finish().await.unwrap() {
        Report::Taken(info) => info,
        other => panic!("{other:?}"),
    }
}

fn filetime(path: &Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

/// How long ago a file changed, by its time stamps.
fn age(path: &Path) -> Duration {
    let meta = path.metadata().unwrap();
    let changed = u64::try_from(meta.mtime().max(meta.ctime())).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.saturating_sub(Duration::from_secs(changed))
}

/// The begin of a large database in WAL mode, and nothing that SQLite would accept.
fn garbage() -> Vec<u8> {
    let mut bytes = noise(5, 9 << 20);
    bytes[..16].copy_from_slice(b"SQLite format 3\0");
    bytes[18..20].copy_from_slice(&[2, 2]);
    bytes
}

#[tokio::test]
async fn hostile_databases_neither_stop_the_backup_nor_lead_it_out() {
    let stage = Stage::new();
    let volume = stage.volume();
    let outside = stage.empty("outside");
    fs::write(outside.join("index"), noise(1, 40_000)).unwrap();
    for name in ["plain", "fifo", "link", "wide", "locked", "gone"] {
        stage.write(name, garbage());
        stage.write(&format!("{name}-wal"), [&b"\x37\x7f\x06\x82"[..], &[0xff; 4096]].concat());
        stage.write(&format!("{name}-shm"), noise(3, 40_000));
    }
    let fifo = |name: &str| {
        let _ = fs::remove_file(volume.join(name));
        mknodat(CWD, volume.join(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    };
    fifo("fifo-shm");
    fifo("nothing");
    stage.write("nothing-shm", "");
    fs::remove_file(volume.join("link-shm")).unwrap();
    symlink(outside.join("index"), volume.join("link-shm")).unwrap();
    fs::remove_file(volume.join("gone-wal")).unwrap();
    fs::File::create(volume.join("wide-wal")).unwrap().set_len(257 << 20).unwrap();
    // As a checkpoint that never ends.
    let locked = fs::File::options().write(true).open(volume.join("locked-shm")).unwrap();
    let lock = libc::flock { l_type: 1, l_whence: 0, l_start: 120, l_len: 8, l_pid: 0 };
    fcntl(&locked, FcntlArg::F_OFD_SETLK(&lock)).unwrap();

    let info = stage.take().await.unwrap();
    let root = stage.restore(&info.id).await.unwrap();
    for name in ["plain", "plain-wal", "plain-shm", "locked", "gone", "link"] {
        assert!(fs::read(root.join(name)).unwrap() == fs::read(volume.join(name)).unwrap());
    }
    assert!(root.join("link-shm").is_symlink());
}

#[tokio::test]
async fn a_database_is_read_again_where_time_stamps_prove_nothing() {
    for (on_tmpfs, read_again) in [(false, false), (true, true)] {
        let stage = Stage::new();
        let volume = stage.volume();
        if on_tmpfs {
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", &volume, "tmpfs", flags, None::<&CStr>).unwrap();
        }
        stage.write("plain", garbage());
        while age(&volume.join("plain")) < Duration::from_secs(4) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut worker = start(&stage.repository(), taking(&volume, true)).await;
        until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
        let before = read_by(&worker);
        worker.send(Command::Go).await.unwrap();
        until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
        let read = read_by(&worker) - before;
        drop(worker);
        if on_tmpfs {
            rustix::mount::unmount(&volume, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
        assert_eq!(read > 9 << 20, read_again, "{read} bytes were read");
    }
}
