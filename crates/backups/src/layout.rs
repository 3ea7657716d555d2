//! The local and offsite repositories of an instance, and their keys.

use std::{fmt::Write as _, path::PathBuf};

use startclaw_backup::{
    BackupError, BackupErrorKind, Destination, Job, Repository, RepositoryKey, Storage, Work,
    WorkerLimits,
};
use startclaw_model::Secret;
use startclaw_vault::Vault;

use crate::{BackupSettings, Backups};

/// The repositories that follow from the settings.
#[derive(Debug, Clone)]
pub(crate) struct RepositoryLayout {
    /// The destination of backups.
    destination: Storage,
    /// The copies on this host, when the destination is a bucket.
    local: Option<Storage>,
    /// The folder of this host's repositories.
    own: PathBuf,
    locks: PathBuf,
}

impl RepositoryLayout {
    /// Parses the settings.
    pub fn new(settings: &BackupSettings) -> Result<Self, BackupError> {
        let wrong = |message: String| BackupError { kind: BackupErrorKind::Unavailable, message };
        let folder = &settings.folder;
        let own = folder.join("repositories");
        let text = if settings.destination.is_empty() {
            own.to_string_lossy().into_owned()
        } else {
            settings.destination.clone()
        };
        let parse = |text: &str| Destination::parse(text).map_err(|e| wrong(e.to_string()));
        let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let destination = Storage {
            credentials: file(&settings.credentials),
            endpoint: set(&settings.endpoint),
            region: set(&settings.region),
            virtual_hosted_style: settings.virtual_hosted_style,
            ca: file(&settings.ca),
            append_only: settings.append_only,
            ..Storage::new(parse(&text)?)
        };
        let bucket = text.starts_with("gs://") || text.starts_with("s3://");
        let local = bucket.then(|| parse(&own.to_string_lossy())).transpose()?.map(Storage::new);
        Ok(Self { destination, local, own, locks: folder.join("locks") })
    }

    /// Whether backups go to a bucket, with copies on this host.
    pub fn has_bucket(&self) -> bool {
        self.local.is_some()
    }

    /// The address of the destination.
    pub fn address(&self) -> String {
        self.destination.destination.to_string()
    }

    /// The address of the folder on this host, which is the destination if none is set.
    pub fn own_address(&self) -> String {
        self.own.to_string_lossy().into_owned()
    }

    /// The copies on this host, when the destination is a bucket.
    pub fn local(&self, vault: &Vault, id: &str) -> Option<Repository> {
        let local = self.local.as_ref()?;
        Some(repository(local, &self.locks, "local", vault, id))
    }

    /// The repository at the destination, whose identity is not verified.
    pub fn offsite(&self, vault: &Vault, id: &str) -> Repository {
        repository(&self.destination, &self.locks, "last", vault, id)
    }
}

fn repository(
    storage: &Storage,
    locks: &std::path::Path,
    which: &str,
    vault: &Vault,
    id: &str,
) -> Repository {
    Repository {
        storage: storage.clone(),
        folder: id.to_owned(),
        lock: locks.join(format!("{id}.{which}")),
        key: repository_key(vault, id),
        destination_id: None,
    }
}

/// The key of the repository `id`. It is derived from the master key, which alone is sufficient to
/// open every repository (see `docs/backups.md`).
pub(crate) fn repository_key(vault: &Vault, id: &str) -> RepositoryKey {
    let mut password = String::new();
    for byte in vault.derive(&format!("repository-password/{id}")).iter() {
        // Writing to a String cannot fail.
        let _ = write!(password, "{byte:02x}");
    }
    let mut master = [0; 64];
    master[..32].copy_from_slice(&*vault.derive(&format!("repository-key-1/{id}")));
    master[32..].copy_from_slice(&*vault.derive(&format!("repository-key-2/{id}")));
    RepositoryKey::new(Secret::new(password), master)
}

impl Backups {
    /// A job, on a repository if it needs one.
    pub(crate) fn job(&self, repository: impl Into<Option<Repository>>, work: Work) -> Job {
        let settings = &self.inner.settings;
        // A restore reads twenty packs at the same time, compressed and not.
        let factor = if matches!(work, Work::Restore { .. }) { 2 } else { 1 };
        Job {
            repository: repository.into(),
            limits: WorkerLimits {
                memory_mib: settings.worker_memory_mib * factor,
                threads: settings.threads(),
            },
            work,
        }
    }
}
