//! Workers that are killed, hang, or lose their daemon.

use std::time::Duration;

use startclaw_backup::{BackupErrorKind, Command, Event, ReadData, Work};

use crate::stage::*;

#[tokio::test]
async fn a_worker_that_is_killed_at_any_moment_leaves_a_good_repository() {
    let stage = Stage::new();
    for n in 0..200 {
        stage.write(&format!("f{n}"), noise(n, 30_000));
    }
    for delay in [1, 5, 15, 30, 50, 80, 120, 180, 260, 400] {
        stage.write("changing", noise(delay, 3_000_000));
        let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
        let _ = tokio::time::timeout(Duration::from_millis(delay), async {
            if until(&mut worker, |e| matches!(e, Event::Ready)).await.is_ok() {
                let _ = worker.send(Command::Go).await;
                let _ = until(&mut worker, |e| matches!(e, Event::Read)).await;
                let _ = worker.send(Command::Commit).await;
                let _ = worker.next().await;
            }
        })
        .await;
        // Dropping kills it with SIGKILL.
        drop(worker);
        let checked = run(&stage.repository(), Work::Check { read: ReadData::All }).await;
        checked.unwrap_or_else(|e| panic!("killed after {delay} ms: {e}"));
    }
    let info = stage.take().await.unwrap();
    let root = stage.restore(&info.id).await.unwrap();
    assert_eq!(files(&root).len(), 201);
}

#[tokio::test]
async fn a_worker_whose_daemon_dies_before_the_commit_leaves_no_snapshot() {
    let stage = Stage::new();
    stage.write("a", "x");
    let mut worker = start(&stage.repository(), taking(&stage.volume(), true)).await;
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    worker.send(Command::Go).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap();
    drop(worker);
    assert!(list(&stage.repository()).await.is_empty());
    stage.take().await.unwrap();
    assert_eq!(list(&stage.repository()).await.len(), 1);
}

#[tokio::test]
async fn a_second_writer_waits_for_the_first() {
    let stage = Stage::new();
    stage.write("a", "x");
    let (one, other) = tokio::join!(stage.take(), stage.take());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.id, other.id);
    assert_eq!(list(&stage.repository()).await.len(), 2);
    run(&stage.repository(), Work::Check { read: ReadData::All }).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_hangs_is_noticed_and_ended() {
    let stage = Stage::new();
    stage.write("a", "x");
    // Creating a repository takes seconds of one CPU without a sign of life.
    stage.take().await.unwrap();
    let workers = workers_with(Duration::from_secs(6));
    let mut worker =
        workers.start(&job(&stage.repository(), taking(&stage.volume(), true))).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    let pid = rustix::process::Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let _ = worker.send(Command::Go).await;
    let error = until(&mut worker, |e| matches!(e, Event::Read)).await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Stalled, "{error}");
    drop(worker);
    stage.take().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_wants_too_much_memory_ends_and_says_so() {
    let stage = Stage::new();
    stage.write("a", noise(1, 20 << 20));
    let mut job = job(&stage.repository(), taking(&stage.volume(), true));
    job.limits.memory_mib = 24;
    let mut worker = workers().start(&job).await.unwrap();
    let error = until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap_err();
    assert!(
        matches!(
            error.kind,
            BackupErrorKind::Memory | BackupErrorKind::Died | BackupErrorKind::Damaged
        ),
        "{error:?}"
    );
    stage.take().await.unwrap();
}

#[tokio::test]
async fn a_worker_keeps_to_its_share_of_the_cpus_and_gives_way() {
    let stage = Stage::new();
    stage.write("a", "x");
    let mut job = job(&stage.repository(), taking(&stage.volume(), true));
    job.limits.threads = 1;
    let mut worker = workers().start(&job).await.unwrap();
    until(&mut worker, |e| matches!(e, Event::Ready)).await.unwrap();
    let process = format!("/proc/{}", worker.id().unwrap());
    let nice = |process: &str| -> i32 {
        let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    assert_eq!(nice(&process), (nice("/proc/self") + 10).min(19));
    for thread in std::fs::read_dir(format!("{process}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let cpus = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert!(cpus.trim().parse::<u32>().is_ok(), "one CPU for all threads: {cpus}");
    }
}
