//! Pauses the checkpoints of large SQLite databases while their files are backed up.
//!
//! In WAL mode a writer only appends to the WAL; a checkpoint copies pages from there into the main
//! file. While it does that, it holds an exclusive lock on byte 123 of the wal-index, the `-shm`
//! file (`WAL_READ_LOCK(0)` in <https://sqlite.org/walformat.html> and in `walCheckpoint` of
//! `wal.c`); a reader that needs only the main file shares that lock. So does the pause: the main
//! file stays as it is, the first pass reads it while the instance runs, and the second pass only
//! reads the WAL.
//!
//! No database is opened, no file is written, and nothing of the content is trusted. For the owner
//! the pause is a reader: transactions go on and automatic checkpoints do nothing. Only a checkpoint
//! that waits for readers (`FULL`, `RESTART`, `TRUNCATE`) would keep other writers waiting, so the
//! pause ends when one waits. It also ends when the WAL becomes large, when the owner removes the
//! WAL, after a while, and with this process. A database whose pause ended early is read again if
//! it changed, which costs time but is as right.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{FileExt, MetadataExt},
        },
    },
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use rustic_core::jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::{meter::Meter, unchanged::GRAIN_SECONDS};

/// Smaller databases are read again quickly.
const LARGE: u64 = 8 << 20;
/// How many databases are paused, the largest ones.
const DATABASES: usize = 16;
/// The size of a WAL at which its database's pause ends. Each commit of the owner takes longer with
/// a longer WAL: about 8 ms with this one.
const LONGEST_WAL: u64 = 256 << 20;
/// How long a pause lasts at most.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// How long to wait for the end of checkpoints that are under way.
const PATIENCE: Duration = Duration::from_secs(3);
/// The interval of the watch over paused databases.
const WATCH: Duration = Duration::from_millis(20);
/// How often in a row the watch must see a checkpoint to conclude that it waits for the pause: one
/// that does not wait is over sooner.
const WAITING: u32 = 10;

/// The locks of a wal-index: offsets of bytes in the `-shm` file.
const WRITE_LOCK: libc::off_t = 120;
const CHECKPOINT_LOCK: libc::off_t = 121;
const READ_LOCK_0: libc::off_t = 123;

/// The first bytes of a database, and its file format versions if it is in WAL mode.
const MAGIC: [u8; 16] = *b"SQLite format 3\0";
const WAL_MODE: [u8; 2] = [2, 2];

/// How folders are opened.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Paused checkpoints, until this is dropped.
pub(crate) struct PausedCheckpoints {
    _watch: Sender<()>,
}

impl PausedCheckpoints {
    /// Pauses the checkpoints of the large databases in `root` that are in use, and waits until the
    /// time stamps of their files show any later change.
    pub fn begin(root: &Path, exclude: &[String], meter: &Meter) -> Self {
        let mut found = find(root, exclude, meter).unwrap_or_default();
        found.sort_by_key(|database| std::cmp::Reverse(database.size));
        found.truncate(DATABASES);
        let deadline = Instant::now() + PATIENCE;
        found.retain(|database| database.pause(deadline, meter));
        let changed = found.iter().filter_map(Database::changed).max();
        let (_watch, ended) = channel();
        thread::spawn(move || watch(found, &ended));
        if let Some(changed) = changed {
            await_grain(changed, meter);
        }
        Self { _watch }
    }
}

/// A large database that is in use, in WAL mode.
struct Database {
    main: File,
    size: u64,
    /// The wal-index. The lock is bound to this descriptor: other descriptors of the same file may
    /// be closed.
    index: File,
    folder: Arc<OwnedFd>,
    wal: OsString,
    sightings: u32,
}

impl Database {
    /// Whether the database is paused now.
    fn pause(&self, deadline: Instant, meter: &Meter) -> bool {
        loop {
            let lock = lock_of(libc::F_RDLCK, READ_LOCK_0);
            match fcntl(&self.index, FcntlArg::F_OFD_SETLK(&lock)) {
                Ok(_) => return true,
                Err(nix::Error::EAGAIN | nix::Error::EACCES) if Instant::now() < deadline => {}
                Err(_) => return false,
            }
            meter.live();
            thread::sleep(WATCH);
        }
    }

