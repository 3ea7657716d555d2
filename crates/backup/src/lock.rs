//! One writer for each repository: a lock file, which the kernel releases when the process ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::{BackupError, BackupErrorKind};

/// How long to wait for another writer: a worker whose daemon ended exits soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lock, released when dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    pub fn take(path: &Path) -> Result<Self, BackupError> {
        Self::take_within(path, PATIENCE)
    }

    fn take_within(path: &Path, patience: Duration) -> Result<Self, BackupError> {
        let wrong = |e: &dyn std::fmt::Display| {
            let text = format!("cannot lock {}: {e}", path.display());
            BackupError::new(BackupErrorKind::Unavailable, text)
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(|e| wrong(&e))?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    let _ = file.take(32).read_to_string(&mut holder);
                    let text = format!(
                        "the repository is being written to by process {}; waited {} s for it",
                        holder.trim(),
                        patience.as_secs()
                    );
                    return Err(BackupError::new(BackupErrorKind::Busy, text));
                }
                Err(e) => return Err(wrong(&e)),
            }
        }
        let pid = std::process::id();
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{pid}"));
        written.map_err(|e| wrong(&e))?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_writer_and_who_waits_in_vain_is_told_for_whom() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/a");
        let held = Lock::take(&path).unwrap();
        let refused = Lock::take_within(&path, Duration::from_millis(120)).unwrap_err();
        assert_eq!(refused.kind, BackupErrorKind::Busy);
        assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        Lock::take_within(&path, Duration::ZERO).unwrap();
    }
}
