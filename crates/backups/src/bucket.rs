//! Whether the bucket answers: after the first failure the others do not wait for it one by one.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use startclaw_backup::{BackupError, BackupErrorKind};
use tokio::time::Instant;

/// How long it is not tried after a failure, except by the loop that uploads what is pending.
const PAUSE: Duration = Duration::from_secs(600);

/// What was last known of the bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket(Mutex<Option<Instant>>);

impl Bucket {
    /// Whether it failed lately.
    pub fn is_away(&self) -> bool {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < PAUSE)
    }

    /// It answered.
    pub fn answered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes the outcome of a job at the destination.
    pub fn note<T>(&self, outcome: &Result<T, BackupError>) {
        match outcome {
            Ok(_) => self.answered(),
            Err(e) if is_away(e) => {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            Err(_) => {}
        }
    }
}

/// Whether an error is one of the destination, and would hit the others as well.
pub(crate) const fn is_away(error: &BackupError) -> bool {
    matches!(
        error.kind,
        BackupErrorKind::Unavailable | BackupErrorKind::Stalled | BackupErrorKind::Foreign
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_failed_is_not_tried_for_a_while() {
        let bucket = Bucket::default();
        assert!(!bucket.is_away());
        let failed = |kind| Err::<(), _>(BackupError { kind, message: String::new() });
        bucket.note(&failed(BackupErrorKind::Damaged));
        assert!(!bucket.is_away(), "that is about one repository");
        bucket.note(&failed(BackupErrorKind::Stalled));
        assert!(bucket.is_away());
        tokio::time::advance(PAUSE).await;
        assert!(!bucket.is_away(), "it is tried again");
        bucket.note(&failed(BackupErrorKind::Unavailable));
        bucket.note(&Ok(()));
        assert!(!bucket.is_away());
    }
}
