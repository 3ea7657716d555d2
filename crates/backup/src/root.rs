//! The root of a destination, beside the repositories: its identity, and a probe of what it allows.

use bytes::Bytes;
use startclaw_model::{CONTROL_PLANE, Timestamp};

use crate::{
    BackupError, BackupErrorKind, Repository, Storage,
    objects::{self, ObjectError, Objects},
};

/// The object that holds the identity.
const IDENTITY: &str = "startclaw-destination";
/// The folder of probes.
const PROBES: &str = "startclaw-probe";
/// The longest identity.
const LONGEST: u64 = 128;

/// Fails unless the destination has the identity that the repository's job expects, if any.
pub(crate) fn verify(repository: &Repository) -> Result<(), BackupError> {
    let Some(expected) = &repository.destination_id else { return Ok(()) };
    let root = objects::open_root(&repository.storage)?;
    let has = match read_identity(root.as_ref())? {
        Some(id) if id == *expected => return Ok(()),
        Some(_) => "another",
        None => "no",
    };
    Err(foreign(root.as_ref(), &format!("it has {has} identity")))
}

fn foreign(root: &dyn Objects, why: &str) -> BackupError {
    let text = format!(
        "{} is not the destination that holds the backups: {why}. Is the folder mounted, is \
         backup.destination right?",
        root.location()
    );
    BackupError::new(BackupErrorKind::Foreign, text)
}

/// The identity of the destination, which may be created, and whether there are repositories.
pub(crate) fn identify(
    storage: &Storage,
    create: Option<&str>,
) -> Result<(Option<String>, bool), BackupError> {
    let root = objects::open_root(storage)?;
    let mut id = read_identity(root.as_ref())?;
    if let (None, Some(new)) = (&id, create) {
        if !is_identity(new) {
            let text = "an identity has 1 to 128 letters, digits, `-`, `_` and `.`";
            return Err(BackupError::new(BackupErrorKind::Unavailable, text));
        }
        // Another daemon may create one at the same time: what is read afterwards counts.
        let created = root.create(IDENTITY, Bytes::copy_from_slice(new.as_bytes()));
        created.map_err(|e| e.stop("write to", &root.location()))?;
        id = read_identity(root.as_ref())?;
    }
    let has_repositories = has_repositories(root.as_ref())?;
    Ok((id, has_repositories))
}

