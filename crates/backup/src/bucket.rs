//! A repository in a bucket.

use std::time::Duration;

use bytes::Bytes;
use opendal::{
    Buffer, ErrorKind, Operator,
    layers::{RetryLayer, TimeoutLayer},
    services,
};
use startclaw_model::Timestamp;
use tokio::runtime::Runtime;

use crate::{
    BackupError, BackupErrorKind, Storage,
    destination::Destination,
    objects::{ObjectError, Objects, Stat},
};

const NO_BUCKET: &str = "the bucket does not exist: create it, or check backup.destination";

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
        let location = format!("{}/{folder}", storage.destination);
        let location = location.trim_end_matches('/').to_owned();
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
        Ok(Self { operator, runtime, location })
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

fn failed(e: &opendal::Error) -> ObjectError {
    ObjectError::Failed(match e.kind() {
        // S3 distinguishes it, in all answers with a body.
        ErrorKind::ConfigInvalid if e.to_string().contains("NoSuchBucket") => NO_BUCKET.to_owned(),
        ErrorKind::NotFound => NO_BUCKET.to_owned(),
        ErrorKind::PermissionDenied => format!(
            "the bucket denies access: check backup.credentials and the bucket's permissions ({e})"
        ),
        _ => e.to_string(),
    })
}

impl Bucket {
    /// An error of a request for one object: an object that does not exist and a bucket that does
    /// not exist have the same status.
    fn object_error(&self, e: &opendal::Error) -> ObjectError {
        if e.kind() != ErrorKind::NotFound {
            return failed(e);
        }
        match self.require() {
            Ok(()) => ObjectError::Missing("it is missing".to_owned()),
            Err(e) => e,
        }
    }
}

impl Objects for Bucket {
    fn read(&self, name: &str, part: Option<(u64, u64)>) -> Result<Bytes, ObjectError> {
        let read = async {
            match part {
                None => self.operator.read(name).await,
                Some((offset, length)) => {
                    self.operator.read_with(name).range(offset..offset + length).await
                }
            }
        };
        let read = self.runtime.block_on(read);
        read.map(|buffer| buffer.to_bytes()).map_err(|e| self.object_error(&e))
    }

    fn write(&self, name: &str, content: Vec<Bytes>) -> Result<(), ObjectError> {
        let write = self.operator.write(name, Buffer::from(content));
        self.runtime.block_on(write).map(drop).map_err(|e| failed(&e))
    }

    fn create(&self, name: &str, content: Bytes) -> Result<(), ObjectError> {
        let write =
            async { self.operator.write_with(name, content.clone()).if_not_exists(true).await };
        match self.runtime.block_on(write) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == ErrorKind::ConditionNotMatch => Ok(()),
            // Some servers of the S3 kind know no conditions.
            Err(e) if e.to_string().contains("NotImplemented") => self.write(name, vec![content]),
            Err(e) => Err(failed(&e)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), ObjectError> {
        self.runtime.block_on(self.operator.delete(name)).map_err(|e| failed(&e))
    }

    fn stat(&self, name: &str) -> Result<Option<Stat>, ObjectError> {
        let meta = match self.runtime.block_on(self.operator.stat(name)) {
            Ok(meta) => meta,
            Err(e) => match self.object_error(&e) {
                ObjectError::Missing(_) => return Ok(None),
                error @ ObjectError::Failed(_) => return Err(error),
            },
        };
        let modified = meta.last_modified().map(|t| t.into_inner().as_millisecond());
        let modified = modified.map(Timestamp::from_millis);
        Ok(Some(Stat { size: meta.content_length(), modified }))
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, ObjectError> {
        let path = format!("{folder}/");
        let listed =
            self.runtime.block_on(async { self.operator.list_with(&path).recursive(true).await });
        Ok(listed
            .map_err(|e| failed(&e))?
            .into_iter()
            .filter(|entry| entry.metadata().is_file())
            .filter_map(|entry| {
                let name = entry.path().strip_prefix(&path)?.to_owned();
                Some((name, entry.metadata().content_length()))
            })
            .collect())
    }

    fn folders(&self) -> Result<Vec<String>, ObjectError> {
        let listed = self.runtime.block_on(self.operator.list("/")).map_err(|e| failed(&e))?;
        let folders = listed.into_iter().filter(|entry| entry.metadata().is_dir());
        let names = folders.map(|entry| entry.path().trim_matches('/').to_owned());
        Ok(names.filter(|name| !name.is_empty()).collect())
    }

    /// Lists a folder that is nearly always empty.
    fn require(&self) -> Result<(), ObjectError> {
        let listed = self.runtime.block_on(self.operator.list("startclaw-probe/"));
        listed.map(drop).map_err(|e| failed(&e))
    }

    fn erase(&self) -> Result<(), ObjectError> {
        let all = async {
            // The config goes last: a repository that is half gone can still be found and erased.
            for entry in self.operator.list_with("/").recursive(true).await? {
                if entry.metadata().is_file() && entry.path() != "config" {
                    self.operator.delete(entry.path()).await?;
                }
            }
            self.operator.delete("config").await
        };
        self.runtime.block_on(all).map_err(|e| failed(&e))
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}
