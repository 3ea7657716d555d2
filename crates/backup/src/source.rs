//! Reads a tenant's folder safely.
//!
//! The tenant may have put anything there and may change it while we read. So nothing is opened by
//! path: each name is opened relative to the descriptor of its folder, no link is followed, and the
//! type of the opened file is checked. rustic silently skips unreadable files; here they are
//! counted and named, because a snapshot that lacks a file is no backup.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustic_core::jiff::{SignedDuration, Timestamp};
use rustic_core::{
    ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult,
    repofile::{Metadata, Node, NodeType},
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    BackupError, BackupErrorKind, meta::metadata, meter::Meter, text, unchanged::Unchanged,
};

/// How many unreadable files are named.
const NAMED: usize = 5;
/// The longest path that can be restored.
const LONGEST_PATH: usize = 4000;

/// The pass of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The folder may change meanwhile: unreadable files are left to the second pass, and files
    /// that may have changed are recorded so that the second pass reads them again.
    First,
    /// The folder is frozen, and everything is read.
    Final,
}

/// A folder to read.
pub(crate) struct Source {
    pub root: PathBuf,
    pub exclude: Vec<String>,
    pub pass: Pass,
    pub unchanged: Unchanged,
    pub shared: Arc<Shared>,
}

/// State that the walk and the readers share.
pub(crate) struct Shared {
    pub meter: Arc<Meter>,
    root: PathBuf,
    failures: Mutex<Vec<String>>,
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
            open: AtomicUsize::new(0),
            listed: AtomicBool::new(false),
            read: Mutex::new(Some(Box::new(read))),
        })
    }

    fn fail(&self, path: &Path, why: impl std::fmt::Display) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = path.strip_prefix(&self.root).ok().filter(|path| *path != Path::new(""));
        let path = inside.unwrap_or(path);
        failures.push(format!("{} ({why})", text::name(path.as_os_str().as_bytes())));
    }

    fn check_read(&self) {
        if self.listed.load(Ordering::SeqCst) && self.open.load(Ordering::SeqCst) == 0 {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(read) = read {
                read();
            }
        }
    }

    /// An error that names the unreadable files, if there are any.
    pub fn outcome(&self) -> Result<(), BackupError> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = failures.iter().take(NAMED).cloned().collect();
        let more = failures.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("cannot read {}{more}", named.join(", "));
        Err(BackupError::new(BackupErrorKind::Unreadable, text))
    }
}

/// A listed file that is not finished; counted while it exists.
struct Pending(Arc<Shared>);

impl Pending {
    fn new(shared: &Arc<Shared>) -> Self {
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
    folder: Arc<OwnedFd>,
    name: OsString,
    path: PathBuf,
    inode: u64,
    pass: Pass,
    pending: Pending,
}

/// An open file.
pub(crate) struct Reader {
    file: File,
    path: PathBuf,
    pass: Pass,
    pending: Pending,
}

impl ReadSourceOpen for Entry {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        let opened = open_file(&self.folder, &self.name).and_then(|(file, stat)| {
            if stat.st_ino == self.inode {
                Ok(file)
            } else {
                Err(io::Error::other("it was replaced while it was read"))
            }
        });
        match opened {
            Ok(file) => {
                Ok(Reader { file, path: self.path, pass: self.pass, pending: self.pending })
            }
            Err(e) => {
                if self.pass == Pass::Final {
                    self.pending.0.fail(&self.path, &e);
                }
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
            && self.pass == Pass::Final
        {
            self.pending.0.fail(&self.path, e);
        }
        read
    }
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

impl ReadSource for Source {
    type Open = Entry;
    type Iter = Walk;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Walk {
        Walk {
            root: self.root.clone(),
            exclude: self.exclude.clone(),
            pass: self.pass,
            unchanged: self.unchanged,
            shared: self.shared.clone(),
            stack: Vec::new(),
            state: Begun::No,
            device: 0,
        }
    }
}

#[derive(PartialEq)]
enum Begun {
    No,
    Yes,
    Over,
}

/// The walk: each folder before its content, names in byte order.
pub(crate) struct Walk {
    root: PathBuf,
    exclude: Vec<String>,
    pass: Pass,
    unchanged: Unchanged,
    shared: Arc<Shared>,
    stack: Vec<Level>,
    state: Begun,
    device: u64,
}

struct Level {
    folder: Arc<OwnedFd>,
    path: PathBuf,
    names: VecDeque<OsString>,
}

type Item = RusticResult<ReadSourceEntry<Entry>>;

impl Iterator for Walk {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let item = self.step();
        if item.is_none() && self.state != Begun::Over {
            self.state = Begun::Over;
            self.shared.listed.store(true, Ordering::SeqCst);
            self.shared.check_read();
        }
        item
    }
}

impl Walk {
    fn step(&mut self) -> Option<Item> {
        if self.state == Begun::No {
            self.state = Begun::Yes;
            let root = self.root.clone();
            return match self.begin(&root) {
                Ok(entry) => Some(Ok(entry)),
                Err(e) => {
                    // Also in the first pass: without the folder there is nothing to do.
                    self.shared.fail(&root, e);
                    None
                }
            };
        }
        loop {
            let top_level = self.stack.len() == 1;
            let level = self.stack.last_mut()?;
            let Some(name) = level.names.pop_front() else {
                self.stack.pop();
                continue;
            };
            if top_level && self.exclude.iter().any(|e| e.as_bytes() == name.as_bytes()) {
                continue;
            }
            let (folder, path) = (level.folder.clone(), level.path.join(&name));
            match self.entry(folder, name, path.clone()) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(e) if self.pass == Pass::Final => self.shared.fail(&path, e),
                Err(_) => {}
            }
        }
    }

