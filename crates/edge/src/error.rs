//! What can go wrong at the edge.

use std::path::PathBuf;

/// Something about the edge's configuration that does not work.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A setting cannot be used.
    #[error("the setting edge.{field} {problem}")]
    Setting {
        /// The field of [`EdgeSettings`](crate::EdgeSettings).
        field: &'static str,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// A file could not be written.
    #[error("{path} could not be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The Caddyfile could not be put together.
    #[error("the Caddyfile could not be rendered: {0}")]
    Render(#[from] askama::Error),
    /// A TLS handshake with Caddy failed.
    #[error("no certificate for {host}: {reason}")]
    Handshake {
        /// The name that was asked for.
        host: String,
        /// Why there is none.
        reason: String,
    },
}
