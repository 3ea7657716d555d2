//! Reads a tenant's folder safely.
//!
//! The tenant may have put anything there and may change it while we read. So nothing is opened by
//! path: each name is opened relative to the descriptor of its folder, no link is followed, and the
//! type of the opened file is checked. rustic silently skips unreadable files; here they are
//! counted and named, because a snapshot that lacks a file is no backup.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustic_core::{ReadSource, ReadSourceEntry, RusticResult};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    listing::{Builder, Content, Item, Listing, Place},
    meta,
    reader::{Entry, Pending, Shared},
    unchanged::Unchanged,
};

/// The longest path that can be restored.
const LONGEST_PATH: usize = 4000;

/// How folders are opened.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The pass of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The folder may change meanwhile: unreadable files are left to the second pass, and files
    /// that may have changed are recorded so that the second pass reads them again.
    First,
    /// Nothing writes to the folder, and everything is read.
    Final,
}

/// A folder to read.
pub(crate) struct Source {
    pub root: PathBuf,
    pub exclude: Vec<String>,
    pub pass: Pass,
    pub unchanged: Unchanged,
    pub shared: Arc<Shared>,
    /// What was found, when the pass is over.
    pub record: Arc<Mutex<Listing>>,
}

/// Opens the folder at the root.
pub(crate) fn open_root(root: &Path) -> io::Result<(OwnedFd, Stat)> {
    let folder = rustix::fs::open(root, FOLDER, Mode::empty())?;
    let stat = rustix::fs::fstat(&folder)?;
    Ok((folder, stat))
}

/// Opens the folder that was listed with this inode.
pub(crate) fn open_folder(parent: impl AsFd, name: &OsStr, inode: u64) -> io::Result<OwnedFd> {
    let folder = rustix::fs::openat(parent, name, FOLDER, Mode::empty())?;
    if rustix::fs::fstat(&folder)?.st_ino != inode {
        return Err(io::Error::other("it was replaced while it was read"));
    }
    Ok(folder)
}

/// The names in a folder, in byte order.
pub(crate) fn names(folder: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Whether an entry can be backed up: on the file system of the root, and with a path of this many
/// bytes below the root.
pub(crate) fn check(stat: &Stat, device: u64, path: usize) -> io::Result<()> {
    if path > LONGEST_PATH {
        return Err(io::Error::other("its path is longer than can be written back"));
    }
    if stat.st_dev != device {
        return Err(io::Error::other("another file system is mounted there"));
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Unknown {
        return Err(io::Error::other("it is of no known kind"));
    }
    Ok(())
}

/// The target of a link.
pub(crate) fn target(folder: impl AsFd, name: &OsStr) -> io::Result<OsString> {
    let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()))
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
            record: self.record.clone(),
            listing: Listing::default(),
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
    record: Arc<Mutex<Listing>>,
    listing: Listing,
    stack: Vec<Level>,
    state: Begun,
    device: u64,
}

struct Level {
    folder: Arc<OwnedFd>,
    path: PathBuf,
    names: VecDeque<OsString>,
    number: u32,
    found: Builder,
}

type Found = RusticResult<ReadSourceEntry<Entry>>;

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let item = self.step();
        if item.is_none() && self.state != Begun::Over {
            self.state = Begun::Over;
            if let Ok(mut record) = self.record.lock() {
                *record = std::mem::take(&mut self.listing);
            }
            self.shared.all_listed();
        }
        item
    }
}

