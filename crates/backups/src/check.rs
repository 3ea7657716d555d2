//! Diagnostic check of the destination of backups.

use std::time::Duration;

use startclaw_backup::{BackupErrorKind, Report, Work};
use startclaw_model::{CONTROL_PLANE, Check};

use crate::Backups;

/// The timeout of the check of a bucket.
const PATIENCE: Duration = Duration::from_secs(20);
const CHECK: &str = "backups";
const FIX: &str = "correct [backup] in the settings; docs/backups.md says what each kind needs";

impl Backups {
    /// Checks whether the destination answers, and whether it survives the loss of the host.
    pub(crate) async fn check_destination(&self) -> Check {
        let settings = &self.inner.settings;
        if settings.destination.is_empty() {
            return Check::warning(
                CHECK,
                "go to this machine's own disk, and are lost with it",
                "set backup.destination, then: startclaw recovery-kit",
            );
        }
        let place = &settings.destination;
        let look = self.run(self.offsite_repository(CONTROL_PLANE), Work::List);
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(Ok(Report::Listed(all))) => match all.first() {
                Some(newest) => Check::ok(
                    CHECK,
                    format!("go to {place}; the database's newest is of {}", newest.taken_at),
                ),
                None => Check::ok(CHECK, format!("go to {place}, which answers")),
            },
            // A backup is in progress.
            Ok(Err(e)) if e.kind == BackupErrorKind::Busy => {
                Check::ok(CHECK, format!("are being written to {place}"))
            }
            Ok(Ok(_)) => Check::error(CHECK, format!("{place} gives an unexpected answer"), FIX),
            Ok(Err(e)) => Check::error(CHECK, e.message, FIX),
            Err(_) => {
                let text = format!("{place} does not answer within {} s", PATIENCE.as_secs());
                Check::error(CHECK, text, FIX)
            }
        }
    }
}
