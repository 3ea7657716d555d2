//! Whether backups can go where they are to go.

use std::time::Duration;

use startclaw_backup::{BackupErrorKind, Report, Work};
use startclaw_model::Finding;

use super::CONTROL_PLANE;
use crate::Engine;

/// How long somebody who looks is kept waiting for a bucket.
const PATIENCE: Duration = Duration::from_secs(20);
const CHECK: &str = "backups";
const MEND: &str = "correct [backup] in the settings; docs/backups.md tells what each kind needs";

impl Engine {
    /// Looks whether the destination answers, and whether it is of use when the machine is lost.
    pub(crate) async fn check_backups(&self) -> Finding {
        let settings = &self.inner.settings.backup;
        if settings.destination.is_empty() {
            return Finding::warning(
                CHECK,
                "go to this machine's own disk, and are lost with it",
                "set backup.destination, then: startclaw recovery-kit",
            );
        }
        let place = &settings.destination;
        let look = self.run(self.last_repository(CONTROL_PLANE), Work::List);
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(Ok(Report::Listed(all))) => match all.first() {
                Some(newest) => Finding::good(
                    CHECK,
                    format!("go to {place}; the database's newest is of {}", newest.taken_at),
                ),
                None => Finding::good(CHECK, format!("go to {place}, which answers")),
            },
            // Somebody writes there just now.
            Ok(Err(e)) if e.kind == BackupErrorKind::Busy => {
                Finding::good(CHECK, format!("are on their way to {place}"))
            }
            Ok(Ok(_)) => Finding::bad(CHECK, format!("{place} gives an odd answer"), MEND),
            Ok(Err(e)) => Finding::bad(CHECK, e.message, MEND),
            Err(_) => {
                let text = format!("{place} does not answer within {} s", PATIENCE.as_secs());
                Finding::bad(CHECK, text, MEND)
            }
        }
    }
}