    fn begin(&mut self, root: &Path) -> io::Result<ReadSourceEntry<Entry>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(root, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&folder)?;
        self.device = stat.st_dev;
        self.descend(folder, root.to_owned())?;
        let node = Node::new_node(OsStr::new("data"), NodeType::Dir, metadata(&stat));
        Ok(ReadSourceEntry { path: root.to_owned(), node, open: None })
    }

    fn descend(&mut self, folder: OwnedFd, path: PathBuf) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        self.stack.push(Level { folder: Arc::new(folder), path, names: names.into() });
        Ok(())
    }

    /// One entry; `None` when it was removed meanwhile.
    fn entry(
        &mut self,
        folder: Arc<OwnedFd>,
        name: OsString,
        path: PathBuf,
    ) -> io::Result<Option<ReadSourceEntry<Entry>>> {
        let mut stat = match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if self.pass == Pass::First => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if path.as_os_str().len() - self.root.as_os_str().len() > LONGEST_PATH {
            return Err(io::Error::other("its path is longer than can be written back"));
        }
        if stat.st_dev != self.device {
            return Err(io::Error::other("another file system is mounted there"));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut proven = true;
        if kind == FileType::RegularFile && self.pass == Pass::First {
            (stat, proven) = self.unchanged.look(&folder, &name, stat);
        }
        let mut meta = metadata(&stat);
        let (node_type, open) = match kind {
            FileType::RegularFile => {
                match self.pass {
                    Pass::First if !proven => meta.mtime = None,
                    Pass::Final if self.unchanged.is_fresh(&stat) => meta.ctime = earlier(&meta),
                    Pass::First | Pass::Final => {}
                }
                let open = Entry {
                    folder,
                    name: name.clone(),
                    path: path.clone(),
                    inode: stat.st_ino,
                    pass: self.pass,
                    pending: Pending::new(&self.shared),
                };
                (NodeType::File, Some(open))
            }
            FileType::Directory => {
                self.enter(&folder, &name, &path, &stat)?;
                (NodeType::Dir, None)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&folder, &name, Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                (NodeType::from_link(&target), None)
            }
            FileType::Fifo => (NodeType::Fifo, None),
            FileType::Socket => (NodeType::Socket, None),
            FileType::CharacterDevice => (NodeType::Chardev { device: stat.st_rdev }, None),
            FileType::BlockDevice => (NodeType::Dev { device: stat.st_rdev }, None),
            FileType::Unknown => return Err(io::Error::other("it is of no known kind")),
        };
        if kind != FileType::RegularFile {
            self.shared.meter.file();
        }
        let node = Node::new_node(&name, node_type, meta);
        Ok(Some(ReadSourceEntry { path, node, open }))
    }

    fn enter(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        path: &Path,
        seen: &Stat,
    ) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inner = rustix::fs::openat(folder, name, flags, Mode::empty())?;
        if rustix::fs::fstat(&inner)?.st_ino != seen.st_ino {
            return Err(io::Error::other("it was replaced while it was read"));
        }
        self.descend(inner, path.to_owned())
    }
}

/// A change time that the file never has, so that the next backup reads it again: later stores
/// through a shared mapping may not show in its time stamps.
fn earlier(meta: &Metadata) -> Option<Timestamp> {
    meta.ctime.and_then(|time| time.checked_sub(SignedDuration::from_nanos(1)).ok())
}
