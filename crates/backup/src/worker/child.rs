//! The worker process.

use std::{
    fs,
    io::{self, BufRead},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use startclaw_model::Timestamp;

use super::talk::{Speaker, Talk, listen};
use crate::{
    BackupError, BackupErrorKind, Event, Job, Report, Repository, Work, WorkerLimits, check,
    check::is_index_in_use,
    copy, databases, forget,
    job::Line,
    lock::Lock,
    meter::Meter,
    objects,
    repository::{self, Make, Opened},
    restore, snapshot,
    take::{self, Taking},
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
    let panicked: Arc<Mutex<Option<String>>> = Arc::default();
    let note = panicked.clone();
    std::panic::set_hook(Box::new(move |info| {
        // Some contain a whole index.
        let text = info.payload_as_str().unwrap_or("without a word").chars().take(600).collect();
        let mut noted = note.lock().unwrap_or_else(PoisonError::into_inner);
        // The first is the cause of others, unless its work was begun again.
        if noted.as_deref().is_none_or(is_index_in_use) {
            *noted = Some(text);
        }
    }));
    let done = catch_unwind(AssertUnwindSafe(|| do_work(job, &meter, &talk)));
    let done = done.unwrap_or_else(|_| {
        let text = panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(of_panic(&text.unwrap_or_default()))
    });
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

/// rustic panics when a pack is missing or damaged.
fn of_panic(text: &str) -> BackupError {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if is_index_in_use(&text) {
        let why = "the machine is too busy: threads of the check did not end in time";
        return BackupError::new(BackupErrorKind::Died, why);
    }
    let kind = if text.contains("(storage)") && !text.contains("missing") && !text.contains("short")
    {
        BackupErrorKind::Unavailable
    } else {
        BackupErrorKind::Damaged
    };
    let text: String = text.chars().take(600).collect();
    BackupError::new(kind, format!("stored data are missing or damaged: {text}"))
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

fn do_work(job: &Job, meter: &Arc<Meter>, talk: &Talk) -> Result<Report, BackupError> {
    let Some(repository) = &job.repository else {
        return match &job.work {
            Work::CheckDatabases { .. } => check_databases(meter),
            _ => Err(BackupError::new(BackupErrorKind::Died, "the job names no repository")),
        };
    };
    match &job.work {
        Work::Take { root, live, exclude, check } => {
            let opened = repository::open(repository, Make::Fresh, meter)?;
            let Opened { rustic, lock: _lock } = there(opened, repository)?;
            let taking =
                Taking { root: root.clone(), live: *live, exclude: exclude.clone(), check: *check };
            take::take(rustic, &taking, meter, talk).map(Report::Taken)
        }
        Work::Copy { to } => match repository::open(repository, Make::Never, meter)? {
            Some(Opened { rustic, lock: _lock }) => {
                copy::copy(rustic, to, meter).map(Report::Copied)
            }
            None => Ok(Report::Copied(Vec::new())),
        },
        Work::Restore { snapshot, root, uid } => {
            let opened = repository::open(repository, Make::Never, meter)?;
            let Opened { rustic, lock: _lock } =
                opened.ok_or_else(|| snapshot::no_snapshot(snapshot))?;
            let (files, bytes) = restore::restore(rustic, snapshot, root, *uid, meter)?;
            Ok(Report::Restored { files, bytes })
        }
        Work::Forget { keep_days } => match repository::open(repository, Make::Never, meter)? {
            Some(Opened { rustic, lock: _lock }) => {
                let (kept, freed_bytes) = forget::forget(rustic, *keep_days, Timestamp::now())?;
                Ok(Report::Forgotten { kept, freed_bytes })
            }
            None => Ok(Report::Forgotten { kept: Vec::new(), freed_bytes: 0 }),
        },
        Work::Erase => {
            let _lock = Lock::take(&repository.lock)?;
            let objects = objects::open(repository)?;
            let erased = objects.erase();
            erased.map_err(|e| {
                let text = format!("cannot erase {}: {e}", objects.location());
                BackupError::new(BackupErrorKind::Unavailable, text)
            })?;
            Ok(Report::Erased)
        }
        Work::Check { read } => match repository::open(repository, Make::Never, meter)? {
            Some(Opened { rustic, lock: _lock }) => {
                check::check(rustic, *read).map(|read_bytes| Report::Checked { read_bytes })
            }
            None => Ok(Report::Checked { read_bytes: 0 }),
        },
        Work::List => match repository::open(repository, Make::Never, meter)? {
            Some(Opened { rustic, lock: _lock }) => {
                let all = snapshot::counting(&rustic)?;
                Ok(Report::Listed(all.into_iter().map(|(id, s)| snapshot::info(&s, id)).collect()))
            }
            None => Ok(Report::Listed(Vec::new())),
        },
        Work::CheckDatabases { .. } => check_databases(meter),
    }
}

fn check_databases(meter: &Arc<Meter>) -> Result<Report, BackupError> {
    let (good, unknown) = databases::check(meter)?;
    Ok(Report::DatabasesChecked { good, unknown })
}

fn there(opened: Option<Opened>, repository: &Repository) -> Result<Opened, BackupError> {
    opened.ok_or_else(|| {
        let text = format!("the repository {} cannot be made", repository.folder);
        BackupError::new(BackupErrorKind::Unavailable, text)
    })
}
