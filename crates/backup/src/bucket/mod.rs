//! A repository in a bucket.

mod connect;
mod credentials;
mod errors;

use std::time::Duration;

use bytes::Bytes;
use opendal::{
    Buffer, ErrorKind, Operator,
    layers::{RetryLayer, TimeoutLayer},
};
use startclaw_model::Timestamp;
use tokio::runtime::Runtime;

use connect::Connection;
use errors::{failed, is_without_reason, not_removed, refuses};

use crate::{
    BackupError, BackupErrorKind, Storage,
    objects::{ObjectError, Objects, Stat},
};

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
    /// Whether an object can be written on the condition that it does not exist.
    conditional: bool,
    /// Whether nothing is deleted in it.
    append_only: bool,
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
        let connected = runtime.block_on(async { Connection::new(storage, folder) });
        let Connection { operator, conditional } = connected.map_err(|e| wrong(&e))?;
        let operator = operator
            .layer(TimeoutLayer::new().with_timeout(REQUEST).with_io_timeout(SILENCE))
            .layer(
                RetryLayer::new()
                    .with_max_times(RETRIES)
                    .with_min_delay(Duration::from_millis(250))
                    .with_max_delay(Duration::from_secs(15))
                    .with_jitter(),
            );
        let append_only = storage.append_only;
        Ok(Self { operator, runtime, location, conditional, append_only })
    }
}

impl Bucket {
    /// An error of a request for one object: an object that does not exist and a bucket that does
    /// not exist have the same status.
    fn object_error(&self, e: &opendal::Error) -> ObjectError {
        let is_missing = e.kind() == ErrorKind::NotFound;
        if !is_missing && !is_without_reason(e) {
            return failed(e);
        }
        match self.require() {
            Ok(()) if is_missing => ObjectError::Missing("it is missing".to_owned()),
            Ok(()) => failed(e),
            Err(e) => e,
        }
    }

    /// Whether the object has this content.
    fn has(&self, name: &str, content: &[Bytes]) -> bool {
        self.read(name, None).is_ok_and(|found| found == content.concat())
    }

    /// The names of all objects below a path.
    async fn names(&self, path: &str) -> opendal::Result<Vec<String>> {
        let listed = self.operator.list_with(path).recursive(true).await?;
        let files = listed.into_iter().filter(|entry| entry.metadata().is_file());
        Ok(files.map(|entry| entry.path().to_owned()).collect())
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
        let write = self.operator.write(name, Buffer::from(content.clone()));
        match self.runtime.block_on(write) {
            Ok(_) => Ok(()),
            // It was written, and only the answer was lost: what is locked is not written again.
            Err(e) if refuses(&e) && self.has(name, &content) => Ok(()),
            Err(e) => Err(failed(&e)),
        }
    }

    fn create(&self, name: &str, content: Bytes) -> Result<(), ObjectError> {
        if !self.conditional {
            return self.write(name, vec![content]);
        }
        let write =
            async { self.operator.write_with(name, content.clone()).if_not_exists(true).await };
        match self.runtime.block_on(write) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == ErrorKind::ConditionNotMatch => Ok(()),
            // As with a lock on what exists.
            Err(e) if refuses(&e) && matches!(self.stat(name), Ok(Some(_))) => Ok(()),
            // Some servers of the S3 kind know no conditions.
            Err(e) if e.to_string().contains("NotImplemented") => self.write(name, vec![content]),
            Err(e) => Err(failed(&e)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), ObjectError> {
        if self.append_only {
            return Ok(());
        }
        self.runtime.block_on(self.operator.delete(name)).map_err(|e| not_removed(&e))
    }

    fn stat(&self, name: &str) -> Result<Option<Stat>, ObjectError> {
        let meta = match self.runtime.block_on(self.operator.stat(name)) {
            Ok(meta) => meta,
            Err(e) => match self.object_error(&e) {
                ObjectError::Missing(_) => return Ok(None),
                error => return Err(error),
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

    /// Lists a folder that is always empty.
    fn require(&self) -> Result<(), ObjectError> {
        let listed = self.runtime.block_on(self.operator.list("startclaw-nothing/"));
        listed.map(drop).map_err(|e| failed(&e))
    }

    fn erase(&self) -> Result<(), ObjectError> {
        let mut names = self.runtime.block_on(self.names("/")).map_err(|e| failed(&e))?;
        if self.append_only && !names.is_empty() {
            let text = "backup.append_only is set, so that nothing is deleted in the bucket: \
                        delete it with credentials of your own";
            return Err(ObjectError::Refused(text.to_owned()));
        }
        // The config goes last: a repository that is half gone can still be found and erased.
        names.sort_by_key(|name| name == "config");
        let all = async {
            for name in &names {
                self.operator.delete(name).await?;
            }
            Ok(())
        };
        self.runtime.block_on(all).map_err(|e| not_removed(&e))
    }

    fn keeps_all(&self) -> bool {
        self.append_only
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}
