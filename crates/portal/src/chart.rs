//! Charts, rendered here as points of SVG polylines: they need no script.

use startclaw_engine::Sample;
use startclaw_model::Timestamp;

use crate::frame::Chart;

/// Size of the drawing.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// Time span of a chart, in milliseconds.
const HOURS: i64 = 6;
const SPAN: i64 = HOURS * 3_600_000;
/// Samples further apart than this, in milliseconds, are not connected.
const GAP: i64 = 150_000;

/// Charts of memory and CPU up to now; limits in the units of a sample.
pub(crate) fn memory_and_cpu(
    samples: &[Sample],
    memory: Option<u32>,
    cpu: Option<u32>,
) -> Vec<Chart> {
    let now = Timestamp::now();
    let samples = shown(samples, now);
    let value = |sample: &Sample| sample.memory_mib;
    let memory = Drawing { title: "Memory", samples, value, limit: memory, write: mib };
    let value = |sample: &Sample| sample.cpu_thousandths;
    let cpu = Drawing { title: "CPU", samples, value, limit: cpu, write: cores };
    vec![memory.draw(now), cpu.draw(now)]
}

/// The samples within the time span of a chart. Older ones are kept when some were missed.
fn shown(samples: &[Sample], now: Timestamp) -> &[Sample] {
    let begin = now.as_millis() - SPAN;
    let old = samples.partition_point(|sample| sample.at.as_millis() < begin);
    &samples[old..]
}

struct Drawing<'a> {
    title: &'static str,
    /// The samples within the time span, oldest first.
    samples: &'a [Sample],
    value: fn(&Sample) -> u32,
    /// A limit, in the same unit.
    limit: Option<u32>,
    /// Formats a value.
    write: fn(u32) -> String,
}

impl Drawing<'_> {
    fn draw(&self, now: Timestamp) -> Chart {
        let most = self.samples.iter().map(self.value).max().unwrap_or(0);
        let top = most.max(self.limit.unwrap_or(0)).max(1);
        let runs = self.runs(now, top);
        let area = |run: &Vec<(f64, f64)>| {
            let (first, last) = (run.first().map_or(0.0, |p| p.0), run.last().map_or(0.0, |p| p.0));
            format!("{first:.1},{HEIGHT} {} {last:.1},{HEIGHT}", points(run))
        };
        Chart {
            title: self.title,
            now: self.samples.last().map_or_else(String::new, |sample| {
                format!("{} now", (self.write)((self.value)(sample)))
            }),
            top: (self.write)(top),
            from: format!("{HOURS} hours ago"),
            to: "now".to_owned(),
            areas: runs.iter().map(area).collect(),
            lines: runs.iter().map(|run| points(run)).collect(),
            // At the upper edge it would show nothing.
            limit: self
                .limit
                .filter(|limit| *limit < top)
                .map(|limit| format!("{:.1}", height(limit, top))),
            summary: self.summary(),
        }
    }

    /// The points, split at gaps.
    fn runs(&self, now: Timestamp, top: u32) -> Vec<Vec<(f64, f64)>> {
        let begin = now.as_millis() - SPAN;
        let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut before = i64::MIN;
        for sample in self.samples {
            let at = sample.at.as_millis();
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of six hours are exact")]
            let x = (at - begin) as f64 / SPAN as f64 * WIDTH;
            let point = (x.min(WIDTH), height((self.value)(sample), top));
            match runs.last_mut() {
                Some(run) if at.saturating_sub(before) <= GAP => run.push(point),
                _ => runs.push(vec![point]),
            }
            before = at;
        }
        runs
    }

    fn summary(&self) -> String {
        let values = || self.samples.iter().map(self.value);
        match (values().min(), values().max(), self.samples.last()) {
            (Some(least), Some(most), Some(last)) => format!(
                "{} over the last {HOURS} hours: between {} and {}, {} now.",
                self.title,
                (self.write)(least),
                (self.write)(most),
                (self.write)((self.value)(last))
            ),
            _ => format!("{}: no data yet.", self.title),
        }
    }
}

fn height(value: u32, top: u32) -> f64 {
    HEIGHT - f64::from(value) / f64::from(top) * HEIGHT
}

fn points(run: &[(f64, f64)]) -> String {
    let text: Vec<String> = run.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    text.join(" ")
}

/// Formats MiB.
fn mib(value: u32) -> String {
    crate::labels::mib(value.into())
}

/// Formats thousandths of a core.
pub(crate) fn cores(value: u32) -> String {
    let (whole, rest) = (value / 1000, value % 1000 / 10);
    if rest == 0 && whole > 0 {
        format!("{whole} {}", if whole == 1 { "core" } else { "cores" })
    } else {
        format!("{whole}.{rest:02} cores")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minutes_ago: i64, memory_mib: u32) -> Sample {
        let now = Timestamp::from_millis(SPAN * 2);
        Sample {
            at: Timestamp::from_millis(now.as_millis() - minutes_ago * 60_000),
            memory_mib,
            cpu_thousandths: 0,
        }
    }

    fn drawing(samples: &[Sample], limit: Option<u32>) -> Chart {
        let value = |s: &Sample| s.memory_mib;
        let now = Timestamp::from_millis(SPAN * 2);
        let samples = shown(samples, now);
        Drawing { title: "Memory", samples, value, limit, write: mib }.draw(now)
    }

    #[test]
    fn a_gap_divides_a_line_and_what_is_too_old_is_neither_drawn_nor_counted() {
        let samples = [sample(400, 900), sample(360, 100), sample(359, 50), sample(0, 100)];
        let chart = drawing(&samples, Some(200));
        assert_eq!(chart.lines, ["0.0,60.0 1.7,90.0", "600.0,60.0"]);
        assert_eq!(chart.areas[1], "600.0,120 600.0,60.0 600.0,120");
        assert_eq!((chart.top.as_str(), chart.limit), ("200 MB", None));
        assert!(chart.summary.ends_with("between 50 MB and 100 MB, 100 MB now."));
    }

    #[test]
    fn a_limit_that_was_passed_is_a_line_and_nothing_seen_is_said() {
        assert_eq!(drawing(&[sample(0, 400)], Some(100)).limit.as_deref(), Some("90.0"));
        let empty = drawing(&[], None);
        assert!(empty.lines.is_empty() && empty.summary.contains("no data yet"));
        assert_eq!(
            (cores(500), cores(2000), cores(1250)),
            ("0.50 cores".into(), "2 cores".into(), "1.25 cores".into())
        );
    }
}
