//! A view of a repository that changes nothing that is there: what is written is added, and what is
//! removed is only hidden until the changes are committed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use rustic_core::{BytesList, FileType, Id, ReadBackend, RusticResult, WriteBackend};

use crate::{
    BackupError,
    objects::{Backend, object_name},
};

/// The storage as the view shows it.
pub(super) struct View {
    inner: Backend,
    hidden: Mutex<BTreeSet<String>>,
}

impl View {
    /// Shows everything but the objects of these names.
    pub fn new(inner: Backend, hidden: impl IntoIterator<Item = String>) -> Arc<Self> {
        Arc::new(Self { inner, hidden: Mutex::new(hidden.into_iter().collect()) })
    }

    fn hidden(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hides another object.
    pub fn hide(&self, name: String) {
        self.hidden().insert(name);
    }

    /// Removes what is hidden: first the indexes, which refer to packs. With `keep`, a copy stays
    /// in a folder that belongs to no repository.
    pub fn commit(&self, keep: bool) -> Result<(), BackupError> {
        let names = self.hidden().clone();
        let (indexes, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.starts_with("index/"));
        for name in indexes.iter().chain(&others) {
            let objects = &self.inner.objects;
            let location = format!("{}/{name}", objects.location());
            let useful = name.starts_with("index/") || name.starts_with("data/");
            if keep
                && useful
                && let Ok(content) = objects.read(name, None)
            {
                let kept = objects.write(&format!("{SET_ASIDE}/{name}"), vec![content]);
                kept.map_err(|e| e.stop("set aside", &location))?;
            }
            objects.remove(name).map_err(|e| e.stop("remove", &location))?;
            self.inner.meter.live();
        }
        Ok(())
    }
}

/// Where damaged files are kept that hold readable parts of snapshots that cannot be repaired.
pub(crate) const SET_ASIDE: &str = "damaged";

impl ReadBackend for View {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let mut found = self.inner.list_with_size(tpe)?;
        let hidden = self.hidden();
        found.retain(|(id, _)| !hidden.contains(&object_name(tpe, id)));
        Ok(found)
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        self.inner.read_full(tpe, id)
    }

    fn read_partial(
        &self,
        tpe: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.inner.read_partial(tpe, id, cacheable, offset, length)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        self.inner.warmup_path(tpe, id)
    }
}

impl WriteBackend for View {
    fn write_bytes(
        &self,
        tpe: FileType,
        id: &Id,
        cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        self.inner.write_bytes(tpe, id, cacheable, content)
    }

    fn remove(&self, tpe: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        self.hide(object_name(tpe, id));
        Ok(())
    }
}
