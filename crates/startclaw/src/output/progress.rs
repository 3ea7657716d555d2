//! Shows the progress of an operation: its steps and their times. On a terminal the current step is
//! animated; elsewhere each step is a line. All on stderr.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use startclaw_model::{
    Operation, OperationState, OperationStep, StepProgress, StepState, Timestamp,
};

use super::{clean, note, size, took};

/// The display of one operation.
pub struct Shown {
    bar: Option<ProgressBar>,
    told: usize,
    quiet: bool,
    waiting: bool,
}

impl Shown {
    /// Starts the display; with `quiet` nothing is shown.
    pub fn begin(quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
                bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, told: 0, quiet, waiting: false }
    }

    /// Shows an update.
    pub fn update(&mut self, operation: &Operation) {
        while let Some(step) = operation.steps.get(self.told) {
            if step.state == StepState::Running && !operation.state.is_over() {
                break;
            }
            self.say(&step_line(step));
            self.told += 1;
        }
        let now = match operation.steps.get(self.told) {
            Some(step) => match &step.progress {
                Some(far) => format!("{} {}", step.name, self.how_far(step, far)),
                None => step.name.to_string(),
            },
            None if operation.state == OperationState::Queued => "queued".into(),
            None => "waiting".into(),
        };
        if let Some(bar) = &self.bar {
            bar.set_message(clean(&now));
        } else if operation.state == OperationState::Queued && !self.waiting {
            self.waiting = true;
            self.say("  … queued");
        }
    }

    /// Files, bytes, speed and, if the total is known, the time left.
    fn how_far(&self, step: &OperationStep, far: &StepProgress) -> String {
        let seconds = Timestamp::now().since(step.started_at).as_secs_f64().max(0.1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "for people, and never negative"
        )]
        let (speed, left) = {
            let speed = far.bytes as f64 / seconds;
            let rest = far.total_bytes.map(|total| total.saturating_sub(far.bytes) as f64);
            let left = rest.filter(|_| speed > 1.0).map(|rest| rest / speed);
            (speed as u64, left.map(|s| Duration::from_secs_f64(s.min(1e6))))
        };
        let of = far.total_bytes.map(|total| format!(" of {}", size(total))).unwrap_or_default();
        let left = left.map(|left| format!(", {} left", took(left))).unwrap_or_default();
        format!("{} files, {}{of}, {}/s{left}", far.files, size(far.bytes), size(speed))
    }

    /// Reports that the daemon is unreachable.
    pub fn lost(&self, why: &str) {
        self.say(&format!("  … {}; waiting for it to come back", clean(why)));
    }

    /// Ends the display.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(text),
            None => note(text),
        }
    }
}

fn step_line(step: &OperationStep) -> String {
    let mark = if step.state == StepState::Failed { "✗" } else { "✓" };
    let time = took(step.finished_at.unwrap_or_else(Timestamp::now).since(step.started_at));
    let detail = step.detail.as_deref().map(|d| format!("  {}", clean(d))).unwrap_or_default();
    format!("  {mark} {:<16} {time:>8}{detail}", step.name.as_str())
}
