//! An operation while it goes on: its steps and their times. On a terminal the step under way
//! moves; elsewhere each step is a line. All of it on stderr.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use startclaw_model::{Operation, OperationState, OperationStep, StepState, Timestamp};

use super::{clean, note, took};

/// Shows one operation.
pub struct Shown {
    bar: Option<ProgressBar>,
    told: usize,
    quiet: bool,
    waiting: bool,
}

impl Shown {
    /// Begins; with `quiet` nothing is shown.
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

    /// Shows what is new.
    pub fn update(&mut self, operation: &Operation) {
        while let Some(step) = operation.steps.get(self.told) {
            if step.state == StepState::Running && !operation.state.is_over() {
                break;
            }
            self.say(&step_line(step));
            self.told += 1;
        }
        let now = match operation.steps.get(self.told) {
            Some(step) => step.name.clone(),
            None if operation.state == OperationState::Queued => "waiting for its turn".into(),
            None => "looking".into(),
        };
        if let Some(bar) = &self.bar {
            bar.set_message(clean(&now));
        } else if operation.state == OperationState::Queued && !self.waiting {
            self.waiting = true;
            self.say("  … waiting for its turn");
        }
    }

    /// Says that the daemon went away.
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
    format!("  {mark} {:<16} {time:>8}{detail}", clean(&step.name))
}
