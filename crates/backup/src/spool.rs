//! Keeps the content of changed files while the folder is frozen, so that it need not stay frozen
//! until they are stored.
//!
//! Content goes into memory, then into one file on this host's disk; large files are cloned where
//! the file system can do that. Those files have no name, so nothing of them stays behind. What
//! exceeds all bounds is left where it is: then the folder stays frozen until it is stored.

use std::{
    fs::File,
    io::{self, Cursor, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{CWD, Mode, OFlags};

use crate::reader::Pending;

/// The most that is kept in memory.
const MEMORY: u64 = 64 << 20;
/// The most that is copied to the disk.
const DISK: u64 = 1 << 30;
/// What stays free on the disk.
const FREE: u64 = 1 << 30;
/// Larger files are cloned, if that is possible; others are copied as fast.
const CLONED: u64 = 1 << 20;
/// How many files are cloned: each stays open.
const CLONES: u64 = 256;

/// Kept content.
pub(crate) struct Spool {
    folder: PathBuf,
    /// The file for copies, if there is room.
    copies: Option<Arc<File>>,
    memory: Budget,
    disk: Budget,
    clones: Budget,
    pieces: Mutex<Vec<Option<Piece>>>,
}

/// The content of one file.
pub(crate) enum Piece {
    Memory(Cursor<Vec<u8>>),
    Copy(Copied),
    Clone(File),
    /// It is still to be read from the folder.
    Left(Pending),
}

/// A part of the file for copies.
pub(crate) struct Copied {
    file: Arc<File>,
    from: u64,
    to: u64,
}

impl Spool {
    /// A spool whose files are on the file system of `folder`, which is not the tenant's.
    pub fn new(folder: &Path) -> Self {
        let free = rustix::fs::statvfs(folder).map_or(0, |about| about.f_bavail * about.f_frsize);
        let disk = DISK.min(free.saturating_sub(FREE));
        Self {
            folder: folder.to_owned(),
            copies: (disk > 0).then(|| nameless(folder).ok()).flatten().map(Arc::new),
            memory: Budget::new(MEMORY),
            disk: Budget::new(disk),
            clones: Budget::new(CLONES),
            pieces: Mutex::default(),
        }
    }

    /// Keeps the content of a file of this size; `left` is called if it cannot be kept. Returns its
    /// number.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn keep(&self, file: &File, size: u64, left: impl FnOnce() -> Pending) -> io::Result<u32> {
        let piece = match self.try_keep(file, size)? {
            Some(piece) => piece,
            None => Piece::Left(left()),
        };
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.push(Some(piece));
        u32::try_from(pieces.len() - 1).map_err(io::Error::other)
    }

    fn try_keep(&self, file: &File, size: u64) -> io::Result<Option<Piece>> {
        if size > CLONED
            && self.clones.take(1).is_some()
            && let Ok(clone) = nameless(&self.folder)
            && rustix::fs::ioctl_ficlone(&clone, file).is_ok()
        {
            return Ok(Some(Piece::Clone(clone)));
        }
        if self.memory.take(size).is_some() {
            let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            file.take(size).read_to_end(&mut content)?;
            return Ok(Some(Piece::Memory(Cursor::new(content))));
        }
        let Some(copies) = &self.copies else { return Ok(None) };
        let Some(from) = self.disk.take(size) else { return Ok(None) };
        match copy(file, copies, from, size) {
            Ok(to) => Ok(Some(Piece::Copy(Copied { file: copies.clone(), from, to }))),
            // Such as a full disk: what is wrong with the file itself shows when it is read.
            Err(_) => Ok(None),
        }
    }

    /// Takes a piece out.
    pub fn take(&self, number: u32) -> Option<Piece> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.get_mut(usize::try_from(number).ok()?)?.take()
    }
}

/// Copies up to `size` bytes to this position; returns where the copy ends.
fn copy(from: &File, to: &File, begin: u64, size: u64) -> io::Result<u64> {
    let mut target = io::BufWriter::with_capacity(1 << 20, At { file: to, at: begin });
    let copied = io::copy(&mut from.take(size), &mut target)?;
    target.flush()?;
    Ok(begin + copied)
}

/// Writes to a position of a file that others write to as well.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.at)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Copied {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.to - self.from).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.from)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.from += read as u64;
        Ok(read)
    }
}

/// Opens a new file without a name, which is gone when it is closed.
fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(file.into())
}

/// An amount that is used up, by several threads.
struct Budget {
    used: AtomicU64,
    all: u64,
}

impl Budget {
    fn new(all: u64) -> Self {
        Self { used: AtomicU64::new(0), all }
    }

    /// Uses so much; returns what was used before. `None`, and nothing is used, if less is left.
    fn take(&self, amount: u64) -> Option<u64> {
        let take = |used: u64| used.checked_add(amount).filter(|used| *used <= self.all);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()
    }
}
