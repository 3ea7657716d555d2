//! Secrets as files in memory, mounted read-only into the container.
//!
//! The container's mount is bound to the folder that it was started with, so the folder is never
//! replaced; its files are replaced atomically, one by one. A record of the revision and the file
//! names is removed first and written last, so that it is correct even after a crash.

use std::{ffi::CStr, io, path::Path, path::PathBuf};

use rustix::{fs::Mode, io::Errno, mount::MountFlags};
use startclaw_model::InstanceId;

use super::{DockerHost, client::blocking, folder::Folder};
use startclaw_host::{HostError, InstanceSpec, SecretFile};

/// The record's file name. The file belongs to root, so that the container cannot read it.
const RECORD: &str = ".revision";

/// Enough for more than 1,000 instances with a dozen secrets each.
const SIZES: [&CStr; 2] = [c"size=256m,mode=0711,noswap", c"size=256m,mode=0711"];

const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// The folder in memory, with a subfolder for each instance.
#[derive(Debug, Clone)]
pub(super) struct Secrets {
    root: PathBuf,
}

impl Secrets {
    pub(super) fn new(runtime_dir: &Path) -> Self {
        Self { root: runtime_dir.join("secrets") }
    }

    /// The folder of one instance, to be mounted into its container.
    pub(super) fn folder(&self, id: &InstanceId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Whether what is written here stays in memory.
    pub(super) fn in_memory(&self) -> bool {
        #[allow(clippy::useless_conversion, reason = "its type differs between architectures")]
        rustix::fs::statfs(&self.root).is_ok_and(|fs| {
            let magic = i64::try_from(fs.f_type).unwrap_or_default();
            magic == TMPFS_MAGIC || magic == RAMFS_MAGIC
        })
    }

    /// Replaces the secrets of an instance by `files`.
    pub(super) fn write(
        &self,
        id: &InstanceId,
        uid: u32,
        revision: u64,
        files: &[SecretFile],
    ) -> Result<(), HostError> {
        for file in files {
            check_name(&file.name)?;
        }
        check_name(id.as_str())?;
        let root = self.prepare()?;
        let work = || -> io::Result<()> {
            let folder = root.make(id.as_str())?;
            folder.unlink(RECORD)?;
            for old in folder.names()? {
                if !files.iter().any(|file| file.name == old) {
                    folder.wipe(&old)?;
                }
            }
            let mut record = revision.to_string();
            for file in files {
                folder.write(&file.name, file.value.expose().as_bytes(), uid, 0o400)?;
                record.push('\n');
                record.push_str(&file.name);
            }
            folder.set_owner(uid, 0o500)?;
            folder.write(RECORD, record.as_bytes(), 0, 0o400)
        };
        work().map_err(|e| {
            HostError::unavailable(format!(
                "cannot write secrets to {}: {e}",
                self.folder(id).display()
            ))
        })
    }

    /// The revision of the stored secrets: `None` when there are none, `u64::MAX` when they are
    /// incomplete.
    pub(super) fn revision(&self, id: &InstanceId) -> Result<Option<u64>, HostError> {
        let work = || -> io::Result<Option<u64>> {
            let Some(root) = Folder::open(&self.root)? else { return Ok(None) };
            let Some(folder) = root.subfolder(id.as_str())? else { return Ok(None) };
            let incomplete = Ok(Some(u64::MAX));
            let Some(record) = folder.read(RECORD, 1 << 16)? else { return incomplete };
            let mut lines = std::str::from_utf8(&record).unwrap_or_default().lines();
            let revision = lines.next().and_then(|line| line.parse().ok());
            let Some(revision) = revision else { return incomplete };
            for name in lines {
                if !folder.has(name)? {
                    return incomplete;
                }
            }
            Ok(Some(revision))
        };
        // A failed read must not be taken for "no secrets".
        work().map_err(|e| {
            HostError::unavailable(format!(
                "cannot read the secrets in {}: {e}",
                self.folder(id).display()
            ))
        })
    }

    /// Overwrites and removes the secrets of an instance.
    pub(super) fn remove(&self, id: &InstanceId) -> Result<(), HostError> {
        check_name(id.as_str())?;
        let work = || -> io::Result<()> {
            let Some(root) = Folder::open(&self.root)? else { return Ok(()) };
            if let Some(folder) = root.subfolder(id.as_str())? {
                folder.unlink(RECORD)?;
                for name in folder.names()? {
                    folder.wipe(&name)?;
                }
            }
            root.remove_folder(id.as_str())
        };
        work().map_err(|e| {
            HostError::unavailable(format!(
                "cannot remove the secrets in {}: {e}",
                self.folder(id).display()
            ))
        })
    }

    /// Opens the root; creates and mounts it if needed.
    fn prepare(&self) -> Result<Folder, HostError> {
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            HostError::refused(format!("cannot {what} {}: {e}", self.root.display()))
        };
        std::fs::create_dir_all(&self.root).map_err(|e| failed("make", &e))?;
        if !self.in_memory() {
            self.mount().map_err(|e| failed("mount a folder in memory at", &e))?;
        }
        let folder = Folder::open(&self.root).map_err(|e| {
            HostError::unavailable(format!("cannot open {}: {e}", self.root.display()))
        })?;
        let folder = folder.ok_or_else(|| failed("open", &"it is not there"))?;
        // Traversal is allowed for all users, because each container has its own user.
        rustix::fs::chmod(&self.root, Mode::from_raw_mode(0o711))
            .map_err(|e| failed("close", &e))?;
        Ok(folder)
    }

