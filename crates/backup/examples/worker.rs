//! The worker as a separate program, for tests and benchmarks of this crate.

fn main() -> std::process::ExitCode {
    startclaw_backup::run_worker()
}