    /// Whether the pause may go on.
    fn may_stay(&mut self) -> bool {
        let wal = rustix::fs::statat(&self.folder, &self.wal, AtFlags::SYMLINK_NOFOLLOW);
        if !wal.is_ok_and(|wal| u64::try_from(wal.st_size).is_ok_and(|size| size <= LONGEST_WAL)) {
            return false;
        }
        let waits = self.is_locked(CHECKPOINT_LOCK) && self.is_locked(WRITE_LOCK);
        self.sightings = if waits { self.sightings + 1 } else { 0 };
        self.sightings < WAITING
    }

    fn is_locked(&self, byte: libc::off_t) -> bool {
        let mut lock = lock_of(libc::F_WRLCK, byte);
        fcntl(&self.index, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok()
            && i32::from(lock.l_type) != libc::F_UNLCK
    }

    /// When the main file changed last, in seconds.
    fn changed(&self) -> Option<i64> {
        self.main.metadata().ok().map(|meta| meta.mtime().max(meta.ctime()))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "constants of the C library that are small")]
fn lock_of(kind: libc::c_int, byte: libc::off_t) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

/// Keeps databases paused until the other end of the channel is dropped.
fn watch(mut databases: Vec<Database>, ended: &Receiver<()>) {
    let begun = Instant::now();
    while ended.recv_timeout(WATCH) == Err(RecvTimeoutError::Timeout)
        && begun.elapsed() < LONGEST
        && !databases.is_empty()
    {
        databases.retain_mut(Database::may_stay);
    }
}

/// Waits until a change at this time is clearly older than the granularity of time stamps.
fn await_grain(changed: i64, meter: &Meter) {
    // The owner of a file can set a time in the future.
    let until = changed.min(Timestamp::now().as_second()) + GRAIN_SECONDS + 1;
    while Timestamp::now().as_second() < until {
        meter.live();
        thread::sleep(WATCH);
    }
}

/// The large databases with a WAL and a wal-index.
fn find(root: &Path, exclude: &[String], meter: &Meter) -> io::Result<Vec<Database>> {
    let root = Arc::new(rustix::fs::open(root, FOLDER, Mode::empty())?);
    let device = rustix::fs::fstat(&root)?.st_dev;
    let mut found = Vec::new();
    let mut folders = Vec::new();
    let mut next = Some(root);
    let mut is_root = true;
    while let Some(folder) = next {
        meter.live();
        for (name, kind) in entries(&folder)? {
            match kind {
                _ if is_root && exclude.iter().any(|e| e.as_bytes() == name.as_bytes()) => {}
                FileType::Directory => folders.push((folder.clone(), name)),
                FileType::RegularFile => found.extend(look(&folder, &name, device)),
                _ => {}
            }
        }
        is_root = false;
        next = std::iter::from_fn(|| folders.pop())
            .find_map(|(folder, name)| enter(&folder, &name))
            .map(Arc::new);
    }
    Ok(found)
}

fn entries(folder: &OwnedFd) -> io::Result<Vec<(OsString, FileType)>> {
    let mut all = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        if name != "." && name != ".." {
            all.push((name, entry.file_type()));
        }
    }
    Ok(all)
}

/// Opens a folder, unless it is gone or was replaced.
fn enter(folder: &OwnedFd, name: &OsStr) -> Option<OwnedFd> {
    rustix::fs::openat(folder, name, FOLDER, Mode::empty()).ok()
}

/// The database whose wal-index has this name, if it is large and in WAL mode.
fn look(folder: &Arc<OwnedFd>, index: &OsStr, device: u64) -> Option<Database> {
    let name = OsStr::from_bytes(index.as_bytes().strip_suffix(b"-shm")?);
    let main = open(folder, name, device)?;
    let size = main.metadata().ok()?.len();
    let mut head = [0; 20];
    main.read_exact_at(&mut head, 0).ok()?;
    if size < LARGE || head[..16] != MAGIC || head[18..] != WAL_MODE {
        return None;
    }
    let index = open(folder, index, device)?;
    let mut wal = name.to_owned();
    wal.push("-wal");
    let mut database = Database { main, size, index, folder: folder.clone(), wal, sightings: 0 };
    database.may_stay().then_some(database)
}

/// Opens a regular file; no link is followed, and a FIFO does not block.
fn open(folder: &OwnedFd, name: &OsStr, device: u64) -> Option<File> {
    // First its type: to open a device may have effects.
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_dev != device {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?);
    let meta = file.metadata().ok()?;
    (meta.is_file() && meta.dev() == device).then_some(file)
}
