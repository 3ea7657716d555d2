//! The volumes of an instance. A restore writes to a new volume, so there can be three at a time:
//! the one in use, the one that is being filled, and the one that was replaced.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The volumes of an instance, by their generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Volumes {
    /// The one in use.
    pub current: u64,
    /// The highest generation ever used: numbers are never reused.
    pub last: u64,
    /// The one that a restore fills. If that is `current`, the instance is new and not started
    /// before the restore is complete.
    pub filling: Option<u64>,
    /// The previous one.
    pub replaced: Option<Replaced>,
    /// The one that was replaced before, while the current one is on probation: if that ends with a
    /// rollback, the earlier restore can still be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Replaced>,
    /// Whether the instance was never started on the current one: then it may be created empty. Any
    /// other missing volume is lost data, and is never replaced by an empty one. Omitted when
    /// false, so that what was stored before this field existed counts as used.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unused: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A volume that was replaced by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its generation.
    pub generation: u64,
    /// Kept until then.
    pub until: Timestamp,
    /// Whether the current one is on probation: if the instance does not start on it, it is rolled
    /// back to this one.
    #[serde(alias = "on_trial")]
    pub on_probation: bool,
}

impl Volumes {
    /// The volumes of a new instance, whose first one is created empty.
    pub const fn empty() -> Self {
        Self { current: 0, last: 0, filling: None, replaced: None, earlier: None, unused: true }
    }

    /// The volumes of a new instance that is restored from a snapshot.
    pub const fn to_be_filled() -> Self {
        Self { filling: Some(0), unused: false, ..Self::empty() }
    }

    /// Notes that the instance is about to be started on its current volume; `false` when that was
    /// noted before.
    pub fn mark_used(&mut self) -> bool {
        std::mem::take(&mut self.unused)
    }

    /// Whether the current volume must exist and hold data.
    pub fn holds_data(&self) -> bool {
        !self.unused && !self.awaits_restore()
    }

    /// All volumes were lost with the host: the instance gets a new one, which a restore fills or
    /// which stays empty.
    pub fn reset(&mut self, to_be_filled: bool) {
        let next = self.last + 1;
        let filling = to_be_filled.then_some(next);
        *self = Self { current: next, last: next, filling, unused: !to_be_filled, ..Self::empty() };
    }

    /// Whether nothing was ever restored.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the volume in use waits for a restore.
    pub fn awaits_restore(&self) -> bool {
        self.filling == Some(self.current)
    }

    /// Whether the volume in use is on probation.
    pub fn is_on_probation(&self) -> bool {
        self.replaced.is_some_and(|r| r.on_probation)
    }

    /// The generations of the volumes that are needed.
    pub fn kept(&self) -> Vec<u64> {
        let [replaced, earlier] = [self.replaced, self.earlier].map(|r| r.map(|r| r.generation));
        let mut kept: Vec<_> =
            [Some(self.current), self.filling, replaced, earlier].into_iter().flatten().collect();
        kept.sort_unstable();
        kept.dedup();
        kept
    }

    /// Begins a restore; returns the generation to fill.
    pub fn begin(&mut self) -> u64 {
        self.last += 1;
        self.filling = Some(self.last);
        self.last
    }

    /// The restore failed.
    pub fn abort_restore(&mut self) {
        self.filling = None;
    }

    /// The volume is filled: the instance is switched to it, on probation, and the previous one is
    /// kept until `until`.
    pub fn filled(&mut self, until: Timestamp) {
        let Some(generation) = self.filling.take() else { return };
        self.unused = false;
        self.switch_to(generation, until);
    }

    /// The replaced volume is lost: a rollback to it is impossible. `false` when there was none.
    pub fn forget_replaced(&mut self) -> bool {
        let earlier = self.earlier.take().filter(|r| r.generation != self.current);
        std::mem::replace(&mut self.replaced, earlier).is_some()
    }

    /// Switches back to the volume that was replaced last; `false` when there is none.
    pub fn undo(&mut self, until: Timestamp) -> bool {
        let Some(replaced) = self.replaced.filter(|r| !r.on_probation) else { return false };
        self.switch_to(replaced.generation, until);
        true
    }

    fn switch_to(&mut self, generation: u64, until: Timestamp) {
        if generation != self.current {
            self.earlier = self.replaced;
            self.replaced = Some(Replaced { generation: self.current, until, on_probation: true });
            self.current = generation;
        }
    }

    /// The instance started on its volume: probation is over.
    pub fn confirm(&mut self) {
        if let Some(replaced) = &mut self.replaced {
            replaced.on_probation = false;
            self.earlier = None;
        }
    }

    /// The instance did not start on its volume: switches back to the previous one. `false` when
    /// the volume is not on probation.
    pub fn rollback(&mut self) -> bool {
        match self.replaced {
            Some(replaced) if replaced.on_probation => {
                self.current = replaced.generation;
                self.replaced = self.earlier.take();
                true
            }
            _ => false,
        }
    }

