//! Whether the disk has room for a restore: a disk that is full stops every instance on it.

use startclaw_host::Host;
use startclaw_model::Snapshot;

use crate::{Engine, EngineError};

/// Bytes that stay free, for the instances that run.
pub const SPACE_RESERVE: u64 = 1 << 30;
/// Bytes that a file takes beyond its content: the rest of its last block, and its entry.
const PER_FILE: u64 = 4096;
/// A tenth of a GiB, in bytes.
const TENTH: u64 = (1 << 30) / 10;
/// Metadata of the file system, as one part in this many of the content.
const METADATA_PART: u64 = 20;

/// Bytes on disk that a restore of a snapshot takes. The volume that is there counts as used: it is
/// kept until the instance is live on the restored one, and for an undo.
pub fn space_for(snapshot: &Snapshot) -> u64 {
    let Snapshot { bytes, files, .. } = snapshot;
    bytes.saturating_add(bytes / METADATA_PART).saturating_add(files.saturating_mul(PER_FILE))
}

/// Bytes that are free on the disk of the instances; `None` if the host does not tell.
pub async fn free_space(host: &dyn Host) -> Option<u64> {
    let machine = host.admin().machine().await.unwrap_or_else(|e| {
        // The restore itself then says what is wrong.
        tracing::warn!(error = %e.message, "the free space is not known");
        None
    });
    machine?.instances.map(|disk| disk.available)
}

/// Why `needed` more bytes do not fit on a disk with this many `free` ones; `None` if they do.
pub fn lack_of_space(needed: u64, free: u64) -> Option<String> {
    let wanted = needed.saturating_add(SPACE_RESERVE);
    (wanted > free).then(|| {
        format!(
            "the disk of the instances has no room for it: {} are needed beside the data that are there, {} are free; \
             free some space (docker image prune, docker builder prune) or make the disk larger, and try again",
            gib(wanted.div_ceil(TENTH)),
            gib(free / TENTH)
        )
    })
}

/// Tenths of a GiB, as text.
fn gib(tenths: u64) -> String {
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

impl Engine {
    /// Refuses a restore that does not fit, before anything is changed for it.
    pub(crate) async fn check_space(&self, snapshot: &Snapshot) -> Result<(), EngineError> {
        let free = free_space(self.inner.host.as_ref()).await;
        match free.and_then(|free| lack_of_space(space_for(snapshot), free)) {
            Some(why) => Err(EngineError::DiskFull(why)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_free_is_not_room_for_a_restore() {
        assert_eq!(lack_of_space(5 << 30, 6 << 30), None);
        let why = lack_of_space(5 << 30, (6 << 30) - 1).unwrap();
        assert!(why.contains("6.1 GiB are needed") && why.contains("6.0 GiB are free"), "{why}");
        assert!(lack_of_space(u64::MAX, u64::MAX - 1).is_some());
    }
}
