//! What can go wrong on a host.

/// Kind of error; decides whether it is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The host does not answer or is busy: try again later.
    Unavailable,
    /// The image is not on the host: fetch it ([`Step::FetchImage`](crate::Step::FetchImage)).
    NoImage,
    /// It will fail again until somebody does something: an image that is not there, a
    /// setting that the host refuses.
    Refused,
}

/// A step or a look that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// Kind of error.
    pub kind: HostErrorKind,
    /// What failed, on what, and what to do; for the operator.
    pub message: String,
}

impl HostError {
    /// Trouble that may pass.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: HostErrorKind::Unavailable, message: message.into() }
    }

    /// The image has to be fetched first.
    pub fn no_image(image: &str) -> Self {
        Self { kind: HostErrorKind::NoImage, message: format!("the image {image} is not here") }
    }

    /// Trouble that stays until somebody acts.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { kind: HostErrorKind::Refused, message: message.into() }
    }
}
