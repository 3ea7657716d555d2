//! The walk over the frozen folder: finds what differs from the first pass, and keeps its content.
//!
//! It does as little as possible, because the instance stands still meanwhile: several threads look
//! at the attributes of every entry and compare them with those that the first pass recorded. Only
//! content that is not proven to be stored is read. The names in a folder are read again only if
//! its own times may have changed. The snapshot is written afterwards, from what was found here.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::fs::{AtFlags, FileType};

use crate::{
    listing::{Builder, Content, Folder, Item, Listing},
    reader::{self, Pending, Shared},
    source,
    spool::Spool,
    unchanged::Unchanged,
    work_list::WorkList,
    worker,
};

/// The most threads that walk.
const THREADS: usize = 4;

/// What the walk compares with, and where it keeps content.
pub(crate) struct Frozen<'a> {
    pub root: &'a Path,
    pub exclude: &'a [String],
    pub unchanged: Unchanged,
    /// What the first pass found.
    pub known: Listing,
    pub spool: &'a Spool,
    pub shared: &'a Arc<Shared>,
}

/// What the walk found.
pub(crate) struct Found {
    pub listing: Listing,
    pub root: Arc<OwnedFd>,
    pub device: u64,
}

/// An open folder.
struct Open {
    folder: OwnedFd,
    path: PathBuf,
}

/// A folder that is still to be walked.
struct Task {
    parent: Arc<Open>,
    name: OsString,
    inode: u64,
    /// Its number in the new listing.
    number: u32,
    before: Before,
}

/// What the first pass knew of a folder.
#[derive(Default)]
struct Before {
    folder: Option<Folder>,
    /// Whether it still has the same names.
    same_names: bool,
}

impl Frozen<'_> {
    /// Walks. Entries that cannot be read are noted, and missing in what was found.
    ///
    /// # Errors
    /// When the root cannot be opened.
    pub fn walk(&self) -> io::Result<Found> {
        let (folder, stat) = source::open_root(self.root)?;
        let root = Arc::new(folder);
        let item = Item::new(&stat);
        let before = Before {
            folder: self.known.take(0),
            same_names: self.known.root().is_some_and(|known| self.is_same(&known, &item)),
        };
        let walk = Walk {
            frozen: self,
            device: stat.st_dev,
            numbers: AtomicU32::new(1),
            done: Mutex::default(),
        };
        let open = Open { folder: root.try_clone()?, path: self.root.to_owned() };
        walk.run(open, before);
        let done = walk.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut listing = Listing::default();
        listing.set_root(item);
        for _ in 0..walk.numbers.into_inner() {
            listing.reserve();
        }
        done.into_iter().for_each(|(number, folder)| listing.fill(number, folder));
        Ok(Found { listing, root, device: stat.st_dev })
    }

    /// Whether a folder or a link is the same as in the first pass.
    fn is_same(&self, known: &Item, now: &Item) -> bool {
        known.is_as(now) && self.unchanged.is_settled(known)
    }
}

struct Walk<'a> {
    frozen: &'a Frozen<'a>,
    device: u64,
    /// The number of the next folder.
    numbers: AtomicU32,
    done: Mutex<Vec<(u32, Folder)>>,
}

impl Walk<'_> {
    fn run(&self, root: Open, before: Before) {
        let tasks = WorkList::default();
        let (folder, inner) = self.list(&Arc::new(root), before, true);
        self.finish(vec![(0, folder)]);
        tasks.add(inner);
        let work = || {
            let mut done = Vec::new();
            tasks.work(|task| {
                self.frozen.shared.meter.live();
                let (number, found, inner) = self.enter(task);
                done.extend(found.map(|folder| (number, folder)));
                inner
            });
            self.finish(done);
        };
        thread::scope(|threads| {
            threads.spawn(|| {
                // Threads that it starts inherit this.
                let cpus = worker::hurry();
                thread::scope(|threads| {
                    for _ in 1..cpus.clamp(1, THREADS) {
                        threads.spawn(work);
                    }
                    work();
                });
            });
        });
    }

    fn finish(&self, folders: Vec<(u32, Folder)>) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).extend(folders);
    }

    fn enter(&self, task: Task) -> (u32, Option<Folder>, Vec<Task>) {
        let path = task.parent.path.join(&task.name);
        match source::open_folder(&task.parent.folder, &task.name, task.inode) {
            Ok(folder) => {
                let open = Arc::new(Open { folder, path });
                let (found, inner) = self.list(&open, task.before, false);
                (task.number, Some(found), inner)
            }
            Err(e) => {
                self.frozen.shared.fail(&path, e);
                (task.number, None, Vec::new())
            }
        }
    }

    /// Lists a folder; returns it, and the folders in it.
    fn list(&self, open: &Arc<Open>, before: Before, is_root: bool) -> (Folder, Vec<Task>) {
        let mut list = List {
            walk: self,
            open,
            known: before.folder.unwrap_or_default(),
            found: Builder::new(),
            inner: Vec::new(),
        };
        if before.same_names && list.known.complete {
            let known = std::mem::take(&mut list.known);
            for at in 0..known.len() {
                list.note(known.name(at), Some((&known, at)));
            }
        } else {
            list.read(if is_root { self.frozen.exclude } else { &[] });
        }
        (list.found.finish(), list.inner)
    }
}

