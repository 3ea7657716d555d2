//! Upload to the bucket: every snapshot that is only on this host is uploaded, later when the
//! bucket is unavailable.

use std::time::Duration;

use startclaw_backup::{BackupError, BackupErrorKind, Report, Work};
use startclaw_engine::{EngineError, backoff};
use startclaw_model::{Actor, InstanceId, Name, Operation, OperationKind, StepName};
use startclaw_store::Copy;

use crate::{Backups, bucket::is_away, finish, held::Held, take::stopped, unexpected_report};

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
            // A person who asked for a backup wants to know whether the bucket takes it now.
            let asked =
                operation.actor != Actor::system() && operation.kind == OperationKind::Backup;
            if self.inner.bucket.is_away() && !asked {
                operation.fail_step("the bucket did not answer lately; it is uploaded later");
                self.engine.save(operation).await?;
                return Ok(Sent::Away);
            }
        }
        let sent = self.upload(id, operation.as_deref_mut()).await;
        self.inner.bucket.note(&sent);
        self.note_destination_error(&sent).await?;
        match sent {
            Ok((held, failed)) => {
                self.note_held(id, name, Copy::Remote, &held).await?;
                let news = match failed.first() {
                    None => self.engine.store().resolve(&alert(id)).await?,
                    Some((snapshot, why)) => {
                        let detail = format!(
                            "{name}: {} of its backups cannot be uploaded, the first is {}: {why}",
                            failed.len(),
                            snapshot.get(..8).unwrap_or(snapshot)
                        );
                        self.engine.store().fire(&alert(id), &detail).await?
                    }
                };
                if news {
                    self.engine.alerts_changed();
                }
                Ok(if failed.is_empty() { Sent::Done } else { Sent::Failed })
            }
            Err(_) if self.engine.is_stopping() => Ok(Sent::Away),
            Err(e) => {
                tracing::warn!(%name, error = %e.message, "cannot upload a backup; retrying later");
                let away = is_away(&e);
                if e.kind == BackupErrorKind::Foreign {
                    // It has an alert already.
                } else if away {
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

    /// Copies missing snapshots to the bucket. Returns what it holds then, and the snapshots that
    /// cannot be copied, with the reasons.
    async fn upload(
        &self,
        id: &InstanceId,
        mut operation: Option<&mut Operation>,
    ) -> Result<(Held, Vec<(String, String)>), BackupError> {
        let Some(local) = self.local_repository(id.as_str()) else { return Ok(Default::default()) };
        let to = self.offsite_repository(id.as_str()).await?;
        let job = self.job(local, Work::Copy { to: to.clone() });
        let mut session = self.inner.repositories.begin(&job).await?;
        let done = finish(session.as_mut(), |now| {
            if let Some(operation) = operation.as_deref_mut() {
                self.engine.show_progress(operation, crate::shown(now));
            }
        });
        let failed = match self.engine.unless_stopped(done).await {
            Some(Ok(Report::Copied { failed, .. })) => failed,
            Some(Ok(other)) => return Err(unexpected_report(other)),
            Some(Err(e)) => return Err(e),
            None => return Err(stopped()),
        };
        drop(session);
        Ok((self.list(to).await?, failed))
    }

    /// Uploads pending snapshots until the engine stops.
    pub(crate) async fn upload_loop(self) {
        let mut failures = 0;
        if !self.inner.layout.has_bucket() {
            return self.without_bucket().await;
        }
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

    /// Resolves what only a bucket would, and waits until the engine stops.
    async fn without_bucket(&self) {
        while let Err(e) = self.resolve_of_bucket().await {
            tracing::error!(error = ?e, "the database failed; resolving alerts later");
            if !self.engine.pause(FIRST).await {
                return;
            }
        }
        self.engine.stopped().await;
    }

    /// Uploads all pending snapshots. `false` when some could not be uploaded.
    pub(crate) async fn upload_pending(&self) -> Result<bool, EngineError> {
        let (mut all, mut answered) = (true, false);
        for id in self.engine.store().waiting_for_upload().await? {
            // The job that has the instance uploads its snapshots too.
            let Some(_claim) = self.inner.jobs.claim(&id) else { continue };
            let Some(newest) = self.engine.store().snapshots(&id).await?.into_iter().next() else {
                continue;
            };
            let Some(_room) = self.enter(&self.inner.jobs.rooms.uploads).await else {
                return Ok(false);
            };
            let sent =
                self.engine.unless_stopped(self.upload_pending_of(&id, &newest.name, None)).await;
            match sent.unwrap_or(Ok(Sent::Away))? {
                Sent::Done => answered = true,
                Sent::Failed => (all, answered) = (false, true),
                // An error of this host can look like one of the bucket.
                Sent::Away if self.answers().await => {
                    self.inner.bucket.answered();
                    let detail = format!(
                        "{}: its backups cannot be uploaded, although the destination answers",
                        newest.name
                    );
                    self.engine.store().fire(&alert(&id), &detail).await?;
                    (all, answered) = (false, true);
                }
                Sent::Away => return Ok(false),
            }
        }
        // Nothing may be pending, or jobs that upload it themselves: then it is asked.
        if !answered && self.engine.store().alerts().await?.iter().any(|a| a.key == ALERT) {
            answered = self.answers().await;
            all &= answered;
        }
        if answered && self.engine.store().resolve(ALERT).await? {
            self.engine.alerts_changed();
        }
        Ok(all)
    }
}
