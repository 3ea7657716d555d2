//! Diagnostic check of the destination of backups.

use std::time::Duration;

use startclaw_backup::{BackupError, BackupErrorKind, Report, Work};
use startclaw_engine::EngineError;
use startclaw_model::{CONTROL_PLANE, Check, Timestamp};

use crate::{Backups, unexpected_report};

/// The timeout of the check of a bucket.
const PATIENCE: Duration = Duration::from_secs(20);
/// The interval of probes, and the wait after one that failed.
const DAY: Duration = Duration::from_secs(24 * 3600);
const AGAIN: Duration = Duration::from_secs(600);
/// The key of the alert that the destination cannot be written to, read or deleted in.
const ALERT: &str = "destination/probe";
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
        match tokio::time::timeout(PATIENCE, self.look_at_destination()).await {
            Ok(Ok(Some(newest))) => {
                let text = format!("go to {place}; the database's newest is of {newest}");
                Check::ok(CHECK, text + self.kept_note())
            }
            Ok(Ok(None)) => {
                let text = format!("go to {place}, which can be written to");
                Check::ok(CHECK, text + self.kept_note())
            }
            // A backup is in progress.
            Ok(Err(e)) if e.kind == BackupErrorKind::Busy => {
                Check::ok(CHECK, format!("are being written to {place}"))
            }
            Ok(Err(e)) => Check::error(CHECK, e.message, FIX),
            Err(_) => {
                let text = format!("{place} does not answer within {} s", PATIENCE.as_secs());
                Check::error(CHECK, text, FIX)
            }
        }
    }

    /// What an operator has to know about an append-only bucket.
    fn kept_note(&self) -> &'static str {
        match self.inner.settings.append_only {
            true => "; nothing is deleted there, so that it grows (backup.append_only)",
            false => "",
        }
    }

    /// When the newest backup of the control plane was taken, after a round trip.
    async fn look_at_destination(&self) -> Result<Option<Timestamp>, BackupError> {
        self.probe().await?;
        let held = self.list(self.offsite_repository(CONTROL_PLANE).await?).await?;
        Ok(held.snapshots.first().map(|newest| newest.taken_at))
    }

    /// Writes, lists, reads and deletes an object at the destination; returns the time of the
    /// bucket's clock.
    pub(crate) async fn probe(&self) -> Result<Option<Timestamp>, BackupError> {
        match self.run(self.offsite_repository(CONTROL_PLANE).await?, Work::Probe).await? {
            Report::Probed { server_time } => Ok(server_time),
            other => Err(unexpected_report(other)),
        }
    }

    /// Whether the destination can be written to and read.
    pub(crate) async fn answers(&self) -> bool {
        is_answer(&self.probe().await)
    }

    /// Probes the destination at the start and daily, until the engine stops.
    pub(crate) async fn watch_destination(self) {
        loop {
            let probed = self.probe().await;
            let wait = match self.note_probe(&probed).await {
                // Each probe leaves an object in a bucket that refuses to delete.
                Ok(()) if is_answer(&probed) => DAY,
                Ok(()) => AGAIN,
                Err(e) => {
                    tracing::error!(error = ?e, "the database failed; probing the destination later");
                    AGAIN
                }
            };
            if !self.engine.pause(wait).await {
                return;
            }
        }
    }

    async fn note_probe(
        &self,
        probed: &Result<Option<Timestamp>, BackupError>,
    ) -> Result<(), EngineError> {
        self.note_destination_error(probed).await?;
        let store = self.engine.store();
        let news = match probed {
            Ok(time) => {
                if time.is_some() {
                    self.check_clock(*time).await?;
                }
                store.resolve(ALERT).await?
            }
            // It has an alert of its own, or is a defect of this host.
            Err(e) if matches!(e.kind, BackupErrorKind::Foreign | BackupErrorKind::Busy) => false,
            Err(_) if self.engine.is_stopping() => false,
            Err(e) => store.fire(ALERT, &e.message).await?,
        };
        if news {
            self.engine.alerts_changed();
        }
        Ok(())
    }
}

/// Whether the destination can be written to and read.
fn is_answer(probed: &Result<Option<Timestamp>, BackupError>) -> bool {
    probed.as_ref().err().is_none_or(|e| e.kind == BackupErrorKind::Refused)
}
