//! Errors of a host.

/// Kind of error; decides whether it is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The host does not answer or is busy: retry later.
    Unavailable,
    /// The image is not on the host: pull it ([`Step::FetchImage`](crate::Step::FetchImage)).
    NoImage,
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

    /// The image must be pulled first.
    pub fn no_image(image: &str) -> Self {
        Self { kind: HostErrorKind::NoImage, message: format!("the image {image} is not here") }
    }

    /// An error that needs an action of the operator.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { kind: HostErrorKind::Refused, message: message.into() }
    }
}
