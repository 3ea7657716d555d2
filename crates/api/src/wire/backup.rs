//! Backups and restores over the wire.

use serde::{Deserialize, Serialize};
use startclaw_model::{DeletionPolicy, Name, Snapshot, Timestamp};
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
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes that had to be stored for it.
    pub added_bytes: u64,
    /// Whether there is a copy on this host beside the one in the bucket.
    pub local: bool,
    /// Whether it is where backups are kept. `false`: it is still to be sent there.
    pub stored: bool,
}

impl From<Snapshot> for Backup {
    fn from(s: Snapshot) -> Self {
        Self {
            id: s.id.0,
            name: s.name,
            taken_at: s.taken_at,
            files: s.files,
            bytes: s.bytes,
            added_bytes: s.added_bytes,
            local: s.local,
            stored: s.remote,
        }
    }
}

/// Backups of one instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Backups {
    /// The newest first.
    pub backups: Vec<Backup>,
}

/// What is to come back, and where.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The instance: one that is there, or one that was deprovisioned.
    pub name: Name,
    /// Which backup: `latest`, a day in UTC (its newest is taken), a time in UTC, or an id or its
    /// beginning. Needed unless `undo` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-02-08")]
    pub snapshot: Option<String>,
    /// Make a new instance of this name from it, and leave the instance itself alone.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub as_name: Option<Name>,
    /// Bring back what the last restore replaced. That is kept for a day.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
}

/// Whose newest backup is to be tried.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The instance; one is chosen when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

/// Which instance goes, and what is done with its data before.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeprovisionQuery {
    /// The instance.
    pub name: Name,
    /// Take a final backup first; `true` when left out.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub backup: bool,
    /// Forget all its backups too; none is taken then.
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
    /// What is done with the data.
    pub const fn deletion_policy(&self) -> DeletionPolicy {
        match (self.purge, self.backup) {
            (true, _) => DeletionPolicy::Purge,
            (false, true) => DeletionPolicy::FinalBackup,
            (false, false) => DeletionPolicy::None,
        }
    }
}
