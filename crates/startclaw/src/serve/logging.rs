//! The log: on stderr, where systemd's journal reads it. It never contains a secret: types that
//! hold one print dots, and requests are logged without queries and bodies.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::{LogFormat, LogSettings};

/// Starts logging.
pub fn begin(settings: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.level)?;
    let layer = fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match settings.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init()?,
        LogFormat::Text => {
            let layer = layer.with_ansi(io::stderr().is_terminal()).with_target(false);
            // The journal adds its own times.
            if std::env::var_os("JOURNAL_STREAM").is_some() {
                registry.with(layer.without_time()).try_init()?;
            } else {
                registry.with(layer).try_init()?;
            }
        }
    }
    Ok(())
}
