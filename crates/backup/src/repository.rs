//! Opens and creates repositories.

use std::sync::Arc;

use rustic_core::{
    ConfigOptions, KeyOptions, Open, OpenStatus, Repository as Rustic, RepositoryBackends,
    RepositoryOptions, repofile::ConfigFile,
};

use crate::{
    BackupError, BackupErrorKind, Repository,
    lock::Lock,
    meter::{Bars, Meter},
    objects::{self, Backend, ObjectError, Objects},
};

/// A repository that is locked for writing.
pub(crate) struct Opened {
    pub rustic: Rustic<OpenStatus>,
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
    let what = format!("open the repository at {}", objects.location());
    let failed = |e: Box<rustic_core::RusticError>| BackupError::of_open(&what, &e);
    let there = is_there(objects.as_ref())?;
    let bare = bare(objects, meter).map_err(&failed)?;
    let credentials = repository.key.credentials()?;
    let rustic = if there {
        bare.open(&credentials).map_err(failed)?
    } else {
        let options = KeyOptions::default();
        let made = match make {
            Make::Never => return Ok(None),
            Make::Fresh => bare.init(&credentials, &options, &ConfigOptions::default()),
            Make::Like(config) => bare.init_with_config(&credentials, &options, config.clone()),
        };
        made.map_err(failed)?
    };
    // The config is written before the key: a crash in between is repaired here.
    if rustic.list::<rustic_core::repofile::KeyId>().map_err(failed)?.next().is_none() {
        let password = repository.key.password();
        let added = rustic.add_key(password.expose(), &KeyOptions::default());
        added.map_err(failed)?;
    }
    Ok(Some(Opened { rustic, lock }))
}

/// The repository's configuration, with its chunker parameters.
pub(crate) fn config<S: Open>(rustic: &Rustic<S>) -> ConfigFile {
    rustic.config().clone()
}

fn is_there(objects: &dyn Objects) -> Result<bool, BackupError> {
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
    objects: Arc<dyn Objects>,
    meter: &Arc<Meter>,
) -> Result<Rustic<()>, Box<rustic_core::RusticError>> {
    let backend = Backend { objects, meter: meter.clone() };
    let backends = RepositoryBackends::new(Arc::new(backend), None);
    let options = RepositoryOptions::default().no_cache(true);
    Rustic::new_with_progress(&options, &backends, Bars(meter.clone()))
}
