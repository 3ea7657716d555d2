//! `startclaw backup-worker`: what the daemon starts for each job on a repository.

use std::process::{ExitCode, exit};

/// Does the job that stdin brings.
pub fn run() -> anyhow::Result<()> {
    // What it has to say it has said on stdout.
    let done = startclaw_backup::run_worker();
    exit(i32::from(done != ExitCode::SUCCESS))
}
