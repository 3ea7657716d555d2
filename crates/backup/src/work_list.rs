//! A list of work for several threads, to which work may add.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Tasks that wait, and how many are being worked on.
pub(crate) struct WorkList<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    busy: usize,
}

impl<T> Default for WorkList<T> {
    fn default() -> Self {
        let state = State { waiting: Vec::new(), busy: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> WorkList<T> {
    pub fn add(&self, tasks: Vec<T>) {
        self.lock().waiting.extend(tasks);
        self.changed.notify_all();
    }

    /// Works until nothing is left, also in other threads. The newest task comes first, so that few
    /// folders of a tree are open at once.
    pub fn work(&self, mut work: impl FnMut(T) -> Vec<T>) {
        while let Some(task) = self.next() {
            let more = work(task);
            let mut state = self.lock();
            state.busy -= 1;
            let idle = state.busy == 0;
            // One waiting thread for each task beyond the one that this thread takes itself.
            let for_others = more.len().saturating_sub(1);
            state.waiting.extend(more);
            let over = idle && state.waiting.is_empty();
            drop(state);
            if over || for_others > 0 {
                self.changed.notify_all();
            }
        }
    }

    /// The next task; `None` when there will be none.
    fn next(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.waiting.pop() {
                state.busy += 1;
                return Some(task);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn every_task_is_done_once_also_those_that_tasks_add() {
        let (list, done) = (WorkList::default(), AtomicU32::new(0));
        list.add(vec![9_u32]);
        let work = || {
            list.work(|n| {
                done.fetch_add(1, Ordering::Relaxed);
                (0..n).collect()
            });
        };
        std::thread::scope(|threads| {
            (0..4).for_each(|_| {
                threads.spawn(work);
            });
        });
        // Each number n adds all smaller ones: 2^n tasks.
        assert_eq!(done.into_inner(), 512);
    }
}