/// A folder that is being listed.
struct List<'a> {
    walk: &'a Walk<'a>,
    open: &'a Arc<Open>,
    known: Folder,
    found: Builder,
    inner: Vec<Task>,
}

impl List<'_> {
    /// Lists the folder by reading its names.
    fn read(&mut self, exclude: &[String]) {
        let names = match source::names(&self.open.folder) {
            Ok(names) => names,
            Err(e) => return self.walk.frozen.shared.fail(&self.open.path, e),
        };
        let known = std::mem::take(&mut self.known);
        let mut at = 0;
        for name in names {
            if exclude.iter().any(|e| e.as_bytes() == name.as_bytes()) {
                continue;
            }
            while at < known.len() && known.name(at) < name.as_os_str() {
                at += 1;
            }
            let is_known = at < known.len() && known.name(at) == name;
            self.note(&name, is_known.then_some((&known, at)));
        }
    }

    fn note(&mut self, name: &OsStr, known: Option<(&Folder, usize)>) {
        if let Err(e) = self.entry(name, known) {
            self.walk.frozen.shared.fail(&self.open.path.join(name), e);
        }
    }

    fn entry(&mut self, name: &OsStr, known: Option<(&Folder, usize)>) -> io::Result<()> {
        let folder = self.open.folder.as_fd();
        let frozen = self.walk.frozen;
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        source::check(&stat, self.walk.device, self.path_length(name))?;
        let before = known.and_then(|(folder, at)| folder.item(at));
        let mut item = Item::new(&stat);
        let mut target = None;
        match item.kind() {
            FileType::RegularFile => item = item.with(self.content(name, &item, before)?),
            FileType::Directory => item.value = self.plan(name, &item, before).into(),
            FileType::Symlink => {
                let same = known.filter(|_| before.is_some_and(|b| frozen.is_same(b, &item)));
                target = Some(match same {
                    Some((folder, at)) => folder.target(at).to_owned(),
                    None => source::target(folder, name)?,
                });
            }
            _ => {}
        }
        let added = self.found.add(item, name, target.as_deref());
        added.map(|_| ()).ok_or_else(|| io::Error::other("its folder has too many entries"))
    }

    fn path_length(&self, name: &OsStr) -> usize {
        let above = self.open.path.as_os_str().len() - self.walk.frozen.root.as_os_str().len();
        above + 1 + name.len()
    }

    /// The content of a file: what the first pass stored, or a copy of it.
    fn content(&self, name: &OsStr, item: &Item, before: Option<&Item>) -> io::Result<Content> {
        if before.is_some_and(|b| b.content() == Content::Proven && b.is_as(item)) {
            return Ok(Content::Proven);
        }
        let frozen = self.walk.frozen;
        let file = reader::open_listed(&self.open.folder, name, item.inode)?;
        let left = || Pending::new(frozen.shared);
        frozen.spool.keep(&file, item.value, left).map(Content::Kept)
    }

    /// Plans the walk over an inner folder; returns its number.
    fn plan(&mut self, name: &OsStr, item: &Item, before: Option<&Item>) -> u32 {
        let frozen = self.walk.frozen;
        let before = before.filter(|b| b.kind() == FileType::Directory);
        let before = before.map(|before| Before {
            folder: frozen.known.take(before.value),
            same_names: frozen.is_same(before, item),
        });
        let number = self.walk.numbers.fetch_add(1, Ordering::Relaxed);
        self.inner.push(Task {
            parent: self.open.clone(),
            name: name.to_owned(),
            inode: item.inode,
            number,
            before: before.unwrap_or_default(),
        });
        number
    }
}
