//! Safe access to a folder that a tenant can write.
//!
//! The tenant may have put anything there: a symbolic link to `/etc/shadow`, a FIFO that never
//! answers, a folder where a file is expected, and may swap them while we read. So nothing is
//! accessed by path: every file is opened relative to the folder's descriptor, without following
//! links (`openat2`), and the type of the opened file is checked.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::Path,
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};

/// No path may leave the folder or follow a link.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// An open folder.
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens `path`, whose parents only root can change; `None` when it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the folder `name` in this one; creates it, for root only, if it does not exist.
    pub(super) fn make(&self, name: &str) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        self.subfolder(name)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Opens the folder `name` in this one; `None` when it does not exist.
    pub(super) fn subfolder(&self, name: &str) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(self.open_beneath(name, flags, Mode::empty())?.map(Self))
    }

    /// The owner's user id.
    pub(super) fn owner(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstat(&self.0)?.st_uid)
    }

    /// Whether the folder belongs to `uid` and has full permissions for it.
    pub(super) fn is_usable_by(&self, uid: u32) -> io::Result<bool> {
        let stat = rustix::fs::fstat(&self.0)?;
        Ok(stat.st_uid == uid && Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU))
    }

    /// Changes the owner to `uid` and its group, and the mode. The owner is set last, so that a
    /// folder with the right owner also has the right mode, even after a crash.
    pub(super) fn set_owner(&self, uid: u32, mode: u32) -> io::Result<()> {
        rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode))?;
        Ok(rustix::fs::fchown(&self.0, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?)
    }

    /// Tests the kernel's `openat2`, which every access needs.
    pub(super) fn probe() -> io::Result<()> {
        let root = Self::open(Path::new("/"))?.ok_or(io::ErrorKind::NotFound)?;
        root.subfolder(".").map(drop)
    }

    /// The content of the regular file `name`. `None` when it does not exist, is not a regular
    /// file, or is larger than `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: u64) -> io::Result<Option<Bytes>> {
        let Some(file) = self.regular(name)? else { return Ok(None) };
        if file.metadata()?.len() > limit {
            return Ok(None);
        }
        let mut content = Vec::new();
        // It can grow while it is read.
        file.take(limit + 1).read_to_end(&mut content)?;
        Ok((content.len() as u64 <= limit).then(|| content.into()))
    }

    /// Whether there is a regular file `name`.
    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        Ok(self.regular(name)?.is_some())
    }

    /// Opens the regular file `name` for reading.
    fn regular(&self, name: &str) -> io::Result<Option<File>> {
        // Without NONBLOCK, opening a FIFO would block until it has a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Some(fd) = self.open_beneath(name, flags, Mode::empty())? else { return Ok(None) };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        Ok((kind == FileType::RegularFile).then(|| fd.into()))
    }

    /// Writes `content` to `name` atomically and durably. The file belongs to `uid`, with `mode`.
    pub(super) fn write(&self, name: &str, content: &[u8], uid: u32, mode: u32) -> io::Result<()> {
        let temporary = format!(".startclaw-{name}.new");
        self.unlink(&temporary)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = self
            .open_beneath(&temporary, flags, Mode::from_raw_mode(0o600))?
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let written = (|| {
            rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
            let mut file = File::from(fd);
            file.write_all(content)?;
            file.sync_all()?;
            self.replace(&temporary, name)
        })();
        if written.is_err() {
            // The disk may be full: leave nothing half-written behind.
            let _ = self.unlink(&temporary);
        }
        written?;
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Renames `from` over `to`; an existing folder, which a rename cannot replace, is quarantined
    /// with its content.
    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        for _ in 0..3 {
            match rustix::fs::renameat(&self.0, from, &self.0, to) {
                Ok(()) => return Ok(()),
                Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => self.quarantine(to)?,
                Err(e) => return Err(e.into()),
            }
        }
        Err(io::Error::other(format!("a folder named {to} stays in the way")))
    }

    /// Quarantines `name`: renames it, so that it is kept.
    pub(super) fn quarantine(&self, name: &str) -> io::Result<()> {
        let aside = format!("{name}.set-aside-{:08x}", rand::random::<u32>());
        match rustix::fs::renameat(&self.0, name, &self.0, &aside) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes the file `name` of any type; a folder is quarantined.
    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => self.quarantine(name),
            Err(e) => Err(e.into()),
        }
    }

    /// Overwrites the regular file `name` with zeros and removes it.
    pub(super) fn wipe(&self, name: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        if let Some(fd) = self.open_beneath(name, flags, Mode::empty())? {
            let mut file = File::from(fd);
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            file.write_all(&vec![0; length.min(1 << 20)])?;
        }
        self.unlink(name)
    }

    /// Removes the empty folder `name` in this one.
    pub(super) fn remove_folder(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// The names of everything in the folder.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Whether the folder is empty.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `None` when `name` does not exist, is a link, or is a file where a folder is expected.
    fn open_beneath(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<Option<OwnedFd>> {
        // The kernel returns EAGAIN when a path component is renamed during the lookup.
        for _ in 0..16 {
            match rustix::fs::openat2(&self.0, name, flags | OFlags::CLOEXEC, mode, RESOLVE) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NXIO) => {
                    return Ok(None);
                }
                Err(Errno::ISDIR) if flags.contains(OFlags::WRONLY) => return Ok(None),
                Err(Errno::AGAIN) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::AGAIN.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn folder() -> (tempfile::TempDir, Folder, u32) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap().unwrap();
        let uid = folder.owner().unwrap();
        (dir, folder, uid)
    }

    #[test]
    fn a_folder_serves_its_owner_unless_that_shut_itself_out() {
        let (_dir, folder, uid) = folder();
        assert!(folder.is_usable_by(uid).unwrap());
        assert!(!folder.is_usable_by(uid + 1).unwrap());
        folder.set_owner(uid, 0o300).unwrap();
        assert!(!folder.is_usable_by(uid).unwrap());
    }

    #[test]
    fn this_machine_can_open_beneath() {
        Folder::probe().unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole_and_belongs_to_its_user_alone() {
        let (dir, folder, uid) = folder();
        for content in [b"old".as_slice(), b"newer"] {
            folder.write("c.json", content, uid, 0o600).unwrap();
            assert_eq!(folder.read("c.json", LIMIT).unwrap().unwrap(), content);
        }
        let meta = dir.path().join("c.json").metadata().unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o600, uid));
        assert_eq!(folder.names().unwrap(), ["c.json"]);
    }

    #[test]
    fn a_link_out_of_the_folder_is_neither_read_nor_written_through() {
        let (dir, folder, uid) = folder();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "secret").unwrap();
        symlink(outside.path(), dir.path().join("c.json")).unwrap();
        assert_eq!(folder.read("c.json", LIMIT).unwrap(), None);
        // The temporary file's name may also be taken by a link.
        symlink(outside.path(), dir.path().join(".startclaw-c.json.new")).unwrap();
        folder.write("c.json", b"mine", uid, 0o600).unwrap();
        assert_eq!(std::fs::read(outside.path()).unwrap(), b"secret");
        assert_eq!(folder.read("c.json", LIMIT).unwrap().unwrap(), &b"mine"[..]);
        assert!(!dir.path().join("c.json").is_symlink());
    }

    #[test]
    fn a_fifo_holds_nobody_up() {
        let (dir, folder, uid) = folder();
        let fifo = dir.path().join("c.json");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(folder.read("c.json", LIMIT).unwrap(), None);
        folder.write("c.json", b"mine", uid, 0o600).unwrap();
        assert_eq!(folder.read("c.json", LIMIT).unwrap().unwrap(), &b"mine"[..]);
    }

    #[test]
    fn a_folder_in_the_way_is_set_aside_with_what_is_in_it() {
        let (dir, folder, uid) = folder();
        for name in ["c.json", ".startclaw-c.json.new"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("x"), "x").unwrap();
        }
        assert_eq!(folder.read("c.json", LIMIT).unwrap(), None);
        folder.write("c.json", b"mine", uid, 0o600).unwrap();
        assert_eq!(folder.read("c.json", LIMIT).unwrap().unwrap(), &b"mine"[..]);
        let kept = folder.names().unwrap().iter().filter(|n| n.contains(".set-aside-")).count();
        assert_eq!(kept, 2);
    }

    #[test]
    fn a_file_that_is_too_large_is_no_configuration() {
        let (dir, folder, _) = folder();
        std::fs::write(dir.path().join("c.json"), vec![b' '; 11]).unwrap();
        assert_eq!(folder.read("c.json", 10).unwrap(), None);
        assert_eq!(folder.read("c.json", 11).unwrap().unwrap().len(), 11);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let (dir, folder, _) = folder();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let inner = folder.subfolder("d").unwrap().unwrap();
        std::fs::write(dir.path().join("f"), "x").unwrap();
        assert_eq!(inner.read("../f", LIMIT).unwrap(), None);
        assert_eq!(inner.read("/etc/passwd", LIMIT).unwrap(), None);
        symlink("..", dir.path().join("d/up")).unwrap();
        assert_eq!(inner.read("up/f", LIMIT).unwrap(), None);
    }

    #[test]
    fn a_race_of_link_and_file_never_shows_the_links_target() {
        let (dir, folder, _) = folder();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "secret").unwrap();
        let path = dir.path().to_owned();
        symlink(outside.path(), path.join("link")).unwrap();
        std::fs::write(path.join("file"), "mine").unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = stop.clone();
        let swapper = std::thread::spawn(move || {
            while !told.load(std::sync::atomic::Ordering::Relaxed) {
                for from in ["link", "file"] {
                    let _ = std::fs::rename(path.join(from), path.join("c.json"));
                    let _ = std::fs::rename(path.join("c.json"), path.join(from));
                }
            }
        });
        for _ in 0..5_000 {
            if let Ok(Some(content)) = folder.read("c.json", LIMIT) {
                assert_eq!(content, &b"mine"[..]);
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        swapper.join().unwrap();
    }
}
