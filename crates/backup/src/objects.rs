//! The storage of a repository's files, as a backend of rustic.

use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{BytesList, FileType, Id, ReadBackend, RusticResult, WriteBackend};

use crate::{
    BackupError, Repository, bucket::Bucket, destination::Destination, error::storage_error,
    folder::FolderStore, meter::Meter,
};

/// A store of named objects. Names are relative paths such as `data/5e/5e…`.
pub(crate) trait Objects: Send + Sync + 'static {
    /// Reads all of it, or a part: offset and length.
    fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Bytes, String>;
    /// Writes it atomically and durably.
    fn write(&self, name: &str, content: Vec<Bytes>) -> Result<(), String>;
    /// Removes it; no error if it does not exist.
    fn remove(&self, name: &str) -> Result<(), String>;
    /// All objects under a folder, with sizes; names are relative to that folder. Empty when the
    /// folder does not exist.
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, String>;
    /// Removes everything.
    fn erase(&self) -> Result<(), String>;
    /// The location, for messages.
    fn location(&self) -> String;
}

/// The objects of a repository.
pub(crate) fn open(repository: &Repository) -> Result<Arc<dyn Objects>, BackupError> {
    match &repository.storage.destination {
        Destination::Folder(path) => Ok(Arc::new(FolderStore::new(path.join(&repository.folder)))),
        _ => Ok(Arc::new(Bucket::new(&repository.storage, &repository.folder)?)),
    }
}

/// The objects as a backend of rustic. Every call is a sign of life.
pub(crate) struct Backend {
    pub objects: Arc<dyn Objects>,
    pub meter: Arc<Meter>,
}

/// The name of a file, in restic's layout.
fn name(tpe: FileType, id: &Id) -> String {
    let hex = id.to_hex();
    let hex = hex.as_str();
    match tpe {
        FileType::Config => "config".to_owned(),
        FileType::Pack => format!("data/{}/{hex}", &hex[..2]),
        _ => format!("{}/{hex}", tpe.dirname()),
    }
}

impl Backend {
    fn done<T>(&self, what: &str, name: &str, result: Result<T, String>) -> RusticResult<T> {
        self.meter.live();
        result.map_err(|e| storage_error(what, &format!("{}/{name}", self.objects.location()), e))
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.objects.location()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if tpe == FileType::Config {
            let found = self.done("list", "", self.objects.list(""))?;
            let config = found.into_iter().find(|(name, _)| name == "config");
            return Ok(config.map(|(_, size)| (Id::default(), small(size))).into_iter().collect());
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
        let name = name(tpe, id);
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
        let name = name(tpe, id);
        let part = Some((u64::from(offset), u64::from(length)));
        let read = self.objects.read(&name, part).and_then(|bytes| {
            let short = bytes.len() as u64 != u64::from(length);
            if short {
                Err(format!("it is cut short: {} of {length} bytes", bytes.len()))
            } else {
                Ok(bytes)
            }
        });
        self.done("read", &name, read)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        name(tpe, id)
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
        let name = name(tpe, id);
        self.done("write", &name, self.objects.write(&name, content.into_vec()))
    }

    fn remove(&self, tpe: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let name = name(tpe, id);
        self.done("remove", &name, self.objects.remove(&name))
    }
}

fn small(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
