//! Opens and reads the files of a tenant's folder, and knows when all are read.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustic_core::{ErrorKind, ReadSourceOpen, RusticError, RusticResult};
use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::{BackupError, BackupErrorKind, listing::Place, meter::Meter, source::Pass, text};

/// How many unreadable files are named.
const NAMED: usize = 5;

/// State that the walk and the readers share.
pub(crate) struct Shared {
    pub meter: Arc<Meter>,
    root: PathBuf,
    failures: Mutex<Vec<String>>,
    /// Files that are needed after the folder may change again.
    late: Mutex<Vec<String>>,
    /// Files whose content the first pass did not store.
    unstored: Mutex<Vec<Place>>,
    /// Files that were listed and are neither read nor found unchanged yet.
    open: AtomicUsize,
    listed: AtomicBool,
    /// Called when everything is read.
    read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Shared {
    /// `read` is called when everything is read: the folder may change again.
    pub fn new(
        meter: Arc<Meter>,
        root: PathBuf,
        read: impl FnOnce() + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            meter,
            root,
            failures: Mutex::default(),
            late: Mutex::default(),
            unstored: Mutex::default(),
            open: AtomicUsize::new(0),
            listed: AtomicBool::new(false),
            read: Mutex::new(Some(Box::new(read))),
        })
    }

    /// Notes that a file or folder cannot be read.
    pub fn fail(&self, path: &Path, why: impl std::fmt::Display) {
        locked(&self.failures).push(format!("{} ({why})", self.name(path)));
    }

    /// Notes that the content of a file is needed after the folder may have changed: it must not be
    /// read any more, because it would not belong to this snapshot.
    pub fn is_late(&self, path: &Path) {
        locked(&self.late).push(self.name(path));
    }

    /// Notes that the first pass did not store the content of a file.
    fn not_stored(&self, place: Option<Place>) {
        locked(&self.unstored).extend(place);
    }

    /// The files whose content the first pass did not store.
    pub fn unstored(&self) -> Vec<Place> {
        std::mem::take(&mut locked(&self.unstored))
    }

    fn name(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).ok().filter(|path| *path != Path::new(""));
        text::name(inside.unwrap_or(path).as_os_str().as_bytes())
    }

    /// All files are listed: from now on it is known when all are read.
    pub fn all_listed(&self) {
        self.listed.store(true, Ordering::SeqCst);
        self.check_read();
    }

    fn check_read(&self) {
        if self.listed.load(Ordering::SeqCst) && self.open.load(Ordering::SeqCst) == 0 {
            let read = locked(&self.read).take();
            if let Some(read) = read {
                read();
            }
        }
    }

    /// An error that names the unreadable files, if there are any.
    pub fn outcome(&self) -> Result<(), BackupError> {
        let failures = locked(&self.failures);
        if !failures.is_empty() {
            let text = format!("cannot read {}", listed(&failures));
            return Err(BackupError::new(BackupErrorKind::Unreadable, text));
        }
        let late = locked(&self.late);
        if late.is_empty() {
            return Ok(());
        }
        let text = format!(
            "{} had to be read after the instance ran again, so the snapshot does not count",
            listed(&late)
        );
        Err(BackupError::new(BackupErrorKind::Stalled, text))
    }
}

fn listed(names: &[String]) -> String {
    let named: Vec<_> = names.iter().take(NAMED).cloned().collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listed file that is not finished; counted while it exists.
pub(crate) struct Pending(Arc<Shared>);

impl Pending {
    pub fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(shared.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.meter.file();
        self.0.check_read();
    }
}

/// A file that can be opened.
pub(crate) struct Entry {
    pub folder: Arc<OwnedFd>,
    pub name: OsString,
    pub path: PathBuf,
    pub inode: u64,
    pub pass: Pass,
    /// Where the first pass recorded it.
    pub place: Option<Place>,
    pub pending: Pending,
}

/// An open file.
pub(crate) struct Reader {
    pub file: File,
    pub path: PathBuf,
    pub pass: Pass,
    pub place: Option<Place>,
    pub pending: Pending,
}

impl ReadSourceOpen for Entry {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        let Self { path, pass, place, pending, .. } = self;
        match open_listed(&self.folder, &self.name, self.inode) {
            Ok(file) => Ok(Reader { file, path, pass, place, pending }),
            Err(e) => {
                note(&pending.0, &path, pass, place, &e);
                Err(RusticError::new(ErrorKind::InputOutput, "a file cannot be opened"))
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        if let Err(e) = &read
            && e.kind() != io::ErrorKind::Interrupted
        {
            note(&self.pending.0, &self.path, self.pass, self.place, e);
        }
        read
    }
}

/// Notes an error of a file: the second pass reads again what the first one could not.
fn note(shared: &Shared, path: &Path, pass: Pass, place: Option<Place>, e: &io::Error) {
    match pass {
        Pass::First => shared.not_stored(place),
        Pass::Final => shared.fail(path, e),
    }
}

/// Opens the regular file that was listed with this inode.
pub(crate) fn open_listed(folder: &OwnedFd, name: &OsStr, inode: u64) -> io::Result<File> {
    let (file, stat) = open_file(folder, name)?;
    if stat.st_ino != inode {
        return Err(io::Error::other("it was replaced while it was read"));
    }
    Ok(file)
}

fn open_file(folder: &OwnedFd, name: &OsStr) -> io::Result<(File, Stat)> {
    // Without NONBLOCK, a FIFO that replaced the file would block us forever.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no regular file any more"));
    }
    Ok((fd.into(), stat))
}
