//! Proves that a file did not change between the two passes of a backup.
//!
//! The proof rests on the time stamps of the inode, of which no user can set the change time. Two
//! kinds of writers could evade them:
//!
//! - A store through a shared mapping updates the time stamps only when it makes a clean page
//!   dirty; later stores to the same page leave no trace until the page is written out, which makes
//!   it clean again and write-protects it. So the first pass begins by writing out the file system:
//!   from then on every store into a page that was dirty before shows.
//! - `write` sets the time stamps before it copies the data, and may be delayed in between. It holds
//!   the lock of the inode meanwhile, so the first pass acquires that lock before it looks at the
//!   time stamps: ext4 and btrfs take it for `SEEK_DATA`, XFS for `read`.
//!
//! This is how ext4, XFS and btrfs work. On other file systems (tmpfs never notices stores through
//! mappings) the second pass reads every database again, because SQLite may write through mappings.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::Path,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustic_core::jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat};

use crate::{listing::Item, meter::Meter};

/// Timestamps of file systems have a granularity of up to 10 ms, those of some network file systems
/// of 2 s.
pub(crate) const GRAIN_SECONDS: i64 = 2;
/// The types of file systems whose time stamps can be relied on: ext4, XFS, btrfs (`statfs(2)`).
const RELIABLE: [i64; 3] = [0xEF53, 0x5846_5342, 0x9123_683E];
/// How long writing out a file system may take; on a busy disk, the time stamps are not relied on.
const WRITE_OUT: Duration = Duration::from_secs(60);
/// Smaller files that changed lately are read again: that costs less than to write them out.
const WRITE_OUT_SIZE: i64 = 1 << 20;
/// The interval of signs of life.
const TICK: Duration = Duration::from_millis(200);
/// The files beside a database, which are read again always: shared memory, and what is appended to.
const SIDE_FILES: [&[u8]; 3] = [b"-wal", b"-shm", b"-journal"];
/// The usual ends of a database's name.
const DATABASES: [&[u8]; 3] = [b".sqlite", b".sqlite3", b".db"];

/// What the time stamps of files prove.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unchanged {
    /// The begin of the first pass.
    since: Timestamp,
    /// Whether every later change shows in the time stamps.
    reliable: bool,
}

impl Unchanged {
    /// Begins a first pass over `root`.
    pub fn begin(root: &Path, meter: &Meter) -> Self {
        let since = Timestamp::now();
        Self { since, reliable: is_written_out(root, meter) }
    }

    /// A folder that nothing writes to.
    pub fn at_rest() -> Self {
        Self { since: Timestamp::now(), reliable: false }
    }

    /// Whether a file changed during this backup, or so shortly before that the next backup cannot
    /// rely on its time stamps.
    pub fn is_fresh(&self, item: &Item) -> bool {
        changed_since(item.mtime, item.ctime, self.since)
    }

    /// Whether a folder or link that has these times both in the first pass and now is the same: a
    /// change since would have set its change time. Names are written under the lock of the folder
    /// that reading them takes too, and a link is never written again.
    pub fn is_settled(&self, item: &Item) -> bool {
        self.reliable && !self.is_fresh(item)
    }

    /// The state of a file that was listed as `listed`; and whether the second pass can tell by it
    /// that the file is unchanged.
    pub fn look(&self, folder: &impl AsFd, name: &OsStr, listed: Stat) -> (Stat, bool) {
        if ends_with(name, &SIDE_FILES) {
            return (listed, false);
        }
        let looked = Timestamp::now();
        let file = open(folder, name, &listed);
        if !self.reliable {
            let proven = !has_changed_since(&listed, looked)
                && !ends_with(name, &DATABASES)
                && file.is_some_and(|file| !has_sqlite_header(&file));
            return (listed, proven);
        }
        file.and_then(|file| self.settled(&file, looked).ok()).unwrap_or((listed, false))
    }

    /// The state of a file when all writes that its time stamps do not show are over.
    fn settled(&self, file: &File, looked: Timestamp) -> io::Result<(Stat, bool)> {
        let before = rustix::fs::fstat(file)?;
        let mut since = self.since;
        if has_changed_since(&before, since) && !has_changed_since(&before, looked) {
            if before.st_size < WRITE_OUT_SIZE {
                return Ok((before, false));
            }
            rustix::fs::fdatasync(file)?;
            since = looked;
        }
        await_writers(file, &before)?;
        let stat = rustix::fs::fstat(file)?;
        Ok((stat, !has_changed_since(&stat, since)))
    }
}

/// Waits until no `write` to the file is under way.
fn await_writers(file: &File, stat: &Stat) -> io::Result<()> {
    match rustix::fs::seek(file, SeekFrom::Data(0)) {
        // There are no data.
        Ok(_) | Err(rustix::io::Errno::NXIO) => {}
        Err(e) => return Err(e.into()),
    }
    // At its end: nothing has to come from the disk.
    file.read_at(&mut [0], u64::try_from(stat.st_size).unwrap_or(0)).map(|_| ())
}

/// Writes out the file system of `root`, if its time stamps can be relied on then.
fn is_written_out(root: &Path, meter: &Meter) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open(root, flags, Mode::empty()) else { return false };
    is_reliable(&folder) && write_out(folder, meter)
}

fn is_reliable(folder: &OwnedFd) -> bool {
    rustix::fs::fstatfs(folder).is_ok_and(|about| RELIABLE.contains(&about.f_type))
}

/// Writes out a file system, in a thread because it may take long and cannot be interrupted.
fn write_out(folder: OwnedFd, meter: &Meter) -> bool {
    let (done, outcome) = channel();
    thread::spawn(move || done.send(rustix::fs::syncfs(folder).is_ok()));
    let begun = Instant::now();
    loop {
        meter.live();
        match outcome.recv_timeout(TICK) {
            Ok(written) => return written,
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < WRITE_OUT => {}
            Err(_) => return false,
        }
    }
}

/// Whether time stamps are not clearly older than a point in time.
fn changed_since(mtime: i64, ctime: i64, since: Timestamp) -> bool {
    let lately = since.as_second() - GRAIN_SECONDS;
    mtime >= lately || ctime >= lately
}

fn has_changed_since(stat: &Stat, since: Timestamp) -> bool {
    changed_since(stat.st_mtime, stat.st_ctime, since)
}

fn ends_with(name: &OsStr, ends: &[&[u8]]) -> bool {
    ends.iter().any(|end| name.as_bytes().ends_with(end))
}

/// Opens the file that was listed; `None` when it was replaced or cannot be read.
fn open(folder: &impl AsFd, name: &OsStr, listed: &Stat) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&fd).ok()?;
    let same = stat.st_ino == listed.st_ino
        && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    same.then(|| fd.into())
}

fn has_sqlite_header(file: &File) -> bool {
    let mut head = [0; 16];
    file.read_exact_at(&mut head, 0).is_ok() && head == *b"SQLite format 3\0"
}
