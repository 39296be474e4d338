//! How a long run tells how far it is.

use larder_trace::Progress;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Counting keys, or noting where each comes next.
    Survey,
    /// Feeding the policies.
    Replay,
}

/// Watches a run. Calls come once a batch, from any thread.
pub trait Observer: Sync {
    /// `rows` of the trace are read; `progress` tells how far into it that is.
    fn progress(&self, stage: Stage, rows: u64, progress: Progress);
}

/// Watches nothing.
impl Observer for () {
    fn progress(&self, _: Stage, _: u64, _: Progress) {}
}
