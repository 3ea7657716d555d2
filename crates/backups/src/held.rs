//! What a repository holds, compared with what the database knows: nothing vanishes unnoticed, and
//! what the database does not know is learned.

use startclaw_backup::{BackupError, Report, Repository, SnapshotInfo, Work};
use startclaw_engine::EngineError;
use startclaw_model::{InstanceId, Name, Snapshot, SnapshotId};
use startclaw_store::Copy;

use crate::{Backups, alerts::About, unexpected_report};

/// How many snapshots an alert names.
const NAMED: usize = 3;
/// The alert that snapshots cannot be read.
pub(crate) const DAMAGED: &str = "damaged";

/// The content of a repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub snapshots: Vec<SnapshotInfo>,
    /// Names of snapshot files that cannot be read.
    pub damaged: Vec<String>,
}

impl Backups {
    /// Lists a repository.
    pub(crate) async fn list(&self, repository: Repository) -> Result<Held, BackupError> {
        match self.run(repository, Work::List).await? {
            Report::Listed { snapshots, damaged } => Ok(Held { snapshots, damaged }),
            other => Err(unexpected_report(other)),
        }
    }

    /// Stores what a repository holds: unknown snapshots are learned, and those that it should hold
    /// and does not are an alert.
    pub(crate) async fn note_held(
        &self,
        id: &InstanceId,
        name: &Name,
        copy: Copy,
        held: &Held,
    ) -> Result<(), EngineError> {
        let store = self.engine.store();
        let known = store.snapshots(id).await?;
        for info in &held.snapshots {
            let there =
                known.iter().any(|s| s.id.as_str() == info.id && s.sequence >= info.sequence);
            if !there {
                store.add_snapshot(&snapshot(id, name, info, copy)).await?;
            }
        }
        let ids: Vec<_> = held.snapshots.iter().map(|s| SnapshotId(s.id.clone())).collect();
        store.set_copies(id, copy, &ids).await?;
        self.check_missing(id, name).await?;
        let named: Vec<_> = held.damaged.iter().take(NAMED).map(|name| short(name)).collect();
        let detail = format!(
            "{} of its backups cannot be read any more ({}); the others are not affected",
            held.damaged.len(),
            named.join(", ")
        );
        let detail = (!held.damaged.is_empty()).then_some(detail);
        self.set_alert(About { kind: DAMAGED, id, name, copy }, detail.as_deref()).await
    }

    /// Fires the alert that snapshots are missing, or resolves it.
    pub(crate) async fn check_missing(
        &self,
        id: &InstanceId,
        name: &Name,
    ) -> Result<(), EngineError> {
        let snapshots = self.engine.store().snapshots(id).await?;
        let missing: Vec<_> = snapshots.iter().filter(|s| s.is_missing()).collect();
        let named = missing.iter().take(NAMED);
        let named: Vec<_> = named.map(|s| format!("{} of {}", s.id.short(), s.taken_at)).collect();
        let detail = format!(
            "{} of its backups are missing at {}, and StartClaw did not delete them: {}{}. If they are back: startclaw backups rescan",
            missing.len(),
            self.inner.layout.address(),
            named.join(", "),
            if missing.len() > NAMED { ", ..." } else { "" }
        );
        let detail = (!missing.is_empty()).then_some(detail);
        let about = About { kind: "missing", id, name, copy: Copy::Remote };
        self.set_alert(about, detail.as_deref()).await
    }

    /// Compares the repositories of an instance, also of a removed one, with the database.
    pub(crate) async fn rescan_of(&self, id: &InstanceId, name: &Name) -> Result<(), EngineError> {
        if let Some(local) = self.local_repository(id.as_str()) {
            let held = self.list(local).await.map_err(|e| EngineError::Conflict(e.message))?;
            self.note_held(id, name, Copy::Local, &held).await?;
        }
        let held = match self.offsite_repository(id.as_str()).await {
            Ok(offsite) => self.list(offsite).await,
            Err(e) => Err(e),
        };
        self.note_destination_error(&held).await?;
        self.inner.bucket.note(&held);
        let held = held.map_err(|e| EngineError::Conflict(e.message))?;
        self.note_held(id, name, Copy::Remote, &held).await
    }

    /// The same for all instances. Returns how many snapshots are known then, and how many of them
    /// are missing.
    pub(crate) async fn rescan(&self) -> Result<(u64, u64), EngineError> {
        let store = self.engine.store();
        let mut all: Vec<_> =
            store.archives().await?.into_iter().map(|archive| (archive.id, archive.name)).collect();
        all.extend(store.instances().await?.into_iter().map(|i| (i.id, i.name)));
        let (mut known, mut missing, mut failed) = (0, 0, Vec::new());
        for (id, name) in all {
            // A job that has the instance notes what it finds too.
            if let Some(_claim) = self.inner.jobs.claim(&id) {
                match self.rescan_of(&id, &name).await {
                    Ok(()) => {}
                    Err(EngineError::Conflict(why)) => failed.push(format!("{name}: {why}")),
                    Err(e) => return Err(e),
                }
            }
            let snapshots = store.snapshots(&id).await?;
            known += snapshots.len() as u64;
            missing += snapshots.iter().filter(|s| s.is_missing()).count() as u64;
        }
        if let Some(first) = failed.first() {
            let text = format!(
                "the backups of {} instances cannot be listed, the others were compared; the first is {first}",
                failed.len()
            );
            return Err(EngineError::Conflict(text));
        }
        Ok((known, missing))
    }
}

/// A snapshot as a repository shows it.
pub(crate) fn snapshot(id: &InstanceId, name: &Name, info: &SnapshotInfo, copy: Copy) -> Snapshot {
    Snapshot {
        id: SnapshotId(info.id.clone()),
        instance: id.clone(),
        name: name.clone(),
        sequence: info.sequence,
        taken_at: info.taken_at,
        files: info.files,
        bytes: info.bytes,
        added_bytes: info.added_bytes,
        local: copy == Copy::Local,
        remote: copy == Copy::Remote,
        verified_local: None,
        verified_remote: None,
    }
}

fn short(name: &str) -> &str {
    name.get(..8).unwrap_or(name)
}
