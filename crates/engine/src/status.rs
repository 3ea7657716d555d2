//! How instances are, for people and for the edge.

use serde::Serialize;
use startclaw_host::Endpoints;
use startclaw_model::{
    AccountId, InstanceId, InstanceState, Limits, Name, OperationId, Owner, Profile, Timestamp,
};

/// How one instance is.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceStatus {
    pub id: InstanceId,
    pub name: Name,
    /// Who it belongs to, as OpenClaw is told.
    pub owner: Owner,
    /// The account it belongs to.
    pub account: Option<AccountId>,
    /// In one word.
    pub state: InstanceState,
    /// Why it is not live, in words.
    pub reason: Option<String>,
    /// The last lines of its log, when it is failing.
    pub last_log: Vec<String>,
    /// When it is retried, when it is failing.
    pub retry_at: Option<Timestamp>,
    /// Since when it is in this state, as far as this daemon saw.
    pub since: Timestamp,
    /// Failures since it was last live for a while.
    pub failures: u32,
    /// Where people reach it.
    pub url: String,
    /// The gateway's port on 127.0.0.1.
    pub port: u16,
    /// Its OpenClaw version, provider, Telegram and limits.
    #[serde(flatten)]
    pub profile: Profile,
    /// The operation that is in progress.
    pub operation: Option<OperationId>,
    /// Until when the volume that a restore replaced can come back.
    pub undo_until: Option<Timestamp>,
    /// When its newest backup was made.
    pub last_backup: Option<Timestamp>,
    /// When it was requested.
    pub created_at: Timestamp,
}

impl InstanceStatus {
    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.profile.limits
    }
}

/// What the edge needs to know of an instance, from memory.
#[derive(Debug, Clone)]
pub struct Route {
    pub id: InstanceId,
    pub name: Name,
    /// How it is.
    pub state: InstanceState,
    /// Why it is failing, in words fit for its owner.
    pub reason: Option<String>,
    /// Whether it listens at the webhook port.
    pub telegram: bool,
    /// Where it is reached.
    pub endpoints: Endpoints,
}
