//! Peak memory of programs while they run.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::Duration,
};

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Samples the processes whose command line contains one of some words.
pub struct Watch {
    over: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts sampling.
    pub fn begin(words: &'static [&'static str]) -> Self {
        let (over, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (end, most) = (over.clone(), peak.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                most.fetch_max(resident(words), Ordering::Relaxed);
                sleep(POLL_INTERVAL);
            }
        });
        Self { over, peak, thread: Some(thread) }
    }

    /// The peak of their sum at any sample, in bytes.
    pub fn end(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: it only reads.
            let _ = thread.join();
        }
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Their current resident memory, in bytes; a process between two samples is not counted.
fn resident(words: &[&str]) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let folder = entry.path();
        let Ok(line) = fs::read(folder.join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if !words.iter().any(|word| line.contains(word)) {
            continue;
        }
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = rss.and_then(|v| v.trim().trim_end_matches(" kB").parse::<u64>().ok());
        sum += kib.unwrap_or(0) * 1024;
    }
    sum
}