/// Whether there is any repository of this program. The folder where a disk is mounted may hold
/// other things while it is not, such as `lost+found`.
fn has_repositories(root: &dyn Objects) -> Result<bool, BackupError> {
    let failed = |e: ObjectError| e.stop("list", &root.location());
    let folders = root.folders().map_err(failed)?;
    for name in folders.iter().filter(|name| is_of_repository(name)) {
        // One is enough, so that damaged ones do not matter.
        if root.stat(&format!("{name}/config")).map_err(failed)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a folder has the name of a repository: an instance's id, a UUID, or the control plane's.
fn is_of_repository(name: &str) -> bool {
    let is_id = || {
        let groups: Vec<_> = name.split('-').map(str::len).collect();
        groups == [8, 4, 4, 4, 12] && name.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
    };
    name == CONTROL_PLANE || is_id()
}

fn read_identity(root: &dyn Objects) -> Result<Option<String>, BackupError> {
    let failed = |e: ObjectError| e.stop("read", &format!("{}/{IDENTITY}", root.location()));
    let Some(stat) = root.stat(IDENTITY).map_err(failed)? else { return Ok(None) };
    let invalid = || foreign(root, &format!("the content of {IDENTITY} is no identity"));
    if stat.size > LONGEST {
        return Err(invalid());
    }
    let content = root.read(IDENTITY, Some((0, stat.size))).map_err(failed)?;
    let text = std::str::from_utf8(&content).unwrap_or_default().trim();
    if is_identity(text) { Ok(Some(text.to_owned())) } else { Err(invalid()) }
}

fn is_identity(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=LONGEST).contains(&(text.len() as u64)) && text.bytes().all(plain)
}

/// Writes, lists, reads and deletes a small object; in an append-only bucket it stays. Returns the
/// time of the storage, if it has a clock of its own.
pub(crate) fn probe(storage: &Storage) -> Result<Option<Timestamp>, BackupError> {
    probe_root(objects::open_root(storage)?.as_ref())
}

fn probe_root(root: &dyn Objects) -> Result<Option<Timestamp>, BackupError> {
    let location = root.location();
    root.require().map_err(|e| e.stop("use", &location))?;
    let name = format!("{:032x}", rand::random::<u128>());
    let path = format!("{PROBES}/{name}");
    let content = Bytes::from(format!("{:032x}", rand::random::<u128>()));
    let written = root.write(&path, vec![content.clone()]);
    written.map_err(|e| e.stop("write objects in", &location))?;
    let seen = examine(root, &name, &content);
    if root.keeps_all() {
        return seen;
    }
    // Also when it cannot be read: a probe leaves nothing behind.
    let removed = root.remove(&path).map_err(|e| e.stop("delete objects in", &location));
    let time = seen?;
    removed?;
    match root.stat(&path).map_err(|e| e.stop("read objects in", &location))? {
        None => Ok(time),
        Some(_) => Err(odd(&location, "cannot delete objects in", "it is still there")),
    }
}

/// Whether the object of a probe is listed and has its content; its time.
fn examine(
    root: &dyn Objects,
    name: &str,
    content: &Bytes,
) -> Result<Option<Timestamp>, BackupError> {
    let location = root.location();
    let path = format!("{PROBES}/{name}");
    let listed = root.list(PROBES).map_err(|e| e.stop("list objects in", &location))?;
    if !listed.iter().any(|(found, _)| found == name) {
        return Err(odd(&location, "cannot list objects in", "a new object is not listed"));
    }
    let read = root.read(&path, None).map_err(|e| e.stop("read objects in", &location))?;
    if read != *content {
        return Err(odd(&location, "cannot read objects in", "the content is another"));
    }
    let stat = root.stat(&path).map_err(|e| e.stop("read objects in", &location))?;
    Ok(stat.and_then(|stat| stat.modified))
}

fn odd(location: &str, what: &str, why: &str) -> BackupError {
    BackupError::new(BackupErrorKind::Unavailable, format!("{what} {location}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use super::*;
    use crate::objects::Stat;

    /// A bucket in memory in which one thing does not work.
    #[derive(Default)]
    struct Faulty {
        objects: Mutex<BTreeMap<String, Bytes>>,
        fault: &'static str,
    }

    impl Faulty {
        fn new(fault: &'static str) -> Self {
            Self { fault, ..Self::default() }
        }

        fn allow(&self, what: &str) -> Result<(), ObjectError> {
            match self.fault == what {
                true if what == "remove" => Err(ObjectError::Refused("403".into())),
                true => Err(ObjectError::Failed("403".into())),
                false => Ok(()),
            }
        }
    }

    impl Objects for Faulty {
        fn read(&self, name: &str, _: Option<(u64, u64)>) -> Result<Bytes, ObjectError> {
            self.allow("read")?;
            if self.fault == "other content" {
                return Ok(Bytes::from_static(b"other"));
            }
            let found = self.objects.lock().unwrap().get(name).cloned();
            found.ok_or_else(|| ObjectError::Missing("it is missing".into()))
        }
        fn write(&self, name: &str, content: Vec<Bytes>) -> Result<(), ObjectError> {
            self.allow("write")?;
            self.objects.lock().unwrap().insert(name.into(), content.concat().into());
            Ok(())
        }
        fn create(&self, name: &str, content: Bytes) -> Result<(), ObjectError> {
            self.write(name, vec![content])
        }
        fn remove(&self, name: &str) -> Result<(), ObjectError> {
            self.allow("remove")?;
            if self.fault != "keeps all" {
                self.objects.lock().unwrap().remove(name);
            }
            Ok(())
        }
        fn stat(&self, name: &str) -> Result<Option<Stat>, ObjectError> {
            let objects = self.objects.lock().unwrap();
            let modified = Some(Timestamp::from_millis(5));
            Ok(objects.get(name).map(|content| Stat { size: content.len() as u64, modified }))
        }
        fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, ObjectError> {
            self.allow("list")?;
            if self.fault == "lists nothing" {
                return Ok(Vec::new());
            }
            let objects = self.objects.lock().unwrap();
            let prefix = format!("{folder}/");
            let names = objects.keys().filter_map(|name| name.strip_prefix(&prefix));
            Ok(names.map(|name| (name.to_owned(), 1)).collect())
        }
        fn folders(&self) -> Result<Vec<String>, ObjectError> {
            Ok(Vec::new())
        }
        fn require(&self) -> Result<(), ObjectError> {
            self.allow("require")
        }
        fn erase(&self) -> Result<(), ObjectError> {
            Ok(())
        }
        fn keeps_all(&self) -> bool {
            self.fault == "append-only"
        }
        fn location(&self) -> String {
            "gs://bucket".into()
        }
    }

    #[test]
    fn a_probe_names_the_step_that_fails_and_leaves_nothing_that_it_can_delete() {
        let good = Faulty::new("");
        assert_eq!(probe_root(&good).unwrap(), Some(Timestamp::from_millis(5)));
        assert!(good.objects.lock().unwrap().is_empty());
        for (fault, text, leaves) in [
            ("require", "cannot use gs://bucket: 403", 0),
            ("write", "cannot write objects in gs://bucket: 403", 0),
            ("list", "cannot list objects in gs://bucket: 403", 0),
            ("lists nothing", "cannot list objects in gs://bucket: a new object is not", 0),
            ("read", "cannot read objects in gs://bucket: 403", 0),
            ("other content", "cannot read objects in gs://bucket: the content", 0),
            ("remove", "cannot delete objects in gs://bucket: 403", 1),
            ("keeps all", "cannot delete objects in gs://bucket: it is still there", 1),
        ] {
            let faulty = Faulty::new(fault);
            let error = probe_root(&faulty).unwrap_err();
            assert!(error.message.starts_with(text), "{fault}: {error}");
            assert_eq!(error.kind == BackupErrorKind::Refused, fault == "remove", "{error}");
            assert_eq!(faulty.objects.lock().unwrap().len(), leaves, "{fault}");
        }
    }

    #[test]
    fn a_probe_deletes_nothing_in_an_append_only_bucket() {
        let bucket = Faulty::new("append-only");
        assert_eq!(probe_root(&bucket).unwrap(), Some(Timestamp::from_millis(5)));
        assert_eq!(bucket.objects.lock().unwrap().len(), 1);
    }
}
