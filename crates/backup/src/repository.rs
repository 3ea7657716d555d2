//! Opens and creates repositories.

use std::sync::Arc;

use rustic_core::{
    ConfigOptions, KeyOptions, Open, OpenStatus, Repository as Rustic, RepositoryBackends,
    RepositoryOptions, RusticError, WriteBackend,
    repofile::{ConfigFile, KeyId},
};

use crate::{
    BackupError, BackupErrorKind, Repository, keys,
    lock::Lock,
    meter::{Bars, Meter},
    objects::{self, Backend, ObjectError, Objects},
};

/// A repository that is locked for writing.
pub(crate) struct Opened {
    pub rustic: Rustic<OpenStatus>,
    pub objects: Arc<dyn Objects>,
    pub lock: Lock,
}

/// Whether and how to create a missing repository.
pub(crate) enum Make<'a> {
    /// Do not create it.
    Never,
    /// With new parameters.
    Fresh,
    /// With the same chunker parameters, so that data can be copied between both unchanged.
    Like(&'a ConfigFile),
}

/// Opens a repository; `None` when it does not exist and is not to be created.
pub(crate) fn open(
    repository: &Repository,
    make: Make<'_>,
    meter: &Arc<Meter>,
) -> Result<Option<Opened>, BackupError> {
    let lock = Lock::take(&repository.lock)?;
    let objects = objects::open(repository)?;
    let there = is_there(objects.as_ref())?;
    let location = objects.location();
    let backend = Arc::new(Backend { objects: objects.clone(), meter: meter.clone() });
    let rustic = if there {
        open_backend(backend, repository, &location, meter)?
    } else {
        match make {
            Make::Never => return Ok(None),
            Make::Fresh => create(backend, repository, &location, meter, None)?,
            Make::Like(config) => create(backend, repository, &location, meter, Some(config))?,
        }
    };
    // The config is written before the key: a crash in between is repaired here.
    let failed = |e: Box<RusticError>| BackupError::of("add the key", &e);
    if rustic.list::<KeyId>().map_err(failed)?.next().is_none() {
        keys::add(&rustic, repository)?;
    }
    Ok(Some(Opened { rustic, objects, lock }))
}

/// Opens an existing repository through this backend.
pub(crate) fn open_backend(
    backend: Arc<dyn WriteBackend>,
    repository: &Repository,
    location: &str,
    meter: &Arc<Meter>,
) -> Result<Rustic<OpenStatus>, BackupError> {
    let what = format!("open the repository at {location}");
    let failed = |e: Box<RusticError>| BackupError::of_open(&what, &e);
    let credentials = repository.key.credentials()?;
    bare(backend, meter).map_err(&failed)?.open(&credentials).map_err(failed)
}

fn create(
    backend: Arc<dyn WriteBackend>,
    repository: &Repository,
    location: &str,
    meter: &Arc<Meter>,
    config: Option<&ConfigFile>,
) -> Result<Rustic<OpenStatus>, BackupError> {
    let what = format!("create a repository at {location}");
    let failed = |e: Box<RusticError>| BackupError::of(&what, &e);
    let credentials = repository.key.credentials()?;
    let options = KeyOptions::default();
    let bare = bare(backend, meter).map_err(&failed)?;
    match config {
        None => bare.init(&credentials, &options, &ConfigOptions::default()),
        Some(config) => bare.init_with_config(&credentials, &options, config.clone()),
    }
    .map_err(failed)
}

/// The repository's configuration, with its chunker parameters.
pub(crate) fn config<S: Open>(rustic: &Rustic<S>) -> ConfigFile {
    rustic.config().clone()
}

/// Whether a repository exists.
pub(crate) fn is_there(objects: &dyn Objects) -> Result<bool, BackupError> {
    let unavailable = |e: ObjectError| e.stop("read", &objects.location());
    if objects.stat("config").map_err(unavailable)?.is_some() {
        return Ok(true);
    }
    // Without its config a repository cannot be read, and creating a new one would overwrite it.
    if objects.list("snapshots").map_err(unavailable)?.is_empty() {
        return Ok(false);
    }
    Err(BackupError::new(
        BackupErrorKind::Damaged,
        format!(
            "the file `config` is missing at {}: put it back from another copy",
            objects.location()
        ),
    ))
}

fn bare(
    backend: Arc<dyn WriteBackend>,
    meter: &Arc<Meter>,
) -> Result<Rustic<()>, Box<RusticError>> {
    let backends = RepositoryBackends::new(backend, None);
    let options = RepositoryOptions::default().no_cache(true);
    Rustic::new_with_progress(&options, &backends, Bars(meter.clone()))
}
