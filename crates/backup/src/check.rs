//! Checks that all data of the snapshots is there.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use rustic_core::{CheckOptions, OpenStatus, ReadSubsetOption, Repository as Rustic, TreeId};

use crate::{
    BackupError, BackupErrorKind, ReadData, panics::is_index_in_use, snapshot::Snapshots, text,
};

/// How many errors are reported.
const NAMED: usize = 3;
/// How often a check is begun again because rustic's threads did not end in time.
const RETRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Checks that the data of all snapshots is there.
pub(crate) fn check(rustic: &Rustic<OpenStatus>, read: ReadData) -> Result<(), BackupError> {
    let trees = |all: &Snapshots| all.valid.iter().map(|(_, file)| file.tree).collect();
    check_trees(rustic, trees(&Snapshots::read(rustic)?), read)
}

/// Checks that the data of these trees is there.
pub(crate) fn check_trees(
    rustic: &Rustic<OpenStatus>,
    trees: Vec<TreeId>,
    read: ReadData,
) -> Result<(), BackupError> {
    let mut options = CheckOptions::default().read_data(read != ReadData::Nothing);
    if let ReadData::Part { n, of } = read {
        options = options.read_data_subset(ReadSubsetOption::IdSubSet((n, of.max(1))));
    }
    let results = patiently(|| rustic.check_with_trees(options, trees.clone()));
    let results = results.map_err(|e| BackupError::of("check the repository", &e))?;
    if results.is_ok().is_ok() {
        return Ok(());
    }
    // The type of the level has no public name.
    let errors = results.0.iter().filter(|(level, _)| format!("{level:?}") == "Error");
    Err(damaged(errors.map(|(_, error)| text::finding(&error.to_string())).collect()))
}

/// An error that names the first of these findings.
fn damaged(found: BTreeSet<String>) -> BackupError {
    let more = found.len().saturating_sub(NAMED);
    let named: Vec<_> = found.into_iter().take(NAMED).collect();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let text = format!("the repository is damaged: {}{more}", named.join("; "));
    BackupError::new(BackupErrorKind::Damaged, text)
}

/// An error that names the damaged snapshot files, if there are any.
pub(crate) fn check_snapshots(rustic: &Rustic<OpenStatus>) -> Result<(), BackupError> {
    let names = Snapshots::read(rustic)?.damaged_names();
    if names.is_empty() {
        return Ok(());
    }
    Err(damaged(names.iter().map(|name| format!("cannot read the snapshot file {name}")).collect()))
}

/// rustic gives its threads 100 ms to release the index and panics after that. On a busy machine
/// that is too short, and says nothing about the repository.
fn patiently<T>(work: impl Fn() -> T) -> T {
    for _ in 0..RETRIES {
        match catch_unwind(AssertUnwindSafe(&work)) {
            Ok(done) => return done,
            Err(panic) if text_of(panic.as_ref()).is_some_and(is_index_in_use) => {
                drop(panic);
                std::thread::sleep(PAUSE);
            }
            Err(panic) => resume_unwind(panic),
        }
    }
    work()
}

fn text_of(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_check_whose_threads_end_late_is_done_again_and_no_other_one() {
        let runs = Cell::new(0);
        let fails = |times: u32, why: &'static str| {
            runs.set(0);
            let work = || {
                runs.set(runs.get() + 1);
                assert!(runs.get() > times, "{why}");
                "done"
            };
            catch_unwind(AssertUnwindSafe(|| patiently(work)))
        };
        assert_eq!(fails(3, "index still in use: Index").ok(), Some("done"));
        assert_eq!(runs.get(), 4);
        assert!(fails(100, "index still in use").is_err());
        assert_eq!(runs.get(), RETRIES + 1);
        assert!(fails(100, "a pack is missing").is_err());
        assert_eq!(runs.get(), 1);
    }
}
