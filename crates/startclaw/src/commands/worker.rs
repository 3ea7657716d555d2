//! `startclaw backup-worker`: started by the daemon for each repository job.

use std::process::{ExitCode, exit};

/// Runs the job from stdin.
pub fn run() -> anyhow::Result<()> {
    // The worker reports its result on stdout.
    let done = startclaw_backup::run_worker();
    exit(i32::from(done != ExitCode::SUCCESS))
}
