//! The source of the snapshot after the frozen folder was walked: what the walk found, and the
//! content that it kept. The folder itself is not read any more, except for files that could not be
//! kept, and for those the folder is still frozen.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustic_core::{
    ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult,
};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::{
    frozen::Found,
    listing::{Content, Folder, Item, Listing},
    meta,
    reader::{Reader, Shared},
    source::Pass,
    spool::{Piece, Spool},
    unchanged::Unchanged,
};

/// The state of a folder while it was frozen.
pub(crate) struct Recorded {
    found: Mutex<Option<Listing>>,
    about: Arc<About>,
}

struct About {
    path: PathBuf,
    root: Arc<OwnedFd>,
    device: u64,
    unchanged: Unchanged,
    spool: Spool,
    shared: Arc<Shared>,
}

impl Recorded {
    pub fn new(
        path: &Path,
        found: Found,
        spool: Spool,
        unchanged: Unchanged,
        shared: &Arc<Shared>,
    ) -> Self {
        let Found { listing, root, device } = found;
        let (path, shared) = (path.to_owned(), shared.clone());
        let about = About { path, root, device, unchanged, spool, shared };
        Self { found: Mutex::new(Some(listing)), about: Arc::new(about) }
    }
}

impl ReadSource for Recorded {
    type Open = Entry;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Entries {
        let listing = self.found.lock().ok().and_then(|mut found| found.take());
        Entries {
            about: self.about.clone(),
            listing: listing.unwrap_or_default(),
            stack: Vec::new(),
            begun: false,
        }
    }
}

/// The entries: each folder before its content, names in byte order.
pub(crate) struct Entries {
    about: Arc<About>,
    listing: Listing,
    stack: Vec<Level>,
    begun: bool,
}

struct Level {
    folder: Folder,
    at: usize,
    path: PathBuf,
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Entry>>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.begun {
            self.begun = true;
            return self.begin().map(Ok);
        }
        loop {
            let level = self.stack.last_mut()?;
            let at = level.at;
            level.at += 1;
            let Some(item) = level.folder.item(at).copied() else {
                self.stack.pop();
                continue;
            };
            let name = level.folder.name(at);
            let path = level.path.join(name);
            let target = (item.kind() == FileType::Symlink).then(|| level.folder.target(at));
            let entry = self.about.entry(&item, name, target, path);
            if item.kind() == FileType::Directory {
                self.enter(item.value, entry.path.clone());
            }
            return Some(Ok(entry));
        }
    }
}

impl Entries {
    fn begin(&mut self) -> Option<ReadSourceEntry<Entry>> {
        let root = self.listing.root()?;
        self.enter(0, self.about.path.clone());
        let node = meta::node(&root, OsStr::new("data"), None, self.about.device);
        Some(ReadSourceEntry { path: self.about.path.clone(), node, open: None })
    }

    fn enter(&mut self, number: u64, path: PathBuf) {
        // It is there: a walk that could not list a folder is no source.
        let folder = self.listing.take(number).unwrap_or_default();
        self.stack.push(Level { folder, at: 0, path });
    }
}

impl About {
    fn entry(
        self: &Arc<Self>,
        item: &Item,
        name: &OsStr,
        target: Option<&OsStr>,
        path: PathBuf,
    ) -> ReadSourceEntry<Entry> {
        let mut node = meta::node(item, name, target, self.device);
        let is_file = item.kind() == FileType::RegularFile;
        if is_file && self.unchanged.is_fresh(item) {
            node.meta.ctime = meta::earlier(&node.meta);
        }
        self.shared.meter.file();
        let open = is_file.then(|| {
            let piece = match item.content() {
                Content::Kept(number) => self.spool.take(number),
                Content::Proven | Content::Unproven => None,
            };
            Entry { about: self.clone(), piece, path: path.clone(), inode: item.inode }
        });
        ReadSourceEntry { path, node, open }
    }

    /// Opens a file that could not be kept.
    fn open(&self, path: &Path, inode: u64) -> io::Result<File> {
        let inside = path.strip_prefix(&self.path).map_err(io::Error::other)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let fd = rustix::fs::openat2(&self.root, inside, flags, Mode::empty(), within)?;
        let stat = rustix::fs::fstat(&fd)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_ino != inode {
            return Err(io::Error::other("it was replaced while it was read"));
        }
        Ok(fd.into())
    }
}

/// A file.
pub(crate) struct Entry {
    about: Arc<About>,
    /// Its content, if the first pass did not store it.
    piece: Option<Piece>,
    path: PathBuf,
    inode: u64,
}

impl ReadSourceOpen for Entry {
    type Reader = Box<dyn Read + Send>;

    fn open(self) -> RusticResult<Self::Reader> {
        let Self { about, piece, path, inode } = self;
        let refused = || RusticError::new(ErrorKind::InputOutput, "a file cannot be opened");
        match piece {
            Some(Piece::Memory(content)) => Ok(Box::new(content)),
            Some(Piece::Copy(copy)) => Ok(Box::new(copy)),
            Some(Piece::Clone(file)) => Ok(Box::new(file)),
            Some(Piece::Left(pending)) => match about.open(&path, inode) {
                Ok(file) => {
                    let (pass, place) = (Pass::Final, None);
                    Ok(Box::new(Reader { file, path, pass, place, pending }))
                }
                Err(e) => {
                    about.shared.fail(&path, &e);
                    Err(refused())
                }
            },
            None => {
                about.shared.is_late(&path);
                Err(refused())
            }
        }
    }
}
