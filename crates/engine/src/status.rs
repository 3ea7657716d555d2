//! Status of instances, for users and for the edge.

use serde::Serialize;
use startclaw_host::Endpoints;
use startclaw_model::{
    AccountId, BackupPause, InstanceId, InstanceRef, InstanceState, Limits, Name, OperationId,
    Owner, Profile, Timestamp, VerifiedBackup,
};

/// Status of one instance.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceStatus {
    pub id: InstanceId,
    pub name: Name,
    /// The owner's identity in OpenClaw.
    pub owner: Owner,
    /// The owning account.
    pub account: Option<AccountId>,
    /// Its state.
    pub state: InstanceState,
    /// Why it is not live.
    pub reason: Option<String>,
    /// The last lines of its log, if it is failing.
    pub last_log: Vec<String>,
    /// When it is retried, if it is failing.
    pub retry_at: Option<Timestamp>,
    /// Since when it is in this state, as observed by this daemon.
    pub since: Timestamp,
    /// Failures since it was last live for some time.
    pub failures: u32,
    /// Its public address.
    pub url: String,
    /// The gateway's port on 127.0.0.1.
    pub port: u16,
    /// Its OpenClaw version, provider, Telegram and limits.
    #[serde(flatten)]
    pub profile: Profile,
    /// The operation that is in progress.
    pub operation: Option<OperationId>,
    /// Until when the last restore can be undone.
    pub undo_until: Option<Timestamp>,
    /// When its newest backup was made.
    pub last_backup: Option<Timestamp>,
    /// Its newest backup that was found whole.
    pub verified_backup: Option<VerifiedBackup>,
    /// How long it was frozen for its last backup.
    pub last_pause: Option<BackupPause>,
    /// Why a later backup may fail, or the last one failed, at the limit of that.
    pub pause_warning: Option<String>,
    /// When it was requested.
    pub created_at: Timestamp,
}

impl<'a> From<&'a InstanceStatus> for InstanceRef<'a> {
    fn from(status: &'a InstanceStatus) -> Self {
        Self { name: &status.name, id: Some(&status.id) }
    }
}

impl InstanceStatus {
    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.profile.limits
    }
}

/// What the edge needs of an instance.
#[derive(Debug, Clone)]
pub struct Route {
    pub id: InstanceId,
    pub name: Name,
    /// Its state.
    pub state: InstanceState,
    /// Why it is failing, for its owner.
    pub reason: Option<String>,
    /// Whether it listens on the webhook port.
    pub telegram: bool,
    /// Its addresses.
    pub endpoints: Endpoints,
}
