//! Opening a repository, and making one.

use std::sync::Arc;

use rustic_core::{
    ConfigOptions, KeyOptions, Open, OpenStatus, Repository as Rustic, RepositoryBackends,
    RepositoryOptions, repofile::ConfigFile,
};

use crate::{
    BackupError, BackupErrorKind, Repository,
    lock::Lock,
    meter::{Bars, Meter},
    objects::{self, Backend, Objects},
};

/// A repository that nobody else writes to.
pub(crate) struct Opened {
    pub rustic: Rustic<OpenStatus>,
    pub lock: Lock,
}

/// How a repository that is not there is made.
pub(crate) enum Make<'a> {
    /// Not at all.
    Never,
    /// With parameters of its own.
    Fresh,
    /// So that it cuts files alike: then what one has, the other can take over as it is.
    Like(&'a ConfigFile),
}

/// Opens a repository; `None` when there is none and none is to be made.
pub(crate) fn open(
    repository: &Repository,
    make: Make<'_>,
    meter: &Arc<Meter>,
) -> Result<Option<Opened>, BackupError> {
    let lock = Lock::take(&repository.lock)?;
    let objects = objects::open(repository)?;
    let what = format!("open the repository at {}", objects.location());
    let failed = |e: Box<rustic_core::RusticError>| BackupError::of(&what, &e);
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
    // The config is written before the key: a crash in between is made good here.
    if rustic.list::<rustic_core::repofile::KeyId>().map_err(failed)?.next().is_none() {
        let password = repository.key.password();
        let added = rustic.add_key(password.expose(), &KeyOptions::default());
        added.map_err(failed)?;
    }
    Ok(Some(Opened { rustic, lock }))
}

/// The repository's configuration, which says how it cuts files.
pub(crate) fn config<S: Open>(rustic: &Rustic<S>) -> ConfigFile {
    rustic.config().clone()
}

fn is_there(objects: &dyn Objects) -> Result<bool, BackupError> {
    let unavailable = |e: String| {
        let text = format!("cannot look at {}: {e}", objects.location());
        BackupError::new(BackupErrorKind::Unavailable, text)
    };
    if !objects.list("").map_err(unavailable)?.is_empty() {
        return Ok(true);
    }
    // Without its config a repository cannot be read, and a new one would bury the old.
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
