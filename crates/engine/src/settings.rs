//! What the operator can set about the engine.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use startclaw_model::{Limits, Quota};

/// What the engine is told at its start.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The domain whose subdomains the instances are.
    pub domain: String,
    /// What comes between the domain and the path in an instance's address: empty, or `:8443`.
    pub port_suffix: String,
    /// What new instances get.
    pub instances: InstanceSettings,
    /// What an account may have that has no quota of its own.
    pub quota: Quota,
    /// How long a volume that a restore replaced is kept for `restore --undo`.
    pub keep_replaced: Duration,
    /// How long things take.
    pub timing: Timing,
}

/// What new instances get when a provision does not say otherwise.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceSettings {
    /// The container image without its tag; the tag is the OpenClaw version.
    pub image: String,
    /// The OpenClaw version of new instances.
    pub version: String,
    /// The limits of new instances.
    #[schemars(with = "serde_json::Value")]
    pub limits: Limits,
    /// Where Telegram's Bot API is reached; Telegram's own when empty. A private Bot API
    /// server also needs a place in `docker.allow` when its address is private.
    pub telegram_api: String,
    /// How many instances may boot at the same time; 0 means one for each CPU, at least two. A boot
    /// takes about 8 seconds of one CPU.
    pub boots: usize,
    /// How many new names one account may use in a week; 0 for any number. Each new name needs a
    /// certificate, and a public authority signs a limited number a week for a whole domain (Let's
    /// Encrypt: 50). A name that had one in the last 60 days is not new. It counts with
    /// `edge.tls = "acme"` only, and not for operators and tokens.
    pub names_per_account: u32,
    /// How many new names all accounts together may use in a week; 0 for any number.
    pub names_per_week: u32,
    /// Whether an instance whose volume was lost gets its newest backup restored automatically.
    /// Otherwise it stays failing until it is restored by a command: what it did since that backup is
    /// gone with a restore, and a volume that is only out of reach may come back.
    pub restore_lost_volume: bool,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            image: "startclaw/openclaw".into(),
            version: startclaw_openclaw::VERSION.into(),
            limits: Limits::default(),
            telegram_api: String::new(),
            boots: 0,
            names_per_account: 5,
            names_per_week: 40,
            restore_lost_volume: false,
        }
    }
}

/// How long things take. The defaults are for real machines; tests shrink them.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between two checks of an instance that is booting.
    pub boot_poll: Duration,
    /// How long a boot may take before the container is replaced. A boot needs about 8 CPU
    /// seconds; on a busy machine with many at once that can become minutes.
    pub boot_limit: Duration,
    /// CPU time that a boot has without a limit: three times what one needs.
    pub boot_cpu: Duration,
    /// How long a boot keeps its place among the few that run in parallel.
    pub boot_share: Duration,
    /// Between two probes of a live instance.
    pub probe_every: Duration,
    /// How long a live instance may not answer before it is restarted. OpenClaw restarts
    /// itself when its owner changes certain settings, which takes 20 s under the CPU limit.
    pub silence_limit: Duration,
    /// The first wait after a failure; doubles with each further one.
    pub backoff_first: Duration,
    /// The longest wait after a failure.
    pub backoff_limit: Duration,
    /// Failures in a row from which on an instance counts as failing.
    pub failing_after: u32,
    /// How long an instance must be live until its earlier failures are forgotten.
    pub failures_reset_after: Duration,
    /// The first wait after an error of the host; doubles up to `backoff_limit`.
    pub host_retry_first: Duration,
    /// Between two checks of everything.
    pub sweep_every: Duration,
    /// Interval of the check of instances' firewall rules.
    pub firewall_every: Duration,
    /// Between two checks of what instances and the host use.
    pub usage_every: Duration,
    /// How long operations and events are kept.
    pub history: Duration,
    /// How long an instance is asked to rest before it is frozen all the same.
    pub quiesce_limit: Duration,
    /// Between two such questions.
    pub quiesce_again: Duration,
    /// How long an instance may be frozen for a backup. What changes in a day is read in tenths
    /// of a second; requests wait that long.
    pub pause_limit: Duration,
    /// The first wait after a backup or restore failed; doubles with each further one.
    pub backup_again: Duration,
    /// Between two checks for due nightly backups.
    pub nightly_every: Duration,
    /// The first wait after a nightly backup failed, until it is requested again.
    pub nightly_again: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            boot_poll: Duration::from_millis(100),
            boot_limit: Duration::from_secs(300),
            boot_cpu: Duration::from_secs(30),
            boot_share: Duration::from_secs(30),
            probe_every: Duration::from_secs(10),
            silence_limit: Duration::from_secs(60),
            backoff_first: Duration::from_secs(1),
            backoff_limit: Duration::from_secs(300),
            failing_after: 3,
            failures_reset_after: Duration::from_secs(600),
            host_retry_first: Duration::from_millis(500),
            sweep_every: Duration::from_secs(30),
            firewall_every: Duration::from_secs(5),
            usage_every: Duration::from_secs(60),
            history: Duration::from_secs(90 * 24 * 3600),
            quiesce_limit: Duration::from_secs(60),
            quiesce_again: Duration::from_secs(2),
            pause_limit: Duration::from_secs(10),
            backup_again: Duration::from_secs(20),
            nightly_every: Duration::from_secs(20),
            nightly_again: Duration::from_secs(15 * 60),
        }
    }
}
