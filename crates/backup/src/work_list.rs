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
            let _busy = Busy(self);
            let more = work(task);
            self.lock().waiting.extend(more);
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

/// A task that is being worked on. The other threads wait for its end, also when it panics.
struct Busy<'a, T>(&'a WorkList<T>);

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        // This thread takes one task itself.
        if state.busy == 0 || state.waiting.len() > 1 {
            self.0.changed.notify_all();
        }
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

    #[test]
    fn a_task_that_panics_holds_no_thread() {
        let list = WorkList::default();
        list.add(vec![true]);
        let work = || {
            list.work(|panics| {
                assert!(!panics, "on purpose");
                Vec::new()
            });
        };
        let ends = std::thread::scope(|threads| {
            let all: Vec<_> = (0..2).map(|_| threads.spawn(work)).collect();
            all.into_iter().map(|thread| thread.join().is_err()).filter(|failed| *failed).count()
        });
        assert_eq!(ends, 1);
    }
}
