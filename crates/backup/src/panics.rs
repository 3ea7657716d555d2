//! Panics of rustic, which it answers missing and damaged packs with.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{BackupError, BackupErrorKind, error::unmarked, text};

/// How many characters of a panic are kept: some contain a whole index.
const KEPT: usize = 4000;

/// The first panic of any thread since the last one was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panics(Arc<Mutex<Option<String>>>);

impl Panics {
    /// Notes panics instead of printing them.
    pub fn install() -> Self {
        let panics = Self::default();
        let noted = panics.clone();
        std::panic::set_hook(Box::new(move |info| {
            noted.note(info.payload_as_str().unwrap_or("without a word"));
        }));
        panics
    }

    fn note(&self, text: &str) {
        let text = text.chars().take(KEPT).collect();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The first is the cause of others, unless its work was begun again.
        if noted.as_deref().is_none_or(is_index_in_use) {
            *noted = Some(text);
        }
    }

    fn take(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Does `work`; a panic becomes an error.
    pub fn catch<T>(
        &self,
        work: impl FnOnce() -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        self.take();
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(error(&self.take())))
    }
}

/// Whether a panic means that rustic's threads did not release the index in time.
pub(crate) fn is_index_in_use(panic: &str) -> bool {
    panic.starts_with("index still in use")
}

fn error(text: &str) -> BackupError {
    if is_index_in_use(text) {
        let why = "the machine is too busy: threads of the check did not end in time";
        return BackupError::new(BackupErrorKind::Died, why);
    }
    if text::is_disk_full(text) {
        let text = format!("the disk is full; free some space ({})", text::of_panic(text));
        return BackupError::new(BackupErrorKind::Unavailable, text);
    }
    let (kind, _) = unmarked(text);
    let (_, text) = unmarked(&text::of_panic(text));
    BackupError::new(kind, format!("stored data are missing or damaged: {text}"))
}
