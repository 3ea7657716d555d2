//! A bucket that answers with errors, slowly, partly, or not at all.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use startclaw_backup::{BackupErrorKind, ReadData, Repository, Work};

use crate::{bucket::Gcs, stage::*};

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Nothing.
    None,
    /// The first request is answered with 503.
    Refused,
    /// Each piece of an answer comes late.
    Slow,
    /// The connection is closed after this many bytes of answers.
    Cut(usize),
    /// It never answers.
    Silent,
}

type Decider = Arc<Mutex<Box<dyn Fn(u32) -> Fault + Send>>>;

/// A proxy between a client and the bucket; `decide` chooses the fault of the nth connection.
struct Between {
    port: u16,
    decide: Decider,
    met: Arc<AtomicU32>,
}

impl Between {
    fn start(to: u16, decide: impl Fn(u32) -> Fault + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let decide: Decider = Arc::new(Mutex::new(Box::new(decide)));
        let met = Arc::new(AtomicU32::new(0));
        let (how, count) = (decide.clone(), met.clone());
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().flatten()) {
                let fault = how.lock().unwrap()(number);
                count.fetch_add(u32::from(fault != Fault::None), Ordering::Relaxed);
                std::thread::spawn(move || carry(client, to, fault));
            }
        });
        Self { port, decide, met }
    }

    fn heal(&self) {
        *self.decide.lock().unwrap() = Box::new(|_| Fault::None);
    }

    /// How many connections had a fault.
    fn met(&self) -> u32 {
        self.met.load(Ordering::Relaxed)
    }
}

fn carry(mut client: TcpStream, to: u16, fault: Fault) {
    let mut buffer = [0; 16 * 1024];
    match fault {
        Fault::Silent => while client.read(&mut buffer).is_ok_and(|n| n > 0) {},
        Fault::Refused => {
            let _ = client.read(&mut buffer);
            let _ = client.write_all(
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
            let _ = client.shutdown(Shutdown::Write);
            while client.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
        Fault::None | Fault::Slow | Fault::Cut(_) => {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
            let (mut up_from, mut up_to) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut up_from, &mut up_to);
                let _ = up_to.shutdown(Shutdown::Write);
            });
            answers(server, client, fault);
        }
    }
}

fn answers(mut server: TcpStream, mut client: TcpStream, fault: Fault) {
    let mut buffer = [0; 16 * 1024];
    let mut left = match fault {
        Fault::Cut(after) => after,
        _ => usize::MAX,
    };
    while let Ok(n @ 1..) = server.read(&mut buffer) {
        if fault == Fault::Slow {
            std::thread::sleep(Duration::from_millis(100));
        }
        let part = n.min(left);
        left -= part;
        if client.write_all(&buffer[..part]).is_err() || left == 0 {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

async fn three_days(bucket: &Repository, stage: &Stage) {
    for day in 0..3 {
        stage.write("big", noise(day * 2, 2 << 20));
        take(bucket, &stage.volume()).await.unwrap();
    }
}

/// All three snapshots are complete and can be restored.
async fn whole(bucket: &Repository, stage: &Stage) {
    let all = list(bucket).await;
    assert_eq!(all.len(), 3);
    run(bucket, Work::Check { read: ReadData::All }).await.unwrap();
    for (snapshot, day) in all.iter().zip([2, 1, 0]) {
        let root = stage.empty(&format!("restored-{day}"));
        let work = Work::Restore { snapshot: snapshot.id.clone(), root: root.clone(), uid: uid() };
        run(bucket, work).await.unwrap();
        assert_eq!(std::fs::read(root.join("big")).unwrap(), noise(day * 2, 2 << 20));
    }
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn errors_and_cut_answers_now_and_then_are_tried_again_and_nothing_is_lost() {
    let (gcs, stage) = (Gcs::start(), Stage::new());
    let between = Between::start(gcs.port, |number| match number % 4 {
        0 => Fault::Refused,
        2 => Fault::Cut(700),
        _ => Fault::None,
    });
    let bucket = gcs.repository_at(between.port, &stage);
    three_days(&bucket, &stage).await;
    whole(&bucket, &stage).await;
    assert!(between.met() > 10, "there were too few faults: {}", between.met());
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_slow_bucket_is_waited_for() {
    let (gcs, stage) = (Gcs::start(), Stage::new());
    let between = Between::start(gcs.port, |_| Fault::Slow);
    let bucket = gcs.repository_at(between.port, &stage);
    three_days(&bucket, &stage).await;
    between.heal();
    whole(&gcs.repository_at(gcs.port, &stage), &stage).await;
}

#[tokio::test]
#[ignore = "uses real parts: script/test"]
async fn a_bucket_that_hangs_is_noticed_and_gets_all_of_it_later() {
    let (gcs, stage) = (Gcs::start(), Stage::new());
    for day in 0..3 {
        stage.write("big", noise(day * 2, 2 << 20));
        stage.take().await.unwrap();
    }
    // It hangs in the middle: after the repository was created.
    let between = Between::start(gcs.port, |number| match number {
        0..3 => Fault::Cut(4000),
        _ => Fault::Silent,
    });
    let bucket = gcs.repository_at(between.port, &stage);
    let copy = Work::Copy { to: bucket.clone() };
    let hasty = workers_with(Duration::from_secs(5));
    let worker = hasty.start(&job(&stage.repository(), copy.clone())).await.unwrap();
    let error = worker.finish().await.unwrap_err();
    assert_eq!(error.kind, BackupErrorKind::Stalled, "{error}");
    run(&stage.repository(), Work::Check { read: ReadData::All }).await.unwrap();
    between.heal();
    run(&stage.repository(), copy).await.unwrap();
    whole(&bucket, &stage).await;
}
