//! Errors of the edge.

use std::path::PathBuf;

/// An error in the edge's configuration.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Invalid setting.
    #[error("the setting edge.{field} {problem}")]
    Setting {
        /// The field of [`EdgeSettings`](crate::EdgeSettings).
        field: &'static str,
        /// The problem, as the rest of a sentence.
        problem: &'static str,
    },
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    #[error("cannot render the Caddyfile: {0}")]
    Render(#[from] askama::Error),
    /// A TLS handshake with Caddy failed.
    #[error("no certificate for {host}: {reason}")]
    Handshake {
        /// The requested host name.
        host: String,
        /// The reason.
        reason: String,
    },
}
