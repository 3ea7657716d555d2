//! Room on the disk of the instances for restores that run at the same time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use startclaw_backup::{BackupError, BackupErrorKind};
use startclaw_engine::{free_space, lack_of_space, space_for};
use startclaw_model::{InstanceId, Operation, OperationId, SnapshotId, StepName};

use crate::{Backups, take::inside};

/// The bytes that each running restore will still write.
#[derive(Debug, Default)]
pub(crate) struct Space(Mutex<HashMap<OperationId, u64>>);

/// The room of one restore, released when dropped.
pub(crate) struct Room<'a> {
    space: &'a Space,
    id: OperationId,
    needed: u64,
}

impl Space {
    fn pending(&self) -> MutexGuard<'_, HashMap<OperationId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for `needed` bytes on a disk with `free` ones, beside the other restores.
    fn take(&self, id: &OperationId, needed: u64, free: Option<u64>) -> Result<Room<'_>, String> {
        let mut pending = self.pending();
        let others: u64 =
            pending.iter().filter(|(other, _)| *other != id).map(|(_, bytes)| bytes).sum();
        let left = free.map(|free| free.saturating_sub(others));
        if let Some(why) = left.and_then(|left| lack_of_space(needed, left)) {
            return Err(why);
        }
        pending.insert(id.clone(), needed);
        Ok(Room { space: self, id: id.clone(), needed })
    }
}

impl Room<'_> {
    /// Notes that so many bytes are written: they are not free any more.
    pub fn written(&self, bytes: u64) {
        self.space.pending().insert(self.id.clone(), self.needed.saturating_sub(bytes));
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.space.pending().remove(&self.id);
    }
}

impl Backups {
    /// Begins the step that creates the volume of a restore with a look whether there is room: the
    /// disk may have filled since the request, and recovered instances are restored without one.
    pub(crate) async fn room_for(
        &self,
        operation: &mut Operation,
        source: &InstanceId,
        snapshot: &SnapshotId,
    ) -> Result<Room<'_>, BackupError> {
        self.engine.step(operation, StepName::Volume).await;
        let known = self.engine.store().snapshots(source).await.map_err(inside)?;
        let needed = known.iter().find(|s| s.id == *snapshot).map_or(0, space_for);
        let free = free_space(self.engine.host().as_ref()).await;
        self.inner.space.take(&operation.id, needed, free).map_err(|message| BackupError {
            // It passes when space is freed, or when another restore ends.
            kind: BackupErrorKind::Unavailable,
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restores_at_the_same_time_do_not_count_on_the_same_room() {
        const GIB: u64 = 1 << 30;
        let (space, one, other) = (Space::default(), OperationId::new(), OperationId::new());
        let first = space.take(&one, 4 * GIB, Some(6 * GIB)).unwrap();
        assert!(space.take(&other, 4 * GIB, Some(6 * GIB)).is_err());
        first.written(3 * GIB);
        assert!(space.take(&other, GIB, Some(3 * GIB)).is_ok());
        drop(first);
        assert!(space.take(&other, 4 * GIB, Some(5 * GIB)).is_ok());
        assert!(space.take(&other, u64::MAX, None).is_ok(), "it is not known");
    }
}
