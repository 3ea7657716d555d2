//! Whether backups can go where they are to go.

use std::time::Duration;

use startclaw_backup::{BackupErrorKind, Report, Work};
use startclaw_model::Check;

use super::CONTROL_PLANE;
use crate::Engine;

/// How long somebody who looks is kept waiting for a bucket.
const PATIENCE: Duration = Duration::from_secs(20);
const CHECK: &str = "backups";
const FIX: &str = "correct [backup] in the settings; docs/backups.md tells what each kind needs";

impl Engine {
    /// Looks whether the destination answers, and whether it is of use when the host is lost.
    pub(crate) async fn diagnose_backups(&self) -> Check {
        let settings = &self.inner.settings.backup;
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
            // Somebody writes there just now.
            Ok(Err(e)) if e.kind == BackupErrorKind::Busy => {
                Check::ok(CHECK, format!("are on their way to {place}"))
            }
            Ok(Ok(_)) => Check::error(CHECK, format!("{place} gives an odd answer"), FIX),
            Ok(Err(e)) => Check::error(CHECK, e.message, FIX),
            Err(_) => {
                let text = format!("{place} does not answer within {} s", PATIENCE.as_secs());
                Check::error(CHECK, text, FIX)
            }
        }
    }
}
