//! Everything known about OpenClaw: its ports, paths, probes, exit codes and configuration.
//!
//! Sources are OpenClaw's own documentation (the `docs/` folder of its npm package) and tests with
//! a running one; nothing else in StartClaw depends on these details.

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
pub use exit::{exit_reason, is_damaged};
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

/// The readiness probe: it does not wait for channels such as Telegram.
pub const STARTUP_PATH: &str = "/startupz";

/// The liveness probe, which answers "live" and nothing else.
pub const HEALTH_PATH: &str = "/healthz";

/// The header with the user, set by our proxy.
pub const USER_HEADER: &str = "x-startclaw-user";

/// The host name in every container. OpenClaw stores it with the process id and the start time of its
/// process in the owner lease of its state: with the same name, a lease that came with a restored
/// volume is known to be dead; with another one it would hold for five minutes.
pub const HOSTNAME: &str = "openclaw";

/// The mount point of the volume in the container.
pub const HOME: &str = "/home/node/.openclaw";

/// The configuration file in the volume.
pub const CONFIG_FILE: &str = "openclaw.json";

/// The mount point of the secrets in the container.
pub const SECRETS_PATH: &str = "/run/secrets/startclaw";

/// The file with all secrets: a JSON object from name to value.
pub const SECRETS_FILE: &str = "secrets.json";

/// The command that runs it; it listens on the container's own network.
pub const COMMAND: &[&str] =
    &["node", "openclaw.mjs", "gateway", "--bind", "lan", "--port", "18789"];

/// Its environment; nothing in it is secret. Our own image sets the same, the official one does
/// not: OpenClaw restarts inside its process, a new version comes as a new image, and no service
/// discovery is needed on a container's network.
pub const ENV: &[(&str, &str)] = &[
    ("HOME", "/home/node"),
    ("NODE_ENV", "production"),
    ("OPENCLAW_NO_RESPAWN", "1"),
    ("OPENCLAW_NO_AUTO_UPDATE", "1"),
    ("OPENCLAW_DISABLE_BONJOUR", "1"),
];

/// The platform's user name for its own requests to a gateway, so that the gateway's log
/// distinguishes them from the owner's.
pub const HOST_USER: &str = "startclaw@host";

/// Folders that it writes outside the volume: path, size in MiB, and whether programs may run
/// there. Without them it exits with 78 and a misleading "state database is unreadable".
pub const SCRATCH: &[(&str, u32, bool)] = &[("/tmp", 512, true), ("/home/node/.cache", 256, false)];

/// Folders at the top of its volume that it recreates when missing.
pub const EPHEMERAL: &[&str] = &["cache", "tmp"];

/// How long it gets to stop. Idle it needs 1.3 s; during a response, as long as that takes.
pub const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(30);

/// The command that repairs a damaged configuration or state, non-interactively.
pub const REPAIR_COMMAND: &[&str] =
    &["node", "openclaw.mjs", "doctor", "--fix", "--yes", "--non-interactive"];
