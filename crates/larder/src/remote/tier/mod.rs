//! Makes any [`RemoteStore`] harmless: no call takes longer than its deadline, none is made while the store rests, nothing
//! queued grows without bound, and no answer is believed that does not prove whose it is and how old.

mod breaker;
mod calls;
mod counts;
mod gate;
mod lease;
mod marks;
mod outbox;
mod read;
mod send;
mod strangers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::envelope::{Fence, Form, MOST_AROUND, MOST_VALUE};
use super::{Capabilities, Invalidation, Name, RemoteStore, ServerFigures};
use crate::bounds::{LONGEST_KEPT, MOST_AT_ONCE, MOST_QUEUED, SHORTEST};
use crate::{Error, bounds};

pub use breaker::{BreakerConfig, BreakerState};
pub use counts::Counts;
pub use lease::{Guard as LeaseGuard, Lease, Waited};

use breaker::Breaker;
use gate::Gate;
use marks::Marks;
use outbox::Outbox;
use strangers::Strangers;

/// The most bytes of values that may be set to wait: a TiB.
const MOST_QUEUE_BYTES: u64 = 1 << 40;

/// How the remote tier is used. Times are from 1 ms to a day, `fence_for` and `longest` to ten years; numbers of things that wait to
/// 100 million.
#[derive(Clone, Debug, PartialEq)]
pub struct TierConfig {
    /// The most a call may take, a second attempt included.
    pub deadline: Duration,
    /// The most calls under way, up to a million; further ones wait, at most until their deadline.
    pub in_flight: usize,
    /// Second attempts as a share of answered calls, out of 1.
    pub retry_share: f64,
    /// When to let the store rest.
    pub breaker: BreakerConfig,
    /// The user's schema, compression, and the largest value.
    pub form: Form,
    /// The most fills that wait.
    pub queue: usize,
    /// The most bytes of values that wait, up to a TiB.
    pub queue_bytes: usize,
    /// The most invalidations remembered while the store cannot be reached; beyond, whole namespaces are cleared instead.
    pub pending: usize,
    /// How long an invalidated key refuses what was loaded before: longer than the longest load.
    pub fence_for: Duration,
    /// The longest any value is kept. A tag's mark lives as long, if the store lets it: one that evicts may lose marks. A process that knew
    /// of one goes on by it; one that comes later serves what the tag's removal was to end, until that expires.
    pub longest: Duration,
    /// How long what was read about tags counts, where the store does not announce or notice losses; the staleness such a store adds.
    pub trust: Duration,
}

impl Default for TierConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(25),
            in_flight: 256,
            retry_share: 0.1,
            breaker: BreakerConfig::default(),
            form: Form::default(),
            queue: 10_000,
            queue_bytes: 32 << 20,
            pending: 10_000,
            fence_for: Duration::from_secs(60),
            longest: Duration::from_secs(24 * 60 * 60),
            trust: Duration::from_secs(1),
        }
    }
}

impl TierConfig {
    fn check(&self) -> Result<(), Error> {
        let BreakerConfig { in_a_row, share, least: _, window, rest, longest_rest, trials, successes } = self.breaker;
        let waits = [("deadline", self.deadline), ("trust", self.trust)];
        bounds::waits("remote tier", &waits)?;
        bounds::waits("remote tier: breaker", &[("window", window), ("rest", rest), ("longest_rest", longest_rest)])?;
        for (name, time) in [("fence_for", self.fence_for), ("longest", self.longest)] {
            bounds::check(&format!("remote tier: {name}"), time, SHORTEST, LONGEST_KEPT)?;
        }
        for (name, number) in [("in_a_row", in_a_row), ("trials", trials), ("successes", successes)] {
            bounds::check(&format!("remote tier: breaker: {name}"), number, 1, u32::MAX)?;
        }
        bounds::check("remote tier: in_flight", self.in_flight, 1, MOST_AT_ONCE)?;
        bounds::check("remote tier: retry_share", self.retry_share, 0.0, 1.0)?;
        bounds::check("remote tier: breaker: share", share, 0.0, 1.0)?;
        bounds::check("remote tier: queue", self.queue, 0, MOST_QUEUED)?;
        bounds::check("remote tier: pending", self.pending, 0, MOST_QUEUED)?;
        bounds::check("remote tier: queue_bytes", self.queue_bytes as u64, 0, MOST_QUEUE_BYTES)?;
        bounds::check("remote tier: the form's limit", self.form.limit, 0, MOST_VALUE)
    }
}

/// What the tier knows about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What a [`Fill`] must carry that was loaded after this. `None`: do not fill, an invalidation of the key is still to be done.
    pub fence: Option<Fence>,
    /// What is kept, if it is usable.
    pub found: Option<Entry>,
}

/// A value, or the knowledge that there is none, as it goes to the tier and comes back. All times count from now, so that no
/// wall clock matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The encoded value; `None` if the origin has none.
    pub payload: Option<Bytes>,
    /// How long ago the origin was asked.
    pub age: Duration,
    /// How much longer it counts as fresh; zero if it is stale.
    pub fresh_for: Duration,
    /// How much longer it may be used at all.
    pub keep_for: Duration,
    /// What the load cost, as latency.
    pub cost: Duration,
    /// The origin's version of it.
    pub version: Option<u64>,
    /// When the origin says that it last changed, since the Unix epoch.
    pub changed_at: Option<Duration>,
    /// What it can be invalidated by, beside its key, within its namespace.
    pub tags: Vec<Name>,
}

