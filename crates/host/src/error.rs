//! Errors of a host.

/// Kind of error; decides whether it is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The host does not answer or is busy: retry later.
    Unavailable,
    /// It will fail again until the operator acts: a missing image, or a setting that the host
    /// rejects.
    Refused,
}

/// A failed step or observation.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// Kind of error.
    pub kind: HostErrorKind,
    /// What failed, on what, and what to do; for the operator.
    pub message: String,
}

impl HostError {
    /// A temporary error.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: HostErrorKind::Unavailable, message: message.into() }
    }

    /// The volume of this name held data and does not exist any more.
    pub fn volume_lost(volume: &str) -> Self {
        Self::refused(format!(
            "the volume {volume} is missing, and an empty one must not replace it"
        ))
    }

    /// An error that needs an action of the operator.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { kind: HostErrorKind::Refused, message: message.into() }
    }
}
