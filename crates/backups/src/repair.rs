//! Repair of a damaged repository from the other copy.

use startclaw_backup::{BackupError, Report, Repository, Work};
use startclaw_engine::EngineError;
use startclaw_model::{Actor, EventKind, InstanceId, Name};
use startclaw_store::Copy;

use crate::{Backups, unexpected_report};

impl Backups {
    /// Repairs one of an instance's repositories from the other one. The inner error says why it is
    /// still damaged.
    pub(crate) async fn repair(
        &self,
        id: &InstanceId,
        name: &Name,
        damaged: Copy,
    ) -> Result<Result<(), String>, EngineError> {
        let Some(local) = self.local_repository(id.as_str()) else {
            return Ok(Err("there is no other copy to repair it from".into()));
        };
        let outcome = match self.offsite_repository(id.as_str()).await {
            Ok(offsite) => match damaged {
                Copy::Local => self.repair_from(local, offsite).await,
                Copy::Remote => self.repair_from(offsite, local).await,
            },
            Err(e) => Err(e),
        };
        let (what, outcome) = match outcome {
            Ok((repaired, lost)) if lost.is_empty() => {
                let what = format!("its damaged backups were repaired: {}", text(&repaired));
                (what, Ok(()))
            }
            Ok((repaired, lost)) => {
                let what = format!(
                    "its damaged backups were repaired in part: {}; lost: {}",
                    text(&repaired),
                    text(&lost)
                );
                (what, Err(format!("not repaired: {}", text(&lost))))
            }
            Err(e) => {
                let what = format!("its damaged backups cannot be repaired yet: {}", e.message);
                (what, Err(format!("not repaired: {}", e.message)))
            }
        };
        if self.engine.is_stopping() {
            return Ok(outcome);
        }
        tracing::warn!(%name, "{what}");
        let kind = if outcome.is_ok() { EventKind::Changed } else { EventKind::Failed };
        self.engine.record(kind, Some((id, name)), &Actor::system(), &what).await;
        Ok(outcome)
    }

    async fn repair_from(
        &self,
        damaged: Repository,
        whole: Repository,
    ) -> Result<(Vec<String>, Vec<String>), BackupError> {
        match self.run(damaged, Work::Repair { from: whole }).await? {
            Report::Repaired { repaired, lost } => Ok((repaired, lost)),
            other => Err(unexpected_report(other)),
        }
    }
}

fn text(all: &[String]) -> String {
    if all.is_empty() { "nothing".to_owned() } else { all.join("; ") }
}
