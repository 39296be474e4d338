//! A progress line on a terminal, silence otherwise.

use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use larder_sim::{Observer, Stage};
use larder_trace::Progress;

/// The bar's length: progress is a share of the trace's bytes.
const STEPS: u64 = 10_000;

/// Shows how far a trace is, at what rate, and how long it will take yet. indicatif draws only on a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(trace: &str) -> Self {
        let bar = ProgressBar::new(STEPS);
        // The template is constant: the fallback is never taken.
        let style = ProgressStyle::with_template("{prefix} [{bar:24}] {percent:>3}%  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        let name: String = trace.chars().take(32).collect();
        bar.set_prefix(name);
        Self(bar)
    }

    /// Shows how many of some like things are done.
    pub(crate) fn step(&self, doing: &str, done: usize, of: usize) {
        self.0.set_position(done as u64 * STEPS / of.max(1) as u64);
        self.0.set_message(format!("{doing}: {done} of {of}"));
    }

    /// Shows a share of 1 that is done and how things stand; `words` are made only if somebody sees them.
    pub(crate) fn say(&self, share: f64, words: impl FnOnce() -> String) {
        if !self.0.is_hidden() {
            self.0.set_position((share * STEPS as f64) as u64);
            self.0.set_message(words());
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Observer for Bar {
    fn progress(&self, stage: Stage, rows: u64, progress: Progress) {
        if self.0.is_hidden() {
            return;
        }
        let doing = match stage {
            Stage::Survey => "counting keys",
            Stage::Replay => "replaying",
        };
        let position = progress.share().map_or(0, |share| (share * STEPS as f64) as u64);
        if position < self.0.position() {
            // A new stage begins: it has a rate and a time left of its own.
            self.0.reset();
        }
        self.0.set_position(position);
        let elapsed = self.0.elapsed().as_secs_f64();
        let rate = if elapsed > 0.0 { rows as f64 / elapsed } else { 0.0 };
        let left = match progress.share() {
            Some(share) if share > 0.0 => {
                format!(", {} left", HumanDuration(Duration::from_secs_f64(elapsed * (1.0 - share) / share)))
            }
            _ => String::new(),
        };
        self.0.set_message(format!("{doing}: {} requests, {}/s{left}", HumanCount(rows), HumanCount(rate as u64)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
