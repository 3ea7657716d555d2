//! Upload to the bucket: every snapshot that is only on this host is uploaded, later when the
//! bucket is unavailable.

use std::time::Duration;

use startclaw_backup::{BackupError, BackupErrorKind, Report, Work};
use startclaw_engine::{EngineError, backoff};
use startclaw_model::{InstanceId, Name, Operation, SnapshotId, StepName};
use startclaw_store::Copy;

use crate::{Backups, finish};

/// The first wait after the bucket was unavailable, which doubles; and the longest.
const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(1800);

/// Key of the alert of the bucket. One for all instances: it is one bucket.
const ALERT: &str = "bucket";

/// The result of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Everything is uploaded.
    Done,
    /// The bucket is unavailable: the others would fail as well.
    Away,
    /// An error of this instance's repository: the others are uploaded nevertheless.
    Failed,
}

/// The key of the alert for an instance whose backups cannot be uploaded. By its id: a removed and
/// an existing instance can have the same name.
fn alert(id: &InstanceId) -> String {
    format!("upload/{id}")
}

impl Backups {
    /// Uploads an instance's pending snapshots. An unavailable bucket does not fail a backup: there
    /// is a copy on this host, and [`Engine::upload_loop`] uploads it later.
    pub(crate) async fn upload_pending_of(
        &self,
        id: &InstanceId,
        name: &Name,
        mut operation: Option<&mut Operation>,
    ) -> Result<Sent, EngineError> {
        if !self.inner.layout.has_bucket() {
            return Ok(Sent::Done);
        }
        if let Some(operation) = operation.as_deref_mut() {
            self.engine.step(operation, StepName::Upload).await;
        }
        match self.upload(id, operation.as_deref_mut()).await {
            Ok(held) => {
                self.engine.store().set_copies(id, Copy::Remote, &held).await?;
                if self.engine.store().resolve(&alert(id)).await? {
                    self.engine.alerts_changed();
                }
                Ok(Sent::Done)
            }
            Err(e) => {
                tracing::warn!(%name, error = %e.message, "cannot upload a backup; retrying later");
                let away = e.kind == BackupErrorKind::Unavailable;
                if away {
                    self.engine.store().fire(ALERT, &e.message).await?;
                } else {
                    self.engine.store().fire(&alert(id), &format!("{name}: {}", e.message)).await?;
                }
                self.engine.alerts_changed();
                if let Some(operation) = operation {
                    operation.fail_step(&format!("{}; it is uploaded later", e.message));
                    self.engine.save(operation).await?;
                }
                Ok(if away { Sent::Away } else { Sent::Failed })
            }
        }
    }

    /// Copies missing snapshots to the bucket; returns those that it holds then.
    async fn upload(
        &self,
        id: &InstanceId,
        mut operation: Option<&mut Operation>,
    ) -> Result<Vec<SnapshotId>, BackupError> {
        let to = self.offsite_repository(id.as_str());
        let job = self.job(self.local_repository(id.as_str()), Work::Copy { to: to.clone() });
        let mut session = self.inner.repositories.begin(&job).await?;
        finish(session.as_mut(), |now| {
            if let Some(operation) = operation.as_deref_mut() {
                self.engine.show_progress(operation, crate::shown(now));
            }
        })
        .await?;
        drop(session);
        let mut session = self.inner.repositories.begin(&self.job(to, Work::List)).await?;
        match finish(session.as_mut(), |_| {}).await? {
            Report::Listed(held) => Ok(held.into_iter().map(|s| SnapshotId(s.id)).collect()),
            other => Err(crate::unexpected(&startclaw_backup::Event::Done(other))),
        }
    }

    /// Uploads pending snapshots until the engine stops.
    pub(crate) async fn upload_loop(self) {
        let mut failures = 0;
        loop {
            let wait = backoff(failures + 1, FIRST, LONGEST);
            if !self.engine.pause(wait).await {
                return;
            }
            match self.upload_pending().await {
                Ok(true) => failures = 0,
                Ok(false) => failures += 1,
                Err(e) => {
                    tracing::error!(error = ?e, "the database failed; uploading backups later")
                }
            }
        }
    }

    /// Uploads all pending snapshots. `false` when some could not be uploaded.
    pub(crate) async fn upload_pending(&self) -> Result<bool, EngineError> {
        if !self.inner.layout.has_bucket() {
            return Ok(true);
        }
        let mut all = true;
        for id in self.engine.store().waiting_for_upload().await? {
            // The job that has the instance uploads its snapshots too.
            let Some(_claim) = self.inner.jobs.claim(&id) else { continue };
            let Some(newest) = self.engine.store().snapshots(&id).await?.into_iter().next() else {
                continue;
            };
            let sent =
                self.engine.unless_stopped(self.upload_pending_of(&id, &newest.name, None)).await;
            match sent.unwrap_or(Ok(Sent::Away))? {
                Sent::Done => {}
                Sent::Failed => all = false,
                Sent::Away => return Ok(false),
            }
        }
        if self.engine.store().resolve(ALERT).await? {
            self.engine.alerts_changed();
        }
        Ok(all)
    }
}
