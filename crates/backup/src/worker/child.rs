//! The worker process.

use std::{
    fs,
    io::{self, BufRead},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::{
    talk::{Speaker, Talk, listen},
    work::do_work,
};
use crate::{
    BackupError, BackupErrorKind, Event, Job, Work, WorkerLimits, databases, job::Line,
    meter::Meter, panics::Panics,
};

/// The interval of progress messages.
const TICK: Duration = Duration::from_millis(500);
/// The niceness of workers: instances have priority.
const NICE: i32 = 10;
/// When memory runs out, a worker ends before the daemon, whose score systemd lowers.
const OOM_SCORE: &str = "500";

/// Runs the job that it reads from stdin, and exits: 0 on success.
pub fn run_worker() -> ExitCode {
    let speaker = Speaker::new(io::stdout());
    match read_job() {
        Ok(job) => work(&job, speaker),
        Err(e) => {
            speaker.line(&Line::Failed(BackupError::new(BackupErrorKind::Died, e)));
            ExitCode::FAILURE
        }
    }
}

fn read_job() -> Result<Job, String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|e| format!("no job came: {e}"))?;
    serde_json::from_str(&line).map_err(|_| "what came is no job".to_owned())
}

fn work(job: &Job, speaker: Speaker) -> ExitCode {
    // Before there are other threads: user and root are attributes of each thread.
    if let Work::CheckDatabases { root, uid } = &job.work
        && let Err(e) = databases::confine(root, *uid)
    {
        speaker.line(&Line::Failed(e));
        return ExitCode::FAILURE;
    }
    if let Err(e) = limit(job.limits) {
        speaker.line(&Line::Failed(e));
        return ExitCode::FAILURE;
    }
    let meter = Arc::new(Meter::default());
    let (talk, commands) = Talk::new(speaker.clone());
    thread::spawn(move || {
        // There is nothing to clean up: an unfinished snapshot is not valid.
        listen(io::stdin().lock(), &commands, || std::process::exit(3));
    });
    let (watched, ticker) = (meter.clone(), speaker.clone());
    thread::spawn(move || tick(&watched, &ticker));
    let panics = Panics::install();
    let done = panics.catch(|| do_work(job, &meter, &talk, &panics));
    match done {
        Ok(report) => {
            speaker.say(Event::Done(report));
            ExitCode::SUCCESS
        }
        Err(e) => {
            speaker.line(&Line::Failed(e));
            ExitCode::FAILURE
        }
    }
}

fn tick(meter: &Meter, speaker: &Speaker) {
    let mut before = 0;
    loop {
        thread::sleep(TICK);
        let (now, signs) = meter.read();
        if signs != before {
            before = signs;
            speaker.say(Event::Progress(now));
        }
    }
}

/// Limits the resources of this worker, so that it fails and not another process.
///
/// The memory limit is mandatory; the others are for fairness, so their errors are only written to
/// stderr, which the daemon logs.
fn limit(limits: WorkerLimits) -> Result<(), BackupError> {
    let set = |resource, bytes: u64| {
        // A lower hard limit cannot be raised, and need not be.
        let bytes = getrlimit(resource).maximum.map_or(bytes, |hard| hard.min(bytes));
        setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) })
    };
    set(Resource::Data, limits.memory_mib.saturating_mul(1 << 20)).map_err(|e| {
        let text = format!("cannot limit the memory of the worker: {e}");
        BackupError::new(BackupErrorKind::Unavailable, text)
    })?;
    // A core dump would contain keys.
    warn("forbid core dumps", set(Resource::Core, 0));
    warn("lower the worker's priority", rustix::process::nice(NICE));
    warn("offer the worker to the OOM killer", fs::write("/proc/self/oom_score_adj", OOM_SCORE));
    warn("keep the worker to some CPUs", keep_to(limits.threads.max(1)));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(limits.threads.max(1));
    // It fails only if there is a global pool already; this is the first one.
    let _ = pool.build_global();
    Ok(())
}

/// Lets this thread, and those that it starts, run with the priority and on the CPUs that the
/// worker had before it was limited; returns the number of CPUs. For the short time in which an
/// instance is frozen and does not need them.
pub(crate) fn hurry() -> usize {
    // Without the right to do so it takes longer.
    let _ = rustix::process::nice(-NICE);
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    // The kernel leaves out those that do not exist or that the cgroup does not allow.
    let _ = sched_setaffinity(None, &all);
    sched_getaffinity(None).map_or(1, |cpus| usize::try_from(cpus.count()).unwrap_or(1))
}

fn warn<T>(what: &str, done: Result<T, impl std::fmt::Display>) {
    if let Err(e) = done {
        eprintln!("cannot {what}: {e}");
    }
}

/// Pins this thread, and those that it starts, to `cpus` CPUs, the same for all workers: the others
/// stay free for instances. A cgroup would need a subtree that systemd delegates to the daemon.
fn keep_to(cpus: usize) -> rustix::io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut kept = CpuSet::new();
    let last = (0..CpuSet::MAX_CPU).rev().filter(|cpu| allowed.is_set(*cpu)).take(cpus);
    last.for_each(|cpu| kept.set(cpu));
    sched_setaffinity(None, &kept)
}
