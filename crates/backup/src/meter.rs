//! Progress of a worker, and its liveness.

use std::sync::atomic::{AtomicU64, Ordering};

use std::sync::Arc;

use rustic_core::{Progress as RusticBar, ProgressBars, ProgressType, RusticProgress};

use crate::Progress;

/// Counts files and bytes. Every count is also a sign of life.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    files: AtomicU64,
    bytes: AtomicU64,
    total: AtomicU64,
    signs: AtomicU64,
    packs: AtomicU64,
}

impl Meter {
    /// A sign of life.
    pub fn live(&self) {
        self.signs.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of stored data were read.
    pub fn pack(&self, bytes: u64) {
        self.packs.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes of stored data were read.
    pub fn packs(&self) -> u64 {
        self.packs.load(Ordering::Relaxed)
    }

    /// So many more bytes are done.
    pub fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.live();
    }

    /// One more file is done.
    pub fn file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.live();
    }

    /// Starts again, with the total if it is known (0 if not).
    pub fn begin(&self, total: u64) {
        self.files.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.live();
    }

    /// The progress, and a number that changes with every sign of life.
    pub fn read(&self) -> (Progress, u64) {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let total = get(&self.total);
        let now = Progress {
            files: get(&self.files),
            bytes: get(&self.bytes),
            total_files: None,
            total_bytes: (total > 0).then_some(total),
        };
        (now, get(&self.signs))
    }
}

/// The meter as the progress bars of rustic.
#[derive(Debug, Clone)]
pub(crate) struct Bars(pub Arc<Meter>);

impl ProgressBars for Bars {
    fn progress(&self, kind: ProgressType, _: &str) -> RusticBar {
        let bytes = matches!(kind, ProgressType::Bytes);
        RusticBar::new(Bar { meter: self.0.clone(), bytes })
    }
}

#[derive(Debug)]
struct Bar {
    meter: Arc<Meter>,
    /// Whether it counts bytes: only those are shown.
    bytes: bool,
}

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        !self.bytes
    }

    fn set_length(&self, length: u64) {
        if self.bytes {
            self.meter.bytes.store(0, Ordering::Relaxed);
            self.meter.total.store(length, Ordering::Relaxed);
        }
        self.meter.live();
    }

    fn set_title(&self, _: &str) {}

    fn inc(&self, by: u64) {
        if self.bytes {
            self.meter.bytes.fetch_add(by, Ordering::Relaxed);
        }
        self.meter.live();
    }

    fn finish(&self) {
        self.meter.live();
    }
}
