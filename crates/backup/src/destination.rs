//! Where repositories are stored: a folder, or a GCS or S3 bucket.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A location of repositories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// The bucket's name.
        bucket: String,
        /// The prefix of all object names; may be empty.
        prefix: String,
    },
    /// An S3-compatible bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The prefix of all object names; may be empty.
        prefix: String,
    },
    /// A folder on this machine.
    Folder(PathBuf),
}

/// The text is not a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no place for backups: it is like gs://bucket/prefix, s3://bucket/prefix or /mnt/backups"
)]
pub struct DestinationError(String);

impl Destination {
    /// Parses `gs://bucket/prefix`, `s3://bucket/prefix` or an absolute path.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let wrong = || DestinationError(text.to_owned());
        let bucket = |rest: &str| {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let good = (3..=222).contains(&bucket.len())
                && bucket.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
                })
                && !prefix.split('/').any(|part| part == "..");
            let prefix = prefix.trim_matches('/').to_owned();
            if good { Ok((bucket.to_owned(), prefix)) } else { Err(wrong()) }
        };
        if let Some(rest) = text.strip_prefix("gs://") {
            bucket(rest).map(|(bucket, prefix)| Self::Gcs { bucket, prefix })
        } else if let Some(rest) = text.strip_prefix("s3://") {
            bucket(rest).map(|(bucket, prefix)| Self::S3 { bucket, prefix })
        } else if text.starts_with('/') {
            Ok(Self::Folder(text.into()))
        } else {
            Err(wrong())
        }
    }

    /// Whether it is a bucket, which can be unavailable and outlives the host.
    pub const fn is_bucket(&self) -> bool {
        !matches!(self, Self::Folder(_))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, bucket, prefix) = match self {
            Self::Gcs { bucket, prefix } => ("gs", bucket, prefix),
            Self::S3 { bucket, prefix } => ("s3", bucket, prefix),
            Self::Folder(path) => return write!(f, "{}", path.display()),
        };
        write!(f, "{scheme}://{bucket}")?;
        if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;
    fn try_from(text: String) -> Result<Self, DestinationError> {
        Self::parse(&text)
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

/// A location of repositories, and how to access it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    pub destination: Destination,
    /// The file with the credentials: a service account's JSON for Google; for S3, and HMAC keys of
    /// Google, lines with the access key's id, its secret, and a session token if there is one. The
    /// host's own identity when none.
    pub credentials: Option<PathBuf>,
    /// The server's address, if not the provider's default.
    pub endpoint: Option<String>,
    /// The region of an S3 bucket.
    pub region: Option<String>,
    /// Whether an S3 bucket's name is a part of the host's name in requests, not of the path.
    #[serde(default)]
    pub virtual_hosted_style: bool,
    /// A file with further certificate authorities, in PEM format, that the bucket's certificate
    /// may be from.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether nothing is deleted in the bucket, because it keeps everything.
    #[serde(default)]
    pub append_only: bool,
}

impl Storage {
    /// A location that is accessed without any settings.
    pub const fn new(destination: Destination) -> Self {
        Self {
            destination,
            credentials: None,
            endpoint: None,
            region: None,
            virtual_hosted_style: false,
            ca: None,
            append_only: false,
        }
    }

    /// A folder on this machine.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self::new(Destination::Folder(path.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_and_written_alike() {
        for good in ["gs://bucket-1/a/b", "gs://bucket", "s3://bucket.x/p", "/mnt/backups"] {
            assert_eq!(Destination::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(Destination::parse("gs://bucket/a/").unwrap().to_string(), "gs://bucket/a");
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for bad in ["", "backups", "gs://", "gs://B", "gs://bucket/../x", "http://x/y", "s3://a b/"]
        {
            assert!(Destination::parse(bad).is_err(), "{bad}");
        }
    }
}
