//! The storage of a repository's files, as a backend of rustic.

use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{BytesList, FileType, Id, ReadBackend, RusticResult, WriteBackend};

use startclaw_model::Timestamp;

use crate::{
    BackupError, BackupErrorKind, Repository, Storage, bucket::Bucket, destination::Destination,
    error::storage_error, folder::FolderStore, meter::Meter,
};

/// A store of named objects. Names are relative paths such as `data/5e/5e…`.
pub(crate) trait Objects: Send + Sync + 'static {
    /// Reads all of it, or a part: offset and length.
    fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Bytes, ObjectError>;
    /// Writes it atomically and durably.
    fn write(&self, name: &str, content: Vec<Bytes>) -> Result<(), ObjectError>;
    /// Writes it unless it exists.
    fn create(&self, name: &str, content: Bytes) -> Result<(), ObjectError>;
    /// Removes it; no error if it does not exist.
    fn remove(&self, name: &str) -> Result<(), ObjectError>;
    /// Its size and time; `None` if it does not exist.
    fn stat(&self, name: &str) -> Result<Option<Stat>, ObjectError>;
    /// All objects under a folder, with sizes; names are relative to that folder. Empty when the
    /// folder does not exist.
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, ObjectError>;
    /// Names of the folders at the top.
    fn folders(&self) -> Result<Vec<String>, ObjectError>;
    /// Fails unless the folder or the bucket exists.
    fn require(&self) -> Result<(), ObjectError>;
    /// Removes everything.
    fn erase(&self) -> Result<(), ObjectError>;
    /// Whether nothing is removed, by the settings: [`Self::remove`] does nothing.
    fn keeps_all(&self) -> bool {
        false
    }
    /// The location, for messages.
    fn location(&self) -> String;
}

/// Size and time of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub size: u64,
    /// When it was written, by the clock of the storage.
    pub modified: Option<Timestamp>,
}

/// Why an object cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ObjectError {
    /// It, or a part of it, does not exist.
    #[error("{0}")]
    Missing(String),
    /// The storage fails.
    #[error("{0}")]
    Failed(String),
    /// The storage answers, and refuses to delete.
    #[error("{0}")]
    Refused(String),
}

impl ObjectError {
    /// The error of a job that stops at it, while doing `what`.
    pub fn stop(&self, what: &str, location: &str) -> BackupError {
        let kind = match self {
            Self::Refused(_) => BackupErrorKind::Refused,
            Self::Missing(_) | Self::Failed(_) => BackupErrorKind::Unavailable,
        };
        BackupError::new(kind, format!("cannot {what} {location}: {self}"))
    }
}

/// The objects of a repository.
pub(crate) fn open(repository: &Repository) -> Result<Arc<dyn Objects>, BackupError> {
    open_at(&repository.storage, &repository.folder)
}

/// The objects at the root of a destination, beside the repositories' folders.
pub(crate) fn open_root(storage: &Storage) -> Result<Arc<dyn Objects>, BackupError> {
    open_at(storage, "")
}

fn open_at(storage: &Storage, folder: &str) -> Result<Arc<dyn Objects>, BackupError> {
    match &storage.destination {
        Destination::Folder(path) if folder.is_empty() => {
            Ok(Arc::new(FolderStore::new(path.clone())))
        }
        Destination::Folder(path) => Ok(Arc::new(FolderStore::new(path.join(folder)))),
        _ => Ok(Arc::new(Bucket::new(storage, folder)?)),
    }
}

/// The objects as a backend of rustic. Every call is a sign of life.
pub(crate) struct Backend {
    pub objects: Arc<dyn Objects>,
    pub meter: Arc<Meter>,
}

/// The name of a file, in restic's layout.
pub(crate) fn object_name(tpe: FileType, id: &Id) -> String {
    let hex = id.to_hex();
    let hex = hex.as_str();
    match tpe {
        FileType::Config => "config".to_owned(),
        FileType::Pack => format!("data/{}/{hex}", &hex[..2]),
        _ => format!("{}/{hex}", tpe.dirname()),
    }
}

impl Backend {
    fn done<T>(&self, what: &str, name: &str, result: Result<T, ObjectError>) -> RusticResult<T> {
        self.meter.live();
        result.map_err(|e| storage_error(what, &format!("{}/{name}", self.objects.location()), &e))
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.objects.location()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if tpe == FileType::Config {
            let config = self.done("read", "config", self.objects.stat("config"))?;
            return Ok(config.map(|stat| (Id::default(), small(stat.size))).into_iter().collect());
        }
        let found = self.done("list", tpe.dirname(), self.objects.list(tpe.dirname()))?;
        Ok(found
            .into_iter()
            .filter_map(|(name, size)| {
                let id = name.rsplit('/').next()?.parse().ok()?;
                Some((id, small(size)))
            })
            .collect())
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        let name = object_name(tpe, id);
        self.done("read", &name, self.objects.read(&name, None))
    }

    fn read_partial(
        &self,
        tpe: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let name = object_name(tpe, id);
        let part = Some((u64::from(offset), u64::from(length)));
        let read = self.objects.read(&name, part).and_then(|bytes| {
            let short = bytes.len() as u64 != u64::from(length);
            if short {
                let text = format!("it is cut short: {} of {length} bytes", bytes.len());
                Err(ObjectError::Missing(text))
            } else {
                Ok(bytes)
            }
        });
        let read = self.done("read", &name, read)?;
        if tpe == FileType::Pack {
            self.meter.pack(u64::from(length));
        }
        Ok(read)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        object_name(tpe, id)
    }
}

impl WriteBackend for Backend {
    fn write_bytes(
        &self,
        tpe: FileType,
        id: &Id,
        _cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        let name = object_name(tpe, id);
        self.done("write", &name, self.objects.write(&name, content.into_vec()))
    }

    fn remove(&self, tpe: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let name = object_name(tpe, id);
        let removed = match self.objects.remove(&name) {
            // Those of unfinished runs do not disturb. Where it matters that a snapshot is removed,
            // it is not removed through this.
            Err(ObjectError::Refused(_)) if tpe == FileType::Snapshot => Ok(()),
            removed => removed,
        };
        self.done("remove", &name, removed)
    }
}

fn small(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