impl Walk {
    fn step(&mut self) -> Option<Found> {
        if self.state == Begun::No {
            self.state = Begun::Yes;
            return match self.begin() {
                Ok(entry) => Some(Ok(entry)),
                Err(e) => {
                    // Also in the first pass: without the folder there is nothing to do.
                    self.shared.fail(&self.root, e);
                    None
                }
            };
        }
        loop {
            let top_level = self.stack.len() == 1;
            let level = self.stack.last_mut()?;
            let Some(name) = level.names.pop_front() else {
                self.leave();
                continue;
            };
            if top_level && self.exclude.iter().any(|e| e.as_bytes() == name.as_bytes()) {
                continue;
            }
            let (folder, path) = (level.folder.clone(), level.path.join(&name));
            let failed = match self.entry(folder, name, &path) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => None,
                Err(e) => Some(e),
            };
            // Nothing was entered then: this is still the level of the entry.
            if let Some(level) = self.stack.last_mut() {
                level.found.complete = false;
            }
            if let Some(e) = failed.filter(|_| self.pass == Pass::Final) {
                self.shared.fail(&path, e);
            }
        }
    }

    fn begin(&mut self) -> io::Result<ReadSourceEntry<Entry>> {
        let (folder, stat) = open_root(&self.root)?;
        self.device = stat.st_dev;
        self.descend(folder, self.root.clone())?;
        let root = Item::new(&stat);
        self.listing.set_root(root);
        let node = meta::node(&root, OsStr::new("data"), None, self.device);
        Ok(ReadSourceEntry { path: self.root.clone(), node, open: None })
    }

    /// Enters a folder; returns its number.
    fn descend(&mut self, folder: OwnedFd, path: PathBuf) -> io::Result<u32> {
        let names = names(&folder)?.into();
        let number = self.listing.reserve();
        let found = Builder::new();
        self.stack.push(Level { folder: Arc::new(folder), path, names, number, found });
        Ok(number)
    }

    /// Leaves the folder whose entries were all visited.
    fn leave(&mut self) {
        if let Some(level) = self.stack.pop()
            && self.pass == Pass::First
        {
            self.listing.fill(level.number, level.found.finish());
        }
    }

    /// One entry; `None` when it was removed meanwhile.
    fn entry(
        &mut self,
        folder: Arc<OwnedFd>,
        name: OsString,
        path: &Path,
    ) -> io::Result<Option<ReadSourceEntry<Entry>>> {
        let mut stat = match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if self.pass == Pass::First => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        check(&stat, self.device, path.as_os_str().len() - self.root.as_os_str().len())?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let mut proven = true;
        if is_file && self.pass == Pass::First {
            (stat, proven) = self.unchanged.look(&folder, &name, stat);
        }
        let mut item = Item::new(&stat);
        let fresh = is_file && self.unchanged.is_fresh(&item);
        // The second pass stores a fresh file with another time than it has, so it reads it again.
        proven &= !fresh || self.pass == Pass::Final;
        item = item.with(if proven { Content::Proven } else { Content::Unproven });
        let target = match item.kind() {
            FileType::Symlink => Some(target(&folder, &name)?),
            _ => None,
        };
        let mut node = meta::node(&item, &name, target.as_deref(), self.device);
        if !proven {
            // So that it differs from what the second pass finds.
            node.meta.mtime = None;
        } else if fresh {
            node.meta.ctime = meta::earlier(&node.meta);
        }
        let parent = self.stack.len() - 1;
        if item.kind() == FileType::Directory {
            let inner = open_folder(&folder, &name, item.inode)?;
            item.value = self.descend(inner, path.to_owned())?.into();
        }
        let place = self.record(parent, item, &name, target.as_deref());
        if !is_file {
            self.shared.meter.file();
        }
        let (inode, pass, path) = (item.inode, self.pass, path.to_owned());
        let open = is_file.then(|| {
            let pending = Pending::new(&self.shared);
            Entry { folder, name, path: path.clone(), inode, pass, place, pending }
        });
        Ok(Some(ReadSourceEntry { path, node, open }))
    }

    /// Records an entry of the folder at this depth, for the second pass.
    fn record(
        &mut self,
        depth: usize,
        item: Item,
        name: &OsStr,
        target: Option<&OsStr>,
    ) -> Option<Place> {
        let level = self.stack.get_mut(depth).filter(|_| self.pass == Pass::First)?;
        Some((level.number, level.found.add(item, name, target)?))
    }
}
