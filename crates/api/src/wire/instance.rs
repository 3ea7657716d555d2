//! The status of instances.

use serde::{Deserialize, Serialize};
use startclaw_engine::InstanceStatus;
use startclaw_model::{
    BackupPause, InstanceId, InstanceState, Limits, ModelProvider, Name, OperationId, Owner,
    Timestamp, VerifiedBackup,
};
use utoipa::ToSchema;

/// The status of an instance.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Its id. A name can be reused after a deprovision, an id cannot.
    pub id: InstanceId,
    /// Its name.
    pub name: Name,
    /// Who it belongs to.
    pub owner: Owner,
    /// Its state.
    pub state: InstanceState,
    /// Why it is not live.
    pub reason: Option<String>,
    /// The last lines of its log, if it is failing.
    pub last_log: Vec<String>,
    /// When it is retried, if it is failing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Since when it is in this state, as observed by this daemon.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Failures since it was last live for a while.
    pub failures: u32,
    /// Its address.
    #[schema(example = "https://alice.example.com")]
    pub url: String,
    /// The gateway's port on 127.0.0.1.
    #[schema(example = 18001)]
    pub port: u16,
    /// Its OpenClaw version.
    #[schema(example = "2026.9.6")]
    pub version: String,
    /// The model provider.
    pub provider: Option<ModelProvider>,
    /// Whether the provider's API key is set.
    pub api_key: bool,
    /// Whether a Telegram bot token is stored; `GET /telegram` says whether the bot is connected.
    pub telegram: bool,
    /// Its limits.
    pub limits: Limits,
    /// The operation in progress.
    pub operation: Option<OperationId>,
    /// When the newest backup was taken.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_backup: Option<Timestamp>,
    /// The newest backup that was verified, and where.
    #[serde(default)]
    pub verified_backup: Option<VerifiedBackup>,
    /// How long it was frozen for its last backup.
    #[serde(default)]
    pub last_pause: Option<BackupPause>,
    /// Set when that came near `backup.longest_pause`, with which backups fail, or exceeded it.
    #[serde(default)]
    pub pause_warning: Option<String>,
    /// When it was requested.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<InstanceStatus> for Instance {
    fn from(s: InstanceStatus) -> Self {
        Self {
            id: s.id,
            name: s.name,
            owner: s.owner,
            state: s.state,
            reason: s.reason,
            last_log: s.last_log,
            retry_at: s.retry_at,
            since: s.since,
            failures: s.failures,
            url: s.url,
            port: s.port,
            version: s.profile.version,
            provider: s.profile.provider,
            api_key: s.profile.api_key,
            telegram: s.profile.telegram,
            limits: s.profile.limits,
            operation: s.operation,
            last_backup: s.last_backup,
            verified_backup: s.verified_backup,
            last_pause: s.last_pause,
            pause_warning: s.pause_warning,
            created_at: s.created_at,
        }
    }
}

/// Instances, by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Instances {
    /// All that the caller has access to, or the named one.
    pub instances: Vec<Instance>,
}
