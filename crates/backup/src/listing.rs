//! What one pass found in a folder, in little memory: about 64 bytes and the name for each entry.
//!
//! The first pass records it, the walk over the frozen folder compares with it, and the snapshot is
//! written from what that walk found.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, sync::Mutex};

use rustix::fs::{FileType, Stat};

/// What is known of the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The first pass stored it, and its time stamps show every later change.
    Proven,
    /// It may have changed since it was read.
    Unproven,
    /// The walk kept it: the number of a piece of the [`Spool`](crate::spool::Spool).
    Kept(u32),
}

/// An entry of a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub inode: u64,
    /// The size of a file, the number of a folder, or the number of a device.
    pub value: u64,
    pub mtime: i64,
    pub ctime: i64,
    pub mtime_nsec: u32,
    pub ctime_nsec: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// Where its name begins.
    name: u32,
    content: u32,
}

const PROVEN: u32 = u32::MAX;
const UNPROVEN: u32 = u32::MAX - 1;

impl Item {
    #[allow(clippy::cast_possible_truncation, reason = "nanoseconds are less than 2^32")]
    #[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
    pub fn new(stat: &Stat) -> Self {
        let value = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice | FileType::BlockDevice => stat.st_rdev,
            FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or(0),
            _ => 0,
        };
        Self {
            inode: stat.st_ino,
            value,
            mtime: stat.st_mtime,
            ctime: stat.st_ctime,
            mtime_nsec: stat.st_mtime_nsec as u32,
            ctime_nsec: stat.st_ctime_nsec as u32,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            name: 0,
            content: UNPROVEN,
        }
    }

    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub fn content(&self) -> Content {
        match self.content {
            PROVEN => Content::Proven,
            UNPROVEN => Content::Unproven,
            kept => Content::Kept(kept),
        }
    }

    pub fn with(mut self, content: Content) -> Self {
        self.content = match content {
            Content::Proven => PROVEN,
            Content::Unproven => UNPROVEN,
            Content::Kept(number) => number,
        };
        self
    }

    /// Whether nothing shows that the entry changed or was replaced. Any change of a file sets its
    /// change time, which no user can choose.
    pub fn is_as(&self, other: &Self) -> bool {
        self.inode == other.inode
            && self.mode == other.mode
            && (self.mtime, self.mtime_nsec) == (other.mtime, other.mtime_nsec)
            && (self.ctime, self.ctime_nsec) == (other.ctime, other.ctime_nsec)
            && (self.kind() != FileType::RegularFile || self.value == other.value)
    }
}

/// The entries of a folder, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    items: Box<[Item]>,
    /// The names, and after that of a link its target, each with a zero byte at its end.
    names: Box<[u8]>,
    /// Whether all entries are here: not if one was gone, or could not be read.
    pub complete: bool,
}

impl Folder {
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn item(&self, at: usize) -> Option<&Item> {
        self.items.get(at)
    }

    pub fn name(&self, at: usize) -> &OsStr {
        let from = self.items.get(at).map_or(0, |item| item.name as usize);
        OsStr::from_bytes(self.text(from))
    }

    /// The target of a link.
    pub fn target(&self, at: usize) -> &OsStr {
        let from = self.items.get(at).map_or(0, |item| item.name as usize);
        OsStr::from_bytes(self.text(from + self.text(from).len() + 1))
    }

    fn text(&self, from: usize) -> &[u8] {
        let rest = self.names.get(from..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Notes that the content of a file was not stored.
    fn not_stored(&mut self, at: u32) {
        if let Some(item) = self.items.get_mut(at as usize) {
            item.content = UNPROVEN;
        }
    }
}

/// A folder that is being listed.
#[derive(Debug)]
pub(crate) struct Builder {
    items: Vec<Item>,
    names: Vec<u8>,
    pub complete: bool,
}

impl Builder {
    pub fn new() -> Self {
        Self { items: Vec::new(), names: Vec::new(), complete: true }
    }

    /// Adds an entry; names come in order. Returns its position; `None` when it cannot be added,
    /// because the folder has 4 GiB of names.
    pub fn add(&mut self, item: Item, name: &OsStr, target: Option<&OsStr>) -> Option<u32> {
        let position = u32::try_from(self.items.len()).ok();
        let (Ok(from), Some(position)) = (u32::try_from(self.names.len()), position) else {
            self.complete = false;
            return None;
        };
        for text in std::iter::once(name).chain(target) {
            self.names.extend_from_slice(text.as_bytes());
            self.names.push(0);
        }
        self.items.push(Item { name: from, ..item });
        Some(position)
    }

    pub fn finish(self) -> Folder {
        Folder { items: self.items.into(), names: self.names.into(), complete: self.complete }
    }
}

/// A file of a [`Listing`]: the number of its folder, and its position there.
pub(crate) type Place = (u32, u32);

/// All folders that a pass found, by their numbers; the root has the number 0.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    folders: Vec<Mutex<Option<Folder>>>,
    root: Option<Item>,
}

impl Listing {
    /// The number of one more folder, which [`fill`](Self::fill) describes later.
    pub fn reserve(&mut self) -> u32 {
        self.folders.push(Mutex::default());
        u32::try_from(self.folders.len() - 1).unwrap_or(u32::MAX)
    }

    pub fn fill(&mut self, number: u32, folder: Folder) {
        if let Some(slot) = self.folders.get_mut(number as usize) {
            *slot = Mutex::new(Some(folder));
        }
    }

    pub fn set_root(&mut self, root: Item) {
        self.root = Some(root);
    }

    pub fn root(&self) -> Option<Item> {
        self.root
    }

    /// Takes a folder out: its memory is free when the taker drops it.
    pub fn take(&self, number: u64) -> Option<Folder> {
        let slot = self.folders.get(usize::try_from(number).ok()?)?;
        slot.lock().ok()?.take()
    }

    /// Notes files whose content was not stored.
    pub fn not_stored(&mut self, files: &[Place]) {
        for (folder, at) in files {
            let slot = self.folders.get_mut(*folder as usize).and_then(|slot| slot.get_mut().ok());
            if let Some(Some(folder)) = slot {
                folder.not_stored(*at);
            }
        }
    }
}
