//! The worker as a program of its own, for tests and benchmarks of this crate alone.

fn main() -> std::process::ExitCode {
    startclaw_backup::run_worker()
}
