//! Once a second, what all caches report: made once, however many look.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::State;
use super::history::{History, Moment, Point};
use super::peers::Reached;

const EVERY: Duration = Duration::from_secs(1);

/// What `/report` and each event says.
#[derive(Serialize)]
struct Frame {
    /// Milliseconds since the Unix epoch.
    at: u64,
    caches: Vec<Shown>,
    /// The other instances that are followed.
    peers: Vec<Reached>,
    /// Why these may be others by now.
    registry: Option<String>,
}

/// A cache as the page shows it.
#[derive(Clone, Serialize)]
pub(super) struct Shown {
    /// By which requests name it.
    pub(super) id: Arc<str>,
    /// Its [`Report`](crate::Report).
    pub(super) report: Value,
}

pub(super) struct Feed {
    latest: watch::Sender<Arc<str>>,
    /// Without those of other instances.
    own: Mutex<Arc<str>>,
    history: Mutex<History>,
}

impl Default for Feed {
    fn default() -> Self {
        let empty: Arc<str> = r#"{"at":0,"caches":[],"peers":[],"registry":null}"#.into();
        Self { latest: watch::Sender::new(empty.clone()), own: Mutex::new(empty), history: Mutex::default() }
    }
}

impl Feed {
    /// The latest frame, and those to come; who is slow misses some and holds none.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<str>> {
        self.latest.subscribe()
    }

    /// Some moments from number `from` on, as JSON, with the number of the one after them; `None` once there are no more.
    pub(super) fn history(&self, from: u64, most: usize) -> Option<(String, u64)> {
        let (moments, next) = self.history.lock().from(from, most);
        let moments: Vec<&Moment> = moments.iter().map(|moment| &**moment).collect();
        // Plain data: numbers, and names of caches.
        (!moments.is_empty()).then(|| (serde_json::to_string(&moments).unwrap_or_default(), next))
    }

    /// The latest frame of this instance's caches alone.
    pub(super) fn own(&self) -> Arc<str> {
        self.own.lock().clone()
    }

    /// Asks all caches, and takes what is known of those of other instances.
    pub(super) fn tick(&self, state: &State) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let own = state.sources.reports().into_iter().filter_map(|(id, report)| {
            let report =
                serde_json::to_value(report).inspect_err(|error| tracing::error!(%error, "a report is no JSON"));
            Some(Shown { id, report: report.ok()? })
        });
        let mut frame = Frame { at, caches: own.collect(), peers: Vec::new(), registry: None };
        *self.own.lock() = frame.text();
        frame.registry = state.peers.registry();
        for (theirs, reached) in state.peers.latest() {
            frame.caches.extend(theirs);
            frame.peers.push(reached);
        }
        let points = frame.caches.iter().map(|shown| Point::new(shown.id.clone(), &shown.report)).collect();
        self.history.lock().push(Moment { at, caches: points });
        self.latest.send_replace(frame.text());
    }
}

impl Frame {
    fn text(&self) -> Arc<str> {
        // Values and names: they always can be written.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// Feeds until stopped.
pub(super) async fn run(state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    // A cache that is added makes the first frame: at once another would be of the same moment.
    let mut ticks = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => state.feed.tick(&state),
            // Stopped, or the dashboard is gone.
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}
