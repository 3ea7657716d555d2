//! Backups and restores.

use serde::{Deserialize, Serialize};
use startclaw_model::{DeletionPolicy, Email, Name, Owner, Snapshot, Timestamp, VerifiedBackup};
use utoipa::{IntoParams, ToSchema};

/// A snapshot of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backup {
    /// Its id.
    #[schema(example = "5e0c1f7ad6b14d0e9b1f0e2c6a7d8b90")]
    pub id: String,
    /// The name that the instance had.
    pub name: Name,
    /// When it was taken.
    #[schema(value_type = String, format = DateTime)]
    pub taken_at: Timestamp,
    /// Number of files.
    pub files: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Bytes newly stored for it.
    pub added_bytes: u64,
    /// Whether there is a copy on this host besides the one in the bucket.
    pub local: bool,
    /// Whether it is at the backup destination. `false`: the upload is pending, or it is missing if
    /// there is no copy on this host either.
    pub stored: bool,
    /// When a copy was last verified, and where.
    #[serde(default)]
    pub verified: Option<VerifiedBackup>,
    /// Why it is kept, or that it expires.
    #[serde(default)]
    pub retention: String,
}

impl Backup {
    /// A backup, and why it is kept.
    pub fn new(s: Snapshot, retention: String) -> Self {
        Self {
            verified: s.verified(),
            id: s.id.0,
            name: s.name,
            taken_at: s.taken_at,
            files: s.files,
            bytes: s.bytes,
            added_bytes: s.added_bytes,
            local: s.local,
            stored: s.remote,
            retention,
        }
    }
}

/// Backups of one instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Backups {
    /// The newest first.
    pub backups: Vec<Backup>,
    /// The time zone in which days and times without an offset are read.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
}

/// The result of a comparison of the repositories with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RescannedBackups {
    /// How many backups are known now, of all instances.
    pub known: u64,
    /// How many of them are missing where they were stored.
    pub missing: u64,
}

/// The destination of backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupDestination {
    /// Its address.
    #[schema(example = "gs://bucket/prefix")]
    pub destination: String,
}

/// A removed instance that has backups and can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedInstance {
    /// Its name, which an instance that is there or other removed ones may have too.
    pub name: Name,
    /// Its owner.
    pub owner: Owner,
    /// When it was removed.
    #[schema(value_type = String, format = DateTime)]
    pub removed_at: Timestamp,
    /// How many backups there are.
    pub backups: u32,
}

impl From<startclaw_engine::RemovedInstance> for RemovedInstance {
    fn from(removed: startclaw_engine::RemovedInstance) -> Self {
        let startclaw_engine::RemovedInstance { name, owner, removed_at, backups } = removed;
        Self { name, owner, removed_at, backups }
    }
}

/// Removed instances.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RemovedInstances {
    /// By name.
    pub instances: Vec<RemovedInstance>,
}

/// Selects removed instances.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemovedQuery {
    /// The e-mail address of an account, also of one that was deleted; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Email>,
}

/// Selects the removed instances whose backups are deleted.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PurgeQuery {
    /// The e-mail address of their account, which may be deleted.
    pub account: Email,
}

/// The result of a deletion of backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgedBackups {
    /// How many this request deleted.
    pub deleted: u32,
    /// How many are still to be deleted; they cannot be restored any more.
    pub pending: u32,
}

impl From<startclaw_engine::PurgedBackups> for PurgedBackups {
    fn from(done: startclaw_engine::PurgedBackups) -> Self {
        Self { deleted: done.deleted, pending: done.pending }
    }
}

/// What to restore, and where.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The instance: one that is there, or one that was deprovisioned.
    pub name: Name,
    /// Which backup: `latest`, a day (its newest backup), a time, or an id or a
    /// prefix of one. Required unless `undo` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-02-08")]
    pub snapshot: Option<String>,
    /// Restores to a new instance of this name; the original is not changed.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub as_name: Option<Name>,
    /// Undoes the last restore. The replaced data are kept for a day.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
}

/// Selects the instance of a restore test.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The instance; the daemon chooses one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

/// Selects the instance to remove, and what happens to its data.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeprovisionQuery {
    /// The instance.
    pub name: Name,
    /// Take a final backup first; `true` when left out.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub backup: bool,
    /// Delete all its backups too; no final backup is taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub purge: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl DeprovisionQuery {
    /// The resulting deletion policy.
    pub const fn deletion_policy(&self) -> DeletionPolicy {
        match (self.purge, self.backup) {
            (true, _) => DeletionPolicy::Purge,
            (false, true) => DeletionPolicy::FinalBackup,
            (false, false) => DeletionPolicy::None,
        }
    }
}
