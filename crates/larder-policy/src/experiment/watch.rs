//! Guardrails over a stretch of slices, and over the next: what was long ago must not outweigh what is.

use super::counts::ShardSlice;
use super::guardrails::{Breach, Guardrails, LEAST_SLICES};
use super::trial::Trial;

/// Horizons that a lasting watch goes on for: with slices of a second, nearly two hours.
const LASTING: u64 = 64;

/// A watch over the arms since the last change of sides, or since it began anew. A short one finds what harms much at once and soon; what harms a little
/// and goes on takes more evidence than it ever has, and is for a lasting one.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    trial: Trial,
    /// Slices after which it begins anew.
    span: u64,
    /// Slices before its first look.
    first: u64,
    /// Whether the control was too stale before it began, as far as is known.
    excused: bool,
}

impl Watch {
    pub(crate) fn short(horizon: u64, trial: Trial) -> Self {
        Self { trial, span: horizon.max(LEAST_SLICES), first: LEAST_SLICES, excused: false }
    }

    /// Its first look comes when the short one has had its last.
    pub(crate) fn lasting(horizon: u64, trial: Trial) -> Self {
        let span = horizon.max(LEAST_SLICES);
        Self {
            trial,
            span: span.saturating_mul(LASTING),
            first: span.checked_next_power_of_two().unwrap_or(1 << 63),
            excused: false,
        }
    }

    /// Counts a slice and looks: the guardrail that was hit, if any.
    pub(crate) fn look(
        &mut self,
        slice: &[ShardSlice],
        before: Option<&Trial>,
        guardrails: &Guardrails,
    ) -> Option<Breach> {
        self.trial.push(slice);
        guardrails.breach(&self.trial, self.first, before, self.excused)
    }

    /// Whether it has lasted as long as it may.
    pub(crate) fn is_over(&self) -> bool {
        self.trial.counted() >= self.span
    }

    /// Begins anew with an empty trial, and keeps what it found of the control, or where it counted nothing, what the trial `before` tells.
    pub(crate) fn begin(&mut self, empty: Trial, before: &Trial, guardrails: &Guardrails) {
        let told = if self.trial.counted() > 0 { &self.trial } else { before };
        self.excused = guardrails.excuses(told, self.first).unwrap_or(self.excused);
        self.trial = empty;
    }
}
