//! The queue of instances to reconcile. An instance is in it once, is handled by one worker at a
//! time, and is handled again if it was pushed meanwhile.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use startclaw_model::InstanceId;
use tokio::{sync::Notify, time::Instant};

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    /// Notified whenever an instance is given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: HashMap<InstanceId, Item>,
    /// May contain outdated times; the item's own `due` is authoritative.
    times: BinaryHeap<Reverse<(Instant, InstanceId)>>,
}

#[derive(Debug, Default)]
struct Item {
    due: Option<Instant>,
    busy: bool,
    /// It was pushed since it was last taken.
    dirty: bool,
}

/// An instance that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub id: InstanceId,
    /// It was pushed: something changed.
    pub dirty: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reconcile it at once, or as soon as the worker that has it is done.
    pub fn push(&self, id: &InstanceId) {
        self.push_at(id, Instant::now());
    }

    fn push_at(&self, id: &InstanceId, when: Instant) {
        let mut state = self.state();
        let item = state.items.entry(id.clone()).or_default();
        item.dirty = true;
        if item.due.is_some_and(|due| due <= when) {
            return;
        }
        item.due = Some(when);
        if !item.busy {
            state.times.push(Reverse((when, id.clone())));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Waits for the next instance that is due. It belongs to the caller until [`Queue::done`].
    pub async fn next(&self) -> Due {
        loop {
            let wait = match self.take() {
                Ok(due) => {
                    // Others may be due too, and a notification wakes only one worker.
                    self.wake.notify_one();
                    return due;
                }
                Err(wait) => wait,
            };
            let woken = self.wake.notified();
            match wait {
                Some(when) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(when) => {}
                        () = woken => {}
                    }
                }
                None => woken.await,
            }
        }
    }

    /// A due instance, or when the next one is due.
    fn take(&self) -> Result<Due, Option<Instant>> {
        let mut state = self.state();
        let now = Instant::now();
        while let Some(Reverse((when, id))) = state.times.peek().cloned() {
            let current = state.items.get(&id).is_some_and(|i| !i.busy && i.due == Some(when));
            if current && when > now {
                return Err(Some(when));
            }
            state.times.pop();
            if current && let Some(item) = state.items.get_mut(&id) {
                item.busy = true;
                item.due = None;
                return Ok(Due { id, dirty: std::mem::take(&mut item.dirty) });
            }
        }
        Err(None)
    }

    /// Gives an instance back; `again` is when to reconcile it if it is not pushed before.
    pub fn done(&self, id: &InstanceId, again: Option<Instant>) {
        let mut state = self.state();
        let Some(item) = state.items.get_mut(id) else { return };
        item.busy = false;
        let due = [item.due, again].into_iter().flatten().min();
        item.due = due;
        match due {
            Some(when) => state.times.push(Reverse((when, id.clone()))),
            None => {
                state.items.remove(id);
            }
        }
        drop(state);
        self.freed.notify_waiters();
        self.wake.notify_one();
    }

    /// Locks an instance against workers; waits until none has it. When the lock is dropped, it is
    /// reconciled at once.
    pub async fn lock(&self, id: &InstanceId) -> InstanceLock<'_> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.try_lock(id) {
                return InstanceLock { queue: self, id: id.clone() };
            }
            freed.await;
        }
    }

    fn try_lock(&self, id: &InstanceId) -> bool {
        let mut state = self.state();
        let item = state.items.entry(id.clone()).or_default();
        let free = !item.busy;
        item.busy = true;
        free
    }

    /// The number of instances that are due now.
    pub fn backlog(&self) -> usize {
        let now = Instant::now();
        self.state().items.values().filter(|i| i.due.is_some_and(|due| due <= now)).count()
    }
}

/// The lock of an instance, which no worker handles meanwhile.
pub struct InstanceLock<'a> {
    queue: &'a Queue,
    id: InstanceId,
}

impl Drop for InstanceLock<'_> {
    fn drop(&mut self) {
        if let Some(item) = self.queue.state().items.get_mut(&self.id) {
            item.dirty = true;
        }
        self.queue.done(&self.id, Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(n: u32) -> InstanceId {
        InstanceId(n.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_time_wins_and_each_comes_once() {
        let queue = Queue::default();
        let now = Instant::now();
        queue.push_at(&id(1), now + Duration::from_secs(5));
        queue.push_at(&id(2), now + Duration::from_secs(3));
        queue.push_at(&id(1), now + Duration::from_secs(1));
        queue.push_at(&id(1), now + Duration::from_secs(9));
        assert_eq!(queue.next().await.id, id(1));
        assert_eq!(now.elapsed(), Duration::from_secs(1));
        assert_eq!(queue.next().await.id, id(2));
        assert_eq!(now.elapsed(), Duration::from_secs(3));
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_worker_has_an_instance_and_news_meanwhile_are_not_lost() {
        let queue = Queue::default();
        queue.push(&id(1));
        assert_eq!(queue.next().await.id, id(1));
        queue.push(&id(1));
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
        queue.done(&id(1), Some(Instant::now() + Duration::from_secs(9)));
        assert_eq!(queue.next().await, Due { id: id(1), dirty: true });
        queue.done(&id(1), Some(Instant::now()));
        assert_eq!(queue.next().await, Due { id: id(1), dirty: false });
        queue.done(&id(1), None);
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_waits_for_the_worker_and_keeps_others_out() {
        let queue = Queue::default();
        queue.push(&id(1));
        let due = queue.next().await;
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.lock(&id(1))).await.is_err());
        queue.done(&due.id, Some(Instant::now()));
        let hold = queue.lock(&id(1)).await;
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
        drop(hold);
        assert_eq!(queue.next().await, Due { id: id(1), dirty: true });
    }

    #[tokio::test]
    async fn many_workers_share_many_instances() {
        let queue = std::sync::Arc::new(Queue::default());
        let (sent, mut got) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..8 {
            let (queue, sent) = (queue.clone(), sent.clone());
            tokio::spawn(async move {
                loop {
                    let id = queue.next().await.id;
                    sent.send(id.clone()).unwrap();
                    tokio::task::yield_now().await;
                    queue.done(&id, None);
                }
            });
        }
        for n in 0..1000 {
            queue.push(&id(n));
        }
        let mut seen = std::collections::HashSet::new();
        while seen.len() < 1000 {
            seen.insert(
                tokio::time::timeout(Duration::from_secs(5), got.recv()).await.unwrap().unwrap(),
            );
        }
    }
}
