//! A volume of 200 MB in 3,500 files over several days: downtime, duration, stored bytes, and
//! restore.

mod archive;
mod ours;
mod volume;

use std::{path::Path, time::Duration};

use crate::{
    fleet::{Cell, Fleet},
    machine,
    memory::Watch,
    samples::Samples,
};

pub use volume::{BYTES, FILES};

/// Clock resolution and cache effects: pauses that nights have anyway.
const NIGHT: Duration = Duration::from_secs(4);

/// One backup.
#[derive(Debug, Clone, Copy, Default)]
pub struct Day {
    /// The downtime.
    pub held: Duration,
    /// The total duration.
    pub took: Duration,
    /// Bytes added to the repository.
    pub stored: u64,
    /// Peak memory, in bytes.
    pub memory: u64,
}

/// The days of one candidate.
#[derive(Debug, Default)]
pub struct Days {
    pub held: Samples,
    pub took: Samples,
    /// Stored on the first day, on the worst of the unchanged ones, and with 1 % changed.
    pub first: u64,
    pub unchanged: u64,
    pub changed: u64,
    pub memory: u64,
    /// Time to restore all files.
    pub restore: Duration,
}

impl Days {
    fn add(&mut self, which: Which, day: Day) {
        self.held.push(day.held);
        self.took.push(day.took);
        self.memory = self.memory.max(day.memory);
        match which {
            Which::First => self.first = day.stored,
            Which::Unchanged => self.unchanged = self.unchanged.max(day.stored),
            Which::Changed => self.changed = day.stored,
        }
    }
}

#[derive(Clone, Copy)]
enum Which {
    First,
    Unchanged,
    Changed,
}

/// The results.
pub struct Backup {
    pub ours: Days,
    pub fleet: Days,
    pub tar: Days,
    pub restic: Days,
    /// From the restore request until the instance is live on the restored data.
    pub live: Duration,
    /// The largest share of the cores used by other processes before a day.
    pub busy: f64,
}

/// Runs the measurement with this number of unchanged days.
pub async fn measure(unchanged: usize, release: &Path) -> anyhow::Result<Backup> {
    let workspace = tempfile::tempdir()?;
    let fleet = Fleet::new(release)?;
    fleet.warm_up().await?;
    let (cell, _) = fleet.create("scbench-backup").await?;
    volume::fill(&cell.data())?;
    let platform = ours::Platform::start().await?;
    let restic_home = workspace.path().join("restic");
    std::fs::create_dir(&restic_home)?;
    let mut others = Others {
        cell,
        restic: archive::Restic { home: &restic_home },
        folder: workspace.path(),
        fleet: Days::default(),
        tar: Days::default(),
        with_restic: Days::default(),
    };
    others.restic.init()?;

    let mut ours = Days::default();
    let mut busy: f64 = 0.0;
    let days = std::iter::once(Which::First)
        .chain(std::iter::repeat_n(Which::Unchanged, unchanged))
        .chain([Which::Changed]);
    for which in days {
        if matches!(which, Which::Changed) {
            volume::change(&platform.data(), 1)?;
            volume::change(&others.cell.data(), 1)?;
        }
        tokio::time::sleep(NIGHT).await;
        busy = busy.max(machine::quiet().await?);
        // A few files are written just before: they have to be read during the freeze.
        volume::touch(&platform.data())?;
        let day = platform.back_up().await?;
        eprintln!("StartClaw: {day:?}");
        ours.add(which, day);
        others.back_up(which).await?;
    }
    let live;
    (ours.restore, live) = platform.restore().await?;
    others.restore().await?;
    let Others { fleet, tar, with_restic, .. } = others;
    Ok(Backup { ours, fleet, tar, restic: with_restic, live, busy })
}

/// Candidates that need a quiescent volume: the cell is stopped for each of them.
struct Others<'a> {
    cell: Cell<'a>,
    restic: archive::Restic<'a>,
    folder: &'a Path,
    fleet: Days,
    tar: Days,
    with_restic: Days,
}

impl Others<'_> {
    async fn back_up(&mut self, which: Which) -> anyhow::Result<()> {
        let data = self.cell.data();
        let stop = self.cell.stop().await?;
        let (archive, tarball) = self.archives();
        for old in [&archive, &tarball].into_iter().filter(|f| f.exists()) {
            std::fs::remove_file(old)?;
        }
        let watch = Watch::begin(&["openclaw.mjs fleet backup"]);
        let by_fleet = (self.cell.back_up(&archive).await?, watch.end(), volume::size(&archive));
        let watch = Watch::begin(&["tar --create", "gzip"]);
        let by_tar = (archive::tar(&data, &tarball)?, watch.end(), volume::size(&tarball));
        let before = volume::size(&self.restic.repository());
        let watch = Watch::begin(&["restic --quiet"]);
        let took = self.restic.back_up(&data)?;
        let added = volume::size(&self.restic.repository()).saturating_sub(before);
        let by_restic = (took, watch.end(), added);
        let start = self.cell.start().await?;
        for (days, (took, memory, stored)) in [
            (&mut self.fleet, by_fleet),
            (&mut self.tar, by_tar),
            (&mut self.with_restic, by_restic),
        ] {
            let day = Day { held: stop + took + start, took, stored, memory };
            eprintln!("others: {day:?}");
            days.add(which, day);
        }
        Ok(())
    }

    async fn restore(&mut self) -> anyhow::Result<()> {
        let (archive, tarball) = self.archives();
        self.tar.restore = archive::untar(&tarball, &self.folder.join("untarred"))?;
        self.with_restic.restore = self.restic.restore(&self.folder.join("restored"))?;
        self.cell.stop().await?;
        self.fleet.restore = self.cell.restore(&archive).await?;
        Ok(())
    }

    fn archives(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        (self.folder.join("fleet.tgz"), self.folder.join("tar.tgz"))
    }
}
