//! Renders the results as a page, with the targets.

use std::{fmt, time::Duration};

use crate::{
    backup::{self, Backup, Days},
    boot::Boot,
    crowd::Crowd,
    machine::Machine,
    overhead::Overhead,
    pages::{Made, Pages, Painted},
    samples::{Millis, Samples, Seconds},
};

/// All results.
pub struct Report {
    machine: Machine,
    quick: bool,
    pub boot: Option<Boot>,
    pub backup: Option<Backup>,
    pub overhead: Option<Overhead>,
    pub crowd: Option<Crowd>,
    pub pages: Option<Pages>,
}

impl Report {
    pub const fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, boot: None, backup: None, overhead: None, crowd: None, pages: None }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Results\n")?;
        writeln!(
            f,
            "Written by `script/bench`; changes are overwritten. Each table was measured in one run, side by side.\n"
        )?;
        if self.quick {
            writeln!(f, "**A quick run: few rounds, so the figures are rough.**\n")?;
        }
        self.machine.fmt(f)?;
        if let Some(boot) = &self.boot {
            boot.fmt(f)?;
        }
        if let Some(backup) = &self.backup {
            backup.fmt(f)?;
        }
        if let Some(overhead) = &self.overhead {
            overhead.fmt(f)?;
        }
        if let Some(pages) = &self.pages {
            pages.fmt(f)?;
        }
        if let Some(crowd) = &self.crowd {
            crowd.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| machine | |\n| --- | --- |")?;
        writeln!(f, "| CPU | {}, {} cores |", self.cpu, self.cores)?;
        writeln!(f, "| memory | {} GiB |", self.memory_gib)?;
        writeln!(f, "| system | {}, Linux {} |", self.system, self.kernel)?;
        writeln!(f, "| Docker, Caddy | {}, {} |", self.docker, self.caddy)?;
        writeln!(f, "| OpenClaw | {} |", self.openclaw)?;
        writeln!(f, "| commit | {} |", self.commit)?;
        writeln!(f, "| date | {} |\n", self.date)
    }
}

/// Whether a target was met.
const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

