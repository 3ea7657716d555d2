//! What the operator can set.

mod load;
mod reference;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use startclaw_accounts::AccountSettings;
use startclaw_backups::BackupSettings;
use startclaw_docker::DockerSettings;
use startclaw_edge::EdgeSettings;
use startclaw_engine::InstanceSettings;

pub use load::FILE;
pub use reference::reference;

/// All settings of the daemon.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the database and the master key lie. `startclaw recovery-kit` writes what is needed
    /// when they are lost.
    pub data_dir: PathBuf,
    /// Where the Unix socket lies. `docker.runtime_dir` follows it when left out.
    pub runtime_dir: PathBuf,
    /// Where Caddy's configuration is written when the daemon starts. Nothing is written when
    /// empty: then use `startclaw caddyfile`.
    pub caddyfile: PathBuf,
    /// What the daemon says while it works.
    pub log: LogSettings,
    /// How the platform is reached from outside.
    pub edge: EdgeSettings,
    /// Where and how instances run on this host's Docker.
    pub docker: DockerSettings,
    /// What new instances get.
    pub instances: InstanceSettings,
    /// Who may have an account, and what with it.
    pub accounts: AccountSettings,
    /// When and where backups are made.
    pub backup: BackupSettings,
}

/// What the daemon says while it works, on stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How much: `error`, `warn`, `info`, `debug`, `trace`, or a filter by module such as
    /// `info,startclaw_engine=debug`.
    pub level: String,
    /// In which form.
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/startclaw".into(),
            runtime_dir: "/run/startclaw".into(),
            caddyfile: "/etc/startclaw/Caddyfile".into(),
            log: LogSettings::default(),
            edge: EdgeSettings::default(),
            docker: DockerSettings::default(),
            instances: InstanceSettings::default(),
            accounts: AccountSettings::default(),
            backup: BackupSettings::default(),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

impl Settings {
    /// The Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir.join("startclaw.sock")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("startclaw.db")
    }

    /// The master key.
    pub fn master_key(&self) -> PathBuf {
        self.data_dir.join("master.key")
    }
}