    /// Until when a confirmed restore can be undone; `None` when it cannot.
    pub fn undo_until(&self) -> Option<Timestamp> {
        self.replaced.filter(|r| !r.on_probation && self.filling.is_none()).map(|r| r.until)
    }

    /// Drops a replaced volume whose retention has ended; `false` when there is none.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let over = self.replaced.is_some_and(|r| !r.on_probation && r.until <= now);
        if over {
            self.replaced = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn a_restore_that_works_keeps_the_old_volume_for_a_while_and_can_be_undone() {
        let mut volumes = Volumes::default();
        assert_eq!(volumes.begin(), 1);
        assert!(
            volumes.kept().contains(&0) && volumes.kept().contains(&1) && !volumes.awaits_restore()
        );
        volumes.filled(LATER);
        assert!(volumes.current == 1 && volumes.is_on_probation());
        assert!(!volumes.undo(LATER), "not while it is on probation");
        volumes.confirm();
        assert!(!volumes.expire(Timestamp::from_millis(999)) && volumes.kept().contains(&0));
        assert!(volumes.undo(LATER));
        volumes.confirm();
        assert!(volumes.current == 0 && volumes.kept().contains(&1));
        assert!(volumes.expire(LATER) && !volumes.kept().contains(&1) && !volumes.undo(LATER));
        assert_eq!(volumes.begin(), 2, "a number is never used twice");
    }

    #[test]
    fn a_volume_on_which_it_does_not_come_up_is_left() {
        let mut volumes = Volumes::default();
        volumes.begin();
        volumes.filled(LATER);
        assert!(!volumes.expire(LATER), "not while it is needed for a rollback");
        assert!(volumes.rollback());
        assert!(volumes.current == 0 && !volumes.kept().contains(&1) && !volumes.rollback());
    }

    #[test]
    fn an_earlier_restore_can_be_undone_after_a_later_one_failed() {
        let mut volumes = Volumes::default();
        volumes.begin();
        volumes.filled(LATER);
        volumes.confirm();
        volumes.begin();
        volumes.filled(LATER);
        assert_eq!(volumes.kept(), [0, 1, 2], "all three, until it is known which one works");
        assert!(volumes.rollback());
        assert_eq!((volumes.current, volumes.kept()), (1, vec![0, 1]));
        assert!(volumes.undo(LATER), "to the volume before the first restore");
        assert!(volumes.rollback(), "which does not work either");
        assert_eq!((volumes.current, volumes.kept()), (1, vec![0, 1]));
        assert!(volumes.undo(LATER));
        volumes.confirm();
        assert_eq!((volumes.current, volumes.kept()), (0, vec![0, 1]));
        assert!(volumes.undo(LATER) && volumes.forget_replaced());
        assert_eq!((volumes.current, volumes.kept()), (1, vec![1]), "the other one is lost");
        volumes = Volumes { current: 0, last: 1, ..Volumes::default() };
        volumes.begin();
        volumes.filled(LATER);
        volumes.confirm();
        assert_eq!(volumes.kept(), [0, 2], "only the last one is kept once it works");
    }

    #[test]
    fn after_the_loss_of_all_a_new_one_is_filled_and_no_old_one_is_wanted() {
        let mut volumes = Volumes::default();
        volumes.begin();
        volumes.filled(LATER);
        volumes.reset(true);
        assert!(volumes.current == 2 && volumes.awaits_restore());
        assert!(
            !volumes.kept().contains(&0) && !volumes.kept().contains(&1) && !volumes.rollback()
        );
        volumes.filled(LATER);
        assert!(volumes.current == 2 && !volumes.awaits_restore() && volumes.replaced.is_none());
        assert!(volumes.holds_data());
        volumes.reset(false);
        assert!(volumes.current == 3 && !volumes.awaits_restore() && !volumes.holds_data());
    }

    #[test]
    fn a_volume_may_be_created_empty_only_before_the_first_start() {
        let mut volumes = Volumes::empty();
        assert!(!volumes.holds_data() && !volumes.is_plain());
        let stored = serde_json::to_string(&volumes).unwrap();
        assert_eq!(serde_json::from_str::<Volumes>(&stored).unwrap(), volumes);
        assert!(volumes.mark_used() && !volumes.mark_used());
        assert!(volumes.holds_data() && volumes.is_plain());
        let before = r#"{"current":1,"last":1,"filling":null,"replaced":null}"#;
        let volumes: Volumes = serde_json::from_str(before).unwrap();
        assert!(volumes.holds_data(), "what an older version stored counts as used");
        assert_eq!(serde_json::to_string(&volumes).unwrap(), before);
        assert!(!Volumes::to_be_filled().holds_data(), "a restore fills it");
    }

    #[test]
    fn a_new_instance_waits_for_its_volume_and_has_nothing_to_fall_back_to() {
        let mut volumes = Volumes::to_be_filled();
        assert!(volumes.awaits_restore());
        volumes.filled(LATER);
        assert_eq!(volumes, Volumes::default());
    }
}