fn busy(f: &mut fmt::Formatter<'_>, share: f64) -> fmt::Result {
    writeln!(
        f,
        "Other processes used at most {:.0} % of the cores before the measurement.\n",
        share * 100.0
    )
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## From provision to the first response\n")?;
        writeln!(
            f,
            "{} starts of each, in turn, of the same image. The clock stops at the first `/startupz` that reports started. StartClaw: from\n\
             `POST /provision` at the socket, with a sign-in link, over HTTPS at the instance's own address with a new certificate, to a\n\
             container with full isolation. The others: at the published port. `docker run`: without any limit, its configuration created before.\n\
             `openclaw fleet create`: from the start of the command. None has a key yet: an OpenClaw whose first configuration names secrets searches for\n\
             older state first, which takes 1.5 s more in each case.\n",
            self.ours.len()
        )?;
        writeln!(
            f,
            "| | min | median | max | median to `docker run` |\n| --- | --- | --- | --- | --- |"
        )?;
        let base = self.bare.median().as_secs_f64();
        let row = |f: &mut fmt::Formatter<'_>, name, samples: &Samples| {
            let [min, median, max] = [samples.min(), samples.median(), samples.max()].map(Seconds);
            let ratio = median.0.as_secs_f64() / base;
            writeln!(f, "| {name} | {min} | {median} | {max} | {ratio:.2} |")
        };
        row(f, "StartClaw", &self.ours)?;
        row(f, "`docker run`", &self.bare)?;
        row(f, "`openclaw fleet create`", &self.fleet)?;
        let ratio = self.ours.median().as_secs_f64() / base;
        writeln!(
            f,
            "\nTarget: at most 1.1 times `docker run`: {ratio:.2}, {}.",
            verdict(ratio <= 1.1)
        )?;
        let ahead = self.ours.median() < self.fleet.median();
        writeln!(f, "Target: faster than `openclaw fleet create`: {}.", verdict(ahead))?;
        busy(f, self.busy)?;
        writeln!(f, "Where StartClaw's time goes (median of each step):\n")?;
        writeln!(f, "| step | time |\n| --- | --- |")?;
        for (name, samples) in &self.steps.0 {
            writeln!(f, "| {name} | {} |", Millis(samples.median()))?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Backup and restore\n")?;
        writeln!(
            f,
            "{:.0} MB in {} files, half of them text, besides OpenClaw's own files; a first day, {} unchanged days, and a day with 1 % of\n\
             the files changed. StartClaw: `POST /backup` of a running instance, five files written just before, encrypted and checked\n\
             afterwards; it is unavailable while paused. The others, side by side on a stopped cell of `openclaw fleet` with the same files:\n\
             unavailable from `fleet stop` over the backup to the first response after `fleet start`. Memory: of the backup processes.\n",
            megabytes(backup::BYTES),
            backup::FILES,
            self.ours.held.len().saturating_sub(2),
        )?;
        writeln!(
            f,
            "| | unavailable: median, max | duration: median, max | stored on day 1 | unchanged day, at most | 1 % changed | memory | restore of all files |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |"
        )?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, days: &Days| {
            writeln!(
                f,
                "| {name} | {}, {} | {}, {} | {:.1} MB | {:.2} MB | {:.2} MB | {:.0} MB | {} |",
                Seconds(days.held.median()),
                Seconds(days.held.max()),
                Seconds(days.took.median()),
                Seconds(days.took.max()),
                megabytes(days.first),
                megabytes(days.unchanged),
                megabytes(days.changed),
                megabytes(days.memory),
                Seconds(days.restore),
            )
        };
        row(f, "StartClaw", &self.ours)?;
        row(f, "`openclaw fleet backup`", &self.fleet)?;
        row(f, "`tar`, `gzip`", &self.tar)?;
        row(f, "restic", &self.restic)?;
        let ratio = self.fleet.held.median().as_secs_f64() / self.ours.held.median().as_secs_f64();
        writeln!(f, "\n`openclaw fleet` is unavailable {ratio:.0} times as long.")?;
        let longest = self.ours.held.max().as_secs_f64();
        writeln!(f, "Target: paused at most 0.3 s: {longest:.2} s, {}.", verdict(longest <= 0.3))?;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = self.ours.unchanged as f64 / self.ours.first as f64 * 100.0;
        writeln!(
            f,
            "Target: an unchanged day stores under 1 % of the first: {share:.2} %, {}.",
            verdict(share < 1.0)
        )?;
        writeln!(
            f,
            "A restore, from the request until the instance is live on it: {}.",
            Seconds(self.live)
        )?;
        busy(f, self.busy)
    }
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Overhead of the authorize request\n")?;
        writeln!(
            f,
            "`GET /healthz` of one instance over HTTPS, sequentially on one connection: through StartClaw's Caddy, which queries\n\
             the daemon each time, and through a second Caddy with the same configuration without that query. {} requests each, in {} rounds\n\
             in turn.\n",
            self.with.len(),
            self.rounds
        )?;
        writeln!(f, "| | median | p99 |\n| --- | --- | --- |")?;
        let row = |f: &mut fmt::Formatter<'_>, name, samples: &Samples| {
            writeln!(f, "| {name} | {} | {} |", Millis(samples.median()), Millis(samples.p99()))
        };
        row(f, "with authorize", &self.with)?;
        row(f, "without", &self.without)?;
        let added = |w: std::time::Duration, o: std::time::Duration| {
            (w.as_secs_f64() - o.as_secs_f64()) * 1000.0
        };
        let median = added(self.with.median(), self.without.median());
        let p99 = added(self.with.p99(), self.without.p99());
        writeln!(f, "| difference | {median:.2} ms | {p99:.2} ms |\n")?;
        if let [least, .., most] = self.added.as_slice() {
            writeln!(f, "In single rounds the median rose by {least:.2} to {most:.2} ms.")?;
        }
        writeln!(f, "Target: at most 1 ms at the median: {}.", verdict(median <= 1.0))?;
        busy(f, self.busy)
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Pages of the portal\n")?;
        writeln!(
            f,
            "First paint, in a real Chromium on this host without a GPU, through Caddy: in a browser with an empty cache except for\n\
             cookies, so with a new connection, and at the next visit. {} times each, in turn. For comparison, in the same browser: OpenClaw's own\n\
             page, and a line of text, the fastest that this browser can be.\n",
            self.painted.first().map_or(0, |p| p.fresh.len())
        )?;
        writeln!(
            f,
            "| | empty cache: median, max | next visit: median, max |\n| --- | --- | --- |"
        )?;
        for Painted { name, fresh, again, .. } in &self.painted {
            let [a, b, c, d] =
                [fresh.median(), fresh.max(), again.median(), again.max()].map(Millis);
            writeln!(f, "| {name} | {a}, {b} | {c}, {d} |")?;
        }
        let slowest = |of: fn(&Painted) -> &Samples| {
            let ours = self.painted.iter().filter(|p| p.ours);
            ours.map(|p| of(p).median()).max().unwrap_or_default()
        };
        let limit = Duration::from_millis(100);
        for (when, found) in [
            ("with an empty cache", slowest(|p| &p.fresh)),
            ("at the next visit", slowest(|p| &p.again)),
        ] {
            writeln!(
                f,
                "\nTarget: our slowest page under 100 ms at the median {when}: {}, {}.",
                Millis(found),
                verdict(found < limit)
            )?;
        }
        writeln!(
            f,
            "\nWith {} simulated instances, each of its own account: the time of the daemon per page, requested over one connection without\n\
             Caddy, {} times.\n",
            self.instances,
            self.made.first().map_or(0, |m| m.took.len())
        )?;
        writeln!(f, "| page | p50 | p99 | size |\n| --- | --- | --- | --- |")?;
        for Made { name, took, size } in &self.made {
            let [p50, p99] = [took.median(), took.p99()].map(Millis);
            writeln!(f, "| {name} | {p50} | {p99} | {} kB |", size.div_ceil(1000))?;
        }
        busy(f, self.busy)
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.instances;
        writeln!(f, "## {count} simulated instances\n")?;
        writeln!(
            f,
            "The engine, its database file and the API at its socket in one process, on a simulated host that boots instantly. The simulated\n\
             instances are in the memory of the same process.\n"
        )?;
        writeln!(f, "| | |\n| --- | --- |")?;
        let rate =
            f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / self.provision.as_secs_f64();
        writeln!(
            f,
            "| provision all, until live | {} ({rate:.0} each second) |",
            Seconds(self.provision)
        )?;
        writeln!(
            f,
            "| `POST /provision` responds, p50 and p99 | {}, {} |",
            Millis(self.accept.median()),
            Millis(self.accept.p99())
        )?;
        writeln!(f, "| a new daemon responds | {} |", Millis(self.start))?;
        writeln!(
            f,
            "| a new daemon has observed all of them and all are live | {} |",
            Seconds(self.sweep)
        )?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, s: &Samples| {
            let [p50, p99, max] = [s.median(), s.p99(), s.max()].map(Millis);
            writeln!(f, "| {name}, p50, p99, max of {} | {p50}, {p99}, {max} |", s.len())
        };
        row(f, "`GET /status` of one, during sweeps and probes", &self.one)?;
        row(f, "`GET /status` of one, sequentially", &self.burst)?;
        row(
            f,
            &format!("`GET /status` of all ({:.1} MB)", megabytes(self.all_size as u64)),
            &self.all,
        )?;
        writeln!(f, "| CPU when idle | {:.0} % of a core |", self.idle_cpu * 100.0)?;
        let mb = |f: &mut fmt::Formatter<'_>, name, bytes| {
            writeln!(f, "| memory {name} | {:.0} MB |", megabytes(bytes))
        };
        mb(f, "without an instance", self.memory_empty)?;
        mb(f, "after provisioning all", self.memory_provisioned)?;
        mb(f, "after the restart", self.memory_restarted)?;
        mb(f, "after the reads", self.memory_read)?;
        mb(f, "peak", self.memory_peak)?;
        writeln!(
            f,
            "\nTarget: one status under 5 ms at p99: {}.",
            verdict(self.one.p99().as_secs_f64() < 0.005)
        )?;
        let largest = self.memory_provisioned.max(self.memory_restarted).max(self.memory_read);
        writeln!(f, "Target: memory under 200 MB: {}.", verdict(megabytes(largest) < 200.0))?;
        busy(f, self.busy)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
