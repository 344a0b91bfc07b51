//! What a run shows while it lasts: a bar on a terminal, nothing elsewhere. Always on stderr.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The progress of one run.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    prefix: String,
}

impl Progress {
    /// Progress shown on a terminal under this name.
    pub fn shown(name: &str) -> Progress {
        let progress = Progress { bar: ProgressBar::hidden(), prefix: name.into() };
        if std::io::stderr().is_terminal() {
            progress.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        progress
    }

    /// No progress at all.
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), prefix: String::new() }
    }

    pub(crate) fn start(&self, steps: usize) {
        let style = "{prefix} {bar:28} {pos}/{len}  {elapsed} of about {duration}  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.bar.set_style(style);
        }
        self.bar.reset();
        self.bar.set_prefix(self.prefix.clone());
        self.bar.set_length(steps as u64);
        self.bar.enable_steady_tick(Duration::from_millis(250));
    }

    pub(crate) fn condition(&self, series: &str, x: f64) {
        let at = if x == 0.0 { String::new() } else { format!(" at {x}") };
        self.bar.set_message(format!("{series}{at}"));
    }

    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| crate::terminal::say(line));
    }
}
