//! A snapshot: a volume's content at one time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, Name, Timestamp};

/// The name of the control plane's repository and alerts. It cannot be an instance's id: those are
/// UUIDs.
pub const CONTROL_PLANE: &str = "control-plane";

/// Identifies a snapshot in its instance's repository: 64 hexadecimal digits.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct SnapshotId(pub String);

impl SnapshotId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The displayed prefix of the id; unique within an instance.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A snapshot, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The instance that it was taken of.
    pub instance: InstanceId,
    /// The instance's name at that time.
    pub name: Name,
    /// Its number in the order of the instance's snapshots, which does not depend on the clock;
    /// `None` for those of older versions, which are older than all others.
    pub sequence: Option<u64>,
    /// When.
    pub taken_at: Timestamp,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes that were new and had to be stored.
    pub added_bytes: u64,
    /// Whether there is a copy on this host.
    pub local: bool,
    /// Whether there is a copy in the bucket.
    pub remote: bool,
    /// When the copy on this host was last found whole.
    pub verified_local: Option<Timestamp>,
    /// When the copy in the bucket was last found whole.
    pub verified_remote: Option<Timestamp>,
}

/// Where a copy of a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupPlace {
    /// On this host, besides the destination.
    Host,
    /// At the destination of backups.
    Destination,
}

impl BackupPlace {
    /// As in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Destination => "destination",
        }
    }
}

/// A copy of a snapshot that was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VerifiedBackup {
    /// When the snapshot was taken.
    #[schema(value_type = String, format = DateTime)]
    pub taken_at: Timestamp,
    /// When the copy was last found whole.
    #[schema(value_type = String, format = DateTime)]
    pub verified_at: Timestamp,
    /// Where the copy is.
    pub place: BackupPlace,
}

/// How long an instance was frozen for its last backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackupPause {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Its length, in milliseconds.
    pub millis: u64,
    /// Whether it took longer than `backup.longest_pause`: then the backup failed.
    pub exceeded: bool,
}

impl BackupPause {
    /// A warning if the pause exceeded this limit, or took more than half of it, so that a later
    /// backup may fail.
    pub fn warning(&self, limit: std::time::Duration) -> Option<String> {
        let (taken, seconds) = (self.millis, limit.as_secs());
        if self.exceeded {
            let text = "the last backup failed: it had to freeze the instance for more than";
            return Some(format!("{text} {} s; raise backup.longest_pause", taken / 1000));
        }
        let near = u128::from(taken) * 2 > limit.as_millis();
        near.then(|| {
            format!(
                "the last backup froze the instance for {}.{} s, and with more than {seconds} s it \
                 fails; raise backup.longest_pause",
                taken / 1000,
                taken % 1000 / 100
            )
        })
    }
}

impl Snapshot {
    /// Whether it has no copy: it was stored, and was not deleted by us.
    pub const fn is_missing(&self) -> bool {
        !self.local && !self.remote
    }

    /// The copy that was found whole; the one at the destination if both were.
    pub fn verified(&self) -> Option<VerifiedBackup> {
        let copy = |place, exists: bool, at: Option<Timestamp>| {
            let verified_at = at.filter(|_| exists)?;
            Some(VerifiedBackup { taken_at: self.taken_at, verified_at, place })
        };
        copy(BackupPlace::Destination, self.remote, self.verified_remote)
            .or_else(|| copy(BackupPlace::Host, self.local, self.verified_local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_near_its_limit_is_a_warning() {
        let pause = |millis, exceeded| {
            let pause = BackupPause { at: Timestamp::from_millis(0), millis, exceeded };
            pause.warning(std::time::Duration::from_secs(10))
        };
        assert_eq!(pause(5000, false), None);
        let near = pause(5150, false).unwrap();
        assert!(near.contains("for 5.1 s, and with more than 10 s it fails"), "{near}");
        assert!(pause(10_020, true).unwrap().contains("raise backup.longest_pause"));
    }
}
