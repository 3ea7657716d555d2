//! Checks that all data of the snapshots is there.

use std::collections::BTreeSet;

use rustic_core::{CheckOptions, OpenStatus, ReadSubsetOption, Repository as Rustic};

use crate::{BackupError, BackupErrorKind, ReadData};

/// How many errors are reported.
const NAMED: usize = 3;

/// Checks the repository; returns how many bytes of stored data were read.
pub(crate) fn check(rustic: Rustic<OpenStatus>, read: ReadData) -> Result<u64, BackupError> {
    let mut options = CheckOptions::default().read_data(read != ReadData::Nothing);
    if let ReadData::Part { n, of } = read {
        options = options.read_data_subset(ReadSubsetOption::IdSubSet((n, of.max(1))));
    }
    let results = rustic.check(options).map_err(|e| BackupError::of("check the repository", &e))?;
    if results.is_ok().is_err() {
        let found: BTreeSet<String> =
            results.0.iter().map(|(_, error)| error.to_string()).collect();
        let more = found.len().saturating_sub(NAMED);
        let named: Vec<_> = found.into_iter().take(NAMED).collect();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let text = format!(
            "the repository is damaged: {}{more}. Restore from another copy, or put the file back",
            named.join("; ")
        );
        return Err(BackupError::new(BackupErrorKind::Damaged, text));
    }
    Ok(0)
}