/// Something to keep that was just loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Whose it is.
    pub name: Name,
    /// From the [`Reply`] that said it was needed.
    pub fence: Fence,
    /// What to keep.
    pub entry: Entry,
}

/// How the tier is, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierState {
    /// Whether calls go through.
    pub breaker: BreakerState,
    /// Calls under way.
    pub in_flight: usize,
    /// Fills that wait or are being sent.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Invalidations that are not done yet.
    pub pending: usize,
}

/// A [`RemoteStore`] behind a deadline, a breaker, a bulkhead, a retry budget and bounded queues. Dropping it ends its tasks; use
/// [`close`](Self::close) to send what is queued first.
pub struct Tier {
    core: Arc<Core>,
    tasks: [JoinHandle<()>; 3],
}

struct Core {
    store: Arc<dyn RemoteStore>,
    config: TierConfig,
    gate: Gate,
    marks: Marks,
    outbox: Outbox,
    strangers: Strangers,
    runtime: Handle,
}

impl Tier {
    /// A tier over `store`, whose tasks run on `runtime`. Fails with [`ErrorKind::Config`](crate::ErrorKind::Config).
    pub fn new(store: Arc<dyn RemoteStore>, config: TierConfig, runtime: &Handle) -> Result<Self, Error> {
        config.check()?;
        store.expect(config.form.limit.saturating_add(MOST_AROUND));
        let Capabilities { announces, notices_loss, .. } = store.capabilities();
        // Announcements keep marks true; the bound is for whatever nobody thought of.
        let trust = if announces && notices_loss { Duration::from_secs(60) } else { config.trust };
        let core = Arc::new(Core {
            gate: Gate::new(
                Breaker::new(config.breaker.clone()),
                config.in_flight,
                config.deadline,
                config.retry_share,
            ),
            marks: Marks::new(trust),
            outbox: Outbox::default(),
            strangers: Strangers::default(),
            runtime: runtime.clone(),
            store,
            config,
        });
        // Before the first read, so that no announcement is missed.
        let messages = core.store.listen();
        let tasks = [
            runtime.spawn(send::listen(core.clone(), messages).in_current_span()),
            runtime.spawn(send::probe(core.clone()).in_current_span()),
            runtime.spawn(send::send(core.clone()).in_current_span()),
        ];
        Ok(Self { core, tasks })
    }

    /// What is known about `names`, in their order, in one round trip once the tags are known. An error means that the tier cannot
    /// be asked now; every answer that proves unusable is a miss.
    pub async fn get(&self, names: &[Name]) -> Result<Vec<Reply>, Error> {
        calls::get(&self.core, names).await
    }

    /// Queues something to keep; false if it was dropped, which is counted.
    pub fn fill(&self, fill: Fill) -> bool {
        self.core.fill(fill)
    }

    /// Keeps what the caller has just written to the origin, whatever was loaded meanwhile, and tells the other processes that
    /// theirs is outdated. If it fails, the key is invalidated as soon as the store can be reached, and a miss here until then.
    pub async fn write(&self, name: &Name, entry: &Entry) -> Result<(), Error> {
        calls::write(&self.core, name, entry).await
    }

    /// Makes what is named invalid here and in the other processes. If it fails it is remembered and done as soon as the store can
    /// be reached; until then this process takes none of it from the store.
    pub async fn invalidate(&self, what: &[Invalidation]) -> Result<(), Error> {
        calls::invalidate(&self.core, what).await
    }

    /// What others invalidated, from now on; who lags has lost messages ([`Invalidation::Lost`]).
    pub fn listen(&self) -> broadcast::Receiver<Invalidation> {
        self.core.store.listen()
    }

    /// Asks to be the only process that loads the key, for at most `ttl`.
    pub async fn lease(&self, name: &Name, ttl: Duration) -> Lease {
        calls::lease(&self.core, name, ttl).await
    }

    /// Waits for the holder of the key's lease to fill it, for at most `up_to`. Of the value that is known already, `age` is how long
    /// ago the origin was asked: it is not what is waited for.
    pub async fn wait_for(&self, name: &Name, age: Option<Duration>, up_to: Duration) -> Waited {
        calls::wait_for(self, name, age, up_to).await
    }

    /// What the store can do.
    pub fn capabilities(&self) -> Capabilities {
        self.core.store.capabilities()
    }

    /// What its server last said about itself, where the store asks it.
    pub fn server_figures(&self) -> Option<ServerFigures> {
        self.core.store.server_figures()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.core.gate.counts.read()
    }

    /// How it is now.
    pub fn state(&self) -> TierState {
        let (queued, queued_bytes, pending) = self.core.outbox.sizes();
        let Core { gate, config, .. } = &*self.core;
        let in_flight = config.in_flight - gate.room();
        TierState { breaker: gate.breaker.state(), in_flight, queued, queued_bytes, pending }
    }

    /// Waits until everything queued is sent, at most until `deadline`. Whether it was.
    pub async fn flush(&self, deadline: Instant) -> bool {
        let idle = async {
            loop {
                let told = self.core.outbox.idle.notified();
                if self.core.outbox.is_idle() {
                    return;
                }
                told.await;
            }
        };
        timeout_at(deadline, idle).await.is_ok()
    }

    /// Sends what is queued, at most until `deadline`, and ends the tasks. Whether everything was sent.
    pub async fn close(self, deadline: Instant) -> bool {
        self.flush(deadline).await
    }
}

impl Drop for Tier {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier").field("config", &self.core.config).field("state", &self.state()).finish()
    }
}

#[cfg(test)]
mod tests;
