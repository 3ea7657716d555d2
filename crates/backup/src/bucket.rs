//! A repository in a bucket.

use std::time::Duration;

use bytes::Bytes;
use opendal::{
    Buffer, ErrorKind, Operator,
    layers::{RetryLayer, TimeoutLayer},
    services,
};
use tokio::runtime::Runtime;

use crate::{BackupError, BackupErrorKind, Storage, destination::Destination, objects::Objects};

/// Timeouts of a request, and of a transfer that makes no progress.
const REQUEST: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(20);
/// How often a failed request is retried, within about half a minute. The daemon decides on later
/// retries, because it knows what else is due.
const RETRIES: usize = 5;

/// A bucket, below a prefix.
pub(crate) struct Bucket {
    operator: Operator,
    /// rustic is not async: its threads block on this runtime.
    runtime: Runtime,
    location: String,
}

impl Bucket {
    pub fn new(storage: &Storage, folder: &str) -> Result<Self, BackupError> {
        let wrong = |e: &dyn std::fmt::Display| {
            let text = format!("cannot use {}: {e}", storage.destination);
            BackupError::new(BackupErrorKind::Unavailable, text)
        };
        // A provider that was installed before will do.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        opendal::install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|e| wrong(&e))?;
        let bare = runtime.block_on(async { build(storage, folder) });
        let operator = bare
            .map_err(|e| wrong(&e))?
            .layer(TimeoutLayer::new().with_timeout(REQUEST).with_io_timeout(SILENCE))
            .layer(
                RetryLayer::new()
                    .with_max_times(RETRIES)
                    .with_min_delay(Duration::from_millis(250))
                    .with_max_delay(Duration::from_secs(15))
                    .with_jitter(),
            );
        Ok(Self { operator, runtime, location: format!("{}/{folder}", storage.destination) })
    }
}

fn build(storage: &Storage, folder: &str) -> Result<Operator, String> {
    let root = |prefix: &str| format!("/{prefix}/{folder}").replace("//", "/");
    let credentials = || match &storage.credentials {
        None => Ok(None),
        Some(path) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|e| format!("backup.credentials: cannot read {}: {e}", path.display())),
    };
    match &storage.destination {
        Destination::Gcs { bucket, prefix } => {
            let mut gcs = services::Gcs::default().bucket(bucket).root(&root(prefix));
            if let Some(endpoint) = &storage.endpoint {
                gcs = gcs.endpoint(endpoint);
            }
            if let Some(path) = &storage.credentials {
                credentials()?;
                gcs = gcs.credential_path(&path.to_string_lossy()).disable_vm_metadata();
            } else if storage.endpoint.is_some() {
                // Only emulators serve Google's protocol at another address, and they need no
                // credentials.
                gcs = gcs.skip_signature().disable_vm_metadata().disable_config_load();
            }
            Operator::new(gcs).map_err(|e| e.to_string())
        }
        Destination::S3 { bucket, prefix } => {
            let mut s3 = services::S3::default()
                .bucket(bucket)
                .root(&root(prefix))
                .region(storage.region.as_deref().unwrap_or("us-east-1"));
            if let Some(endpoint) = &storage.endpoint {
                s3 = s3.endpoint(endpoint);
            }
            if let Some(text) = credentials()? {
                let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                let (Some(id), Some(secret)) = (lines.next(), lines.next()) else {
                    return Err(
                        "backup.credentials holds two lines: the access key's id, and its secret"
                            .into(),
                    );
                };
                s3 = s3.access_key_id(id).secret_access_key(secret).disable_config_load();
            }
            Operator::new(s3).map_err(|e| e.to_string())
        }
        Destination::Folder(_) => Err("a folder is no bucket".into()),
    }
}

fn say(e: opendal::Error) -> String {
    match e.kind() {
        ErrorKind::NotFound => "it is missing".to_owned(),
        ErrorKind::PermissionDenied => {
            format!(
                "the bucket denies access: check backup.credentials and the bucket's permissions ({e})"
            )
        }
        _ => e.to_string(),
    }
}

impl Objects for Bucket {
    fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Bytes, String> {
        let read = async {
            match part {
                None => self.operator.read(name).await,
                Some((offset, length)) => {
                    self.operator.read_with(name).range(offset..offset + length).await
                }
            }
        };
        self.runtime.block_on(read).map(|buffer| buffer.to_bytes()).map_err(say)
    }

    fn write(&self, name: &str, content: Vec<Bytes>) -> Result<(), String> {
        let write = self.operator.write(name, Buffer::from(content));
        self.runtime.block_on(write).map(drop).map_err(say)
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        self.runtime.block_on(self.operator.delete(name)).map_err(say)
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, String> {
        if folder.is_empty() {
            return match self.runtime.block_on(self.operator.stat("config")) {
                Ok(meta) => Ok(vec![("config".to_owned(), meta.content_length())]),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                Err(e) => Err(say(e)),
            };
        }
        let path = format!("{folder}/");
        let listed =
            self.runtime.block_on(async { self.operator.list_with(&path).recursive(true).await });
        let entries = match listed {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(say(e)),
        };
        Ok(entries
            .into_iter()
            .filter(|entry| entry.metadata().is_file())
            .filter_map(|entry| {
                let name = entry.path().strip_prefix(&path)?.to_owned();
                Some((name, entry.metadata().content_length()))
            })
            .collect())
    }

    fn erase(&self) -> Result<(), String> {
        let all = async {
            // The config goes last: a repository that is half gone can still be found and erased.
            for entry in self.operator.list_with("/").recursive(true).await? {
                if entry.metadata().is_file() && entry.path() != "config" {
                    self.operator.delete(entry.path()).await?;
                }
            }
            self.operator.delete("config").await
        };
        self.runtime.block_on(all).map_err(say)
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}