    /// Mounts a tmpfs that is never swapped, if the kernel supports that (since 6.4).
    fn mount(&self) -> rustix::io::Result<()> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mut result = Ok(());
        for data in SIZES {
            result = rustix::mount::mount("startclaw-secrets", &self.root, "tmpfs", flags, data);
            if result != Err(Errno::INVAL) {
                break;
            }
        }
        result
    }
}

impl DockerHost {
    pub(super) async fn write_secrets(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let (secrets, id, uid) = (self.secrets.clone(), spec.id.clone(), self.uid(spec));
        let (revision, files) = (spec.secrets_revision, spec.secrets.clone());
        blocking("write secrets", move || secrets.write(&id, uid, revision, &files)).await
    }

    pub(super) async fn remove_secrets(&self, spec: &InstanceSpec) -> Result<(), HostError> {
        let (secrets, id) = (self.secrets.clone(), spec.id.clone());
        blocking("remove secrets", move || secrets.remove(&id)).await
    }
}

/// Ids and file names come from our own crates; a path would be a bug there.
fn check_name(name: &str) -> Result<(), HostError> {
    let good = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if good {
        return Ok(());
    }
    Err(HostError::refused(format!("{name:?} cannot be the name of a file with a secret")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use startclaw_model::Secret;

    use super::*;

    /// On /dev/shm, which is in memory, so that no mount is needed.
    fn secrets() -> (tempfile::TempDir, Secrets, InstanceId, u32) {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let uid = Folder::open(dir.path()).unwrap().unwrap().owner().unwrap();
        let secrets = Secrets::new(dir.path());
        (dir, secrets, InstanceId("one".to_owned()), uid)
    }

    fn file(name: &str, value: &str) -> SecretFile {
        SecretFile { name: name.to_owned(), value: Secret::new(value) }
    }

    #[test]
    fn files_are_replaced_and_the_folder_stays() {
        let (_dir, secrets, id, uid) = secrets();
        assert_eq!(secrets.revision(&id).unwrap(), None);
        secrets.write(&id, uid, 1, &[file("A", "1"), file("B", "2")]).unwrap();
        let folder = secrets.folder(&id);
        let inode = std::os::unix::fs::MetadataExt::ino(&folder.metadata().unwrap());
        assert_eq!(secrets.revision(&id).unwrap(), Some(1));
        secrets.write(&id, uid, 2, &[file("A", "3")]).unwrap();
        assert_eq!(secrets.revision(&id).unwrap(), Some(2));
        assert_eq!(std::fs::read_to_string(folder.join("A")).unwrap(), "3");
        assert!(!folder.join("B").exists());
        assert_eq!(inode, std::os::unix::fs::MetadataExt::ino(&folder.metadata().unwrap()));
        let mode = |p: &Path| p.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&folder), mode(&folder.join("A"))), (0o500, 0o400));
        assert_eq!(mode(folder.parent().unwrap()), 0o711);
    }

    #[test]
    fn what_a_crash_left_is_seen_and_is_of_no_revision() {
        let (_dir, secrets, id, uid) = secrets();
        secrets.write(&id, uid, 7, &[file("A", "1")]).unwrap();
        std::fs::remove_file(secrets.folder(&id).join("A")).unwrap();
        assert_eq!(secrets.revision(&id).unwrap(), Some(u64::MAX));
        secrets.write(&id, uid, 7, &[file("A", "1")]).unwrap();
        std::fs::remove_file(secrets.folder(&id).join(RECORD)).unwrap();
        assert_eq!(secrets.revision(&id).unwrap(), Some(u64::MAX));
        secrets.remove(&id).unwrap();
        secrets.remove(&id).unwrap();
        assert_eq!(secrets.revision(&id).unwrap(), None);
        assert!(!secrets.folder(&id).exists());
    }

    #[test]
    fn a_look_that_fails_is_not_taken_for_nothing() {
        let (dir, secrets, id, _) = secrets();
        std::fs::write(dir.path().join("secrets"), "no folder").unwrap();
        let error = secrets.revision(&id).unwrap_err();
        assert_eq!(error.kind, startclaw_host::HostErrorKind::Unavailable);
    }

    #[test]
    fn a_name_that_is_a_path_is_refused() {
        let (_dir, secrets, id, uid) = secrets();
        for name in ["", "../x", "a/b", ".revision", ".."] {
            assert!(secrets.write(&id, uid, 1, &[file(name, "v")]).is_err(), "{name:?}");
        }
        assert!(secrets.remove(&InstanceId("..".to_owned())).is_err());
    }
}
