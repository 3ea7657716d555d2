//! All that we know of OpenClaw: its ports, paths, probes, exit codes and configuration.
//!
//! What stands here was read in OpenClaw's own documentation (the `docs/` folder of its npm
//! package) and tried on a running one; nothing else in StartClaw knows these things.

mod admin;
mod config;
mod exit;
mod probe;
mod read;
mod scan;
pub mod suspend;
pub mod telegram;

pub use admin::AdminCall;
pub use config::{ConfigError, Setup, TelegramSetup, configuration, spec_basis};
pub use exit::{DAMAGED, Ending, ending};
pub use probe::has_started;
pub use read::{CONFIG_DEPTH, CONFIG_LIMIT, CONFIG_VALUES};
pub use scan::{Measure, measure};

/// The release that this version of StartClaw was built and tested with; also the image's tag.
pub const VERSION: &str = include_str!("../../../images/openclaw/VERSION").trim_ascii();

/// The port of the gateway inside the container: Control UI, WebSocket and probes.
pub const GATEWAY_PORT: u16 = 18_789;

/// The port of Telegram's webhook inside the container, a listener of its own.
pub const WEBHOOK_PORT: u16 = 8787;

/// The path of Telegram's webhook, inside and at the instance's address.
pub const WEBHOOK_PATH: &str = "/telegram-webhook";

/// The path of the control plane over HTTP. It must never be reachable from outside.
pub const ADMIN_RPC_PATH: &str = "/api/v1/admin/rpc";

/// The probe that admits traffic: it does not wait for channels such as Telegram.
pub const STARTUP_PATH: &str = "/startupz";

/// The sign of life, which says "live" and nothing else.
pub const HEALTH_PATH: &str = "/healthz";

/// The header in which we tell OpenClaw who the user is.
pub const USER_HEADER: &str = "x-startclaw-user";

/// Where the volume is seen inside the container.
pub const HOME: &str = "/home/node/.openclaw";

/// The configuration file in the volume.
pub const CONFIG_FILE: &str = "openclaw.json";

/// Where the secrets are seen inside the container.
pub const SECRETS_PATH: &str = "/run/secrets/startclaw";

/// The one file with all secrets: a JSON object from name to value.
pub const SECRETS_FILE: &str = "secrets.json";

/// The command that runs it; the address is for the container's own network.
pub const COMMAND: &[&str] =
    &["node", "openclaw.mjs", "gateway", "--bind", "lan", "--port", "18789"];

/// Its environment; none of it is secret. Our own image has the same, the official one not:
/// a restart that OpenClaw decides on stays inside its process, a new version comes as a new
/// image, and nobody on a container's network waits for an announcement.
pub const ENV: &[(&str, &str)] = &[
    ("HOME", "/home/node"),
    ("NODE_ENV", "production"),
    ("OPENCLAW_NO_RESPAWN", "1"),
    ("OPENCLAW_NO_AUTO_UPDATE", "1"),
    ("OPENCLAW_DISABLE_BONJOUR", "1"),
];

/// Who we are to a gateway when the platform itself asks something of it, so that its log
/// tells its owner from us.
pub const HOST_USER: &str = "startclaw@host";

/// The folders it writes outside the volume: path, size in MiB, may programs run there.
/// Without them it exits with 78 and a misleading "state database is unreadable".
pub const SCRATCH: &[(&str, u32, bool)] = &[("/tmp", 512, true), ("/home/node/.cache", 256, false)];

/// Folders at the top of its volume that it makes again when they are missing.
pub const EPHEMERAL: &[&str] = &["cache", "tmp"];

/// How long it gets to stop. Idle it needs 1.3 s; with an answer in progress, as long as that
/// takes.
pub const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(30);

/// The command that repairs a damaged configuration or state, without asking.
pub const REPAIR_COMMAND: &[&str] =
    &["node", "openclaw.mjs", "doctor", "--fix", "--yes", "--non-interactive"];
