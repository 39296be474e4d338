//! Writing, and the three tasks of a tier: what listens, what probes, what sends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::counts::{add, count};
use super::outbox::Queued;
use super::read::wrap;
use super::{BreakerState, Core, Entry, Fill};
use crate::remote::envelope::Fence;
use crate::remote::{Envelope, Filled, Invalidation, Item, Name, Notice, names};
use crate::{Error, ErrorKind};

/// How many fills or invalidations go in one call.
const BATCH: usize = 64;
/// How many bytes of values, so that they take no longer than a call may and reads behind them do not wait for long.
const BATCH_BYTES: usize = 256 << 10;
/// How long to wait after an invalidation failed though the breaker is closed: at first, and each time twice as long, up to the longest.
const AGAIN: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Invalidations under way: put off if they are not done, however the attempt ends.
struct Attempt<'a> {
    core: &'a Core,
    notices: &'a [Notice],
    done: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.done {
            self.core.outbox.done(self.notices);
            if self.core.outbox.is_idle() {
                self.core.outbox.idle.notify_waiters();
            }
            add(&self.core.gate.counts.invalidated, self.notices.len());
        } else {
            self.core.put_off(self.notices);
        }
    }
}

impl Core {
    pub(super) fn fill(&self, fill: Fill) -> bool {
        let counts = &self.gate.counts;
        // Nothing can be sent and nobody waits for it: memory is better spent on what was asked for.
        if self.gate.breaker.state() == BreakerState::Open {
            count(&counts.lost_fills);
            return false;
        }
        if fill.entry.payload.as_ref().is_some_and(|payload| payload.len() > self.config.form.limit) {
            count(&counts.bad_fills);
            return false;
        }
        let (envelope, ttl) = wrap(self, &fill.entry, fill.fence);
        let kept = self.outbox.push(fill.name, Queued { envelope, ttl }, self.config.queue, self.config.queue_bytes);
        if !kept {
            count(&counts.crowded_fills);
        }
        kept
    }

    pub(super) async fn write(&self, name: &Name, entry: &Entry) -> Result<(), Error> {
        let what = Invalidation::Key(name.clone());
        let mark = self.notice(what.clone())?;
        let (envelope, ttl) = wrap(self, entry, fence());
        let encoded = envelope.encode(name, &self.config.form);
        let marks = [mark];
        self.remember(&marks);
        let mut attempt = Attempt { core: self, notices: &marks, done: false };
        // What cannot be kept is outdated all the same.
        let bytes = encoded?;
        let notices = [Notice::new(what, Item { name: name.clone(), bytes, ttl })];
        self.gate.call(self.gate.until(), || self.store.invalidate(&notices)).await?;
        attempt.done = true;
        Ok(())
    }

    pub(super) async fn invalidate(&self, what: &[Invalidation]) -> Result<(), Error> {
        let notices = what.iter().cloned().map(|what| self.notice(what)).collect::<Result<Vec<_>, _>>()?;
        self.remember(&notices);
        let attempts = notices.chunks(BATCH).map(|notices| Attempt { core: self, notices, done: false });
        let mut failed = None;
        // All of them from now on, so that those that are not reached are put off.
        for mut attempt in attempts.collect::<Vec<_>>() {
            match self.gate.call(self.gate.until(), || self.store.invalidate(attempt.notices)).await {
                Ok(()) => attempt.done = true,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// From now on, what is named is a miss here.
    fn remember(&self, notices: &[Notice]) {
        self.mark(notices);
        self.outbox.begin(notices);
    }

    /// They are to be sent again; where that is too much to remember, whole namespaces are cleared instead.
    fn put_off(&self, notices: &[Notice]) {
        add(&self.gate.counts.put_off_invalidations, notices.len());
        if self.outbox.put_off(notices) <= self.config.pending {
            return;
        }
        match self.outbox.widen(|name| self.notice(Invalidation::Clear(name))) {
            Ok(wide) => {
                count(&self.gate.counts.widened);
                self.mark(&wide);
            }
            // What is remembered stays.
            Err(error) => {
                tracing::error!(%error, "too many invalidations wait, and their namespaces cannot be cleared")
            }
        }
    }

    fn mark(&self, notices: &[Notice]) {
        for notice in notices {
            if let Invalidation::Tag(mark) | Invalidation::Clear(mark) = &notice.what {
                self.marks.set(mark, self.store.now());
            }
        }
    }

    /// What to announce, and the mark to keep.
    fn notice(&self, what: Invalidation) -> Result<Notice, Error> {
        let (name, ttl) = match &what {
            Invalidation::Key(name) => (name, self.config.fence_for),
            // As long as anything loaded before may be kept, and a little longer.
            Invalidation::Tag(name) | Invalidation::Clear(name) => (name, self.config.longest + self.config.fence_for),
            Invalidation::Lost => {
                return Err(Error::new(ErrorKind::Config, "a loss is what a store reports; it cannot be announced"));
            }
        };
        let bytes = Envelope::invalidated(self.store.now(), fence()).encode(name, &self.config.form)?;
        let instead = Item { name: name.clone(), bytes, ttl };
        Ok(Notice::new(what, instead))
    }

    /// For another attempt: a mark is of when it is kept. When it was first tried, the store's clock may not have been known.
    fn again(&self, notice: &Notice) -> Notice {
        match notice.what {
            Invalidation::Tag(_) | Invalidation::Clear(_) => self.notice(notice.what.clone()),
            Invalidation::Key(_) | Invalidation::Lost => Ok(notice.clone()),
        }
        .unwrap_or_else(|_| notice.clone())
    }

    /// Sends what waits until nothing does, but for invalidations that could not be done and are not to be tried yet. False if the store rests.
    async fn drain(&self, again: &mut Again) -> bool {
        loop {
            // Those that are put off while fills are sent do not wait for the last fill.
            if Instant::now() >= again.at {
                let Some(done) = self.announce_due().await else { return false };
                again.tried(done);
            }
            let fills = self.outbox.take(BATCH, BATCH_BYTES);
            if fills.is_empty() {
                return true;
            }
            let many = fills.len();
            self.send_fills(fills).await;
            self.outbox.settle(many);
        }
    }

    /// Sends the invalidations that are due. Whether all are done; `None` if the store rests.
    async fn announce_due(&self) -> Option<bool> {
        let mut all_done = true;
        let due = self.outbox.due(|notice| self.again(notice));
        self.mark(&due);
        for batch in due.chunks(BATCH) {
            if self.announce(batch).await {
                continue;
            }
            if self.gate.breaker.state() == BreakerState::Open {
                return None;
            }
            if batch.len() == 1 {
                all_done = false;
                continue;
            }
            // One that cannot be done, as where one primary of a cluster is down, does not hold up the others.
            let singly = join_all(batch.chunks(1).map(|one| self.announce(one))).await;
            all_done &= !singly.contains(&false);
        }
        Some(all_done)
    }

    /// Whether invalidations are done.
    async fn announce(&self, notices: &[Notice]) -> bool {
        let is_done = self.gate.call(self.gate.until(), || self.store.invalidate(notices)).await.is_ok();
        if is_done {
            self.outbox.done(notices);
            add(&self.gate.counts.invalidated, notices.len());
        }
        is_done
    }

    async fn send_fills(&self, fills: Vec<(Name, Queued)>) {
        let counts = &self.gate.counts;
        let all = fills.len();
        let items: Vec<_> = fills
            .into_iter()
            .filter_map(|(name, Queued { envelope, ttl })| {
                let bytes = envelope.encode(&name, &self.config.form).ok()?;
                Some(Item { name, bytes, ttl })
            })
            .collect();
        add(&counts.bad_fills, all - items.len());
        if items.is_empty() {
            return;
        }
        match self.gate.call(self.gate.until(), || self.store.put(&items)).await {
            Ok(Filled { kept, not_admitted }) => {
                add(&counts.filled, kept.min(items.len()));
                add(&counts.not_admitted, not_admitted.min(items.len()));
                add(&counts.fenced, items.len().saturating_sub(kept.saturating_add(not_admitted)));
            }
            Err(_) => add(&counts.lost_fills, items.len()),
        }
    }
}

/// A fence nobody has used: 0 is that of keys never invalidated.
fn fence() -> Fence {
    Fence(fastrand::u64(1..))
}

/// Keeps what is known about tags true.
pub(super) async fn listen(core: Arc<Core>, mut messages: broadcast::Receiver<Invalidation>) {
    loop {
        let what = match messages.recv().await {
            Ok(what) => what,
            Err(RecvError::Lagged(_)) => Invalidation::Lost,
            Err(RecvError::Closed) => return,
        };
        core.marks.hear(&what);
    }
}

/// Brings the breaker back to closed, whether anybody asks or not.
pub(super) async fn probe(core: Arc<Core>) {
    let breaker = &core.gate.breaker;
    // Under a name no key can have.
    let names = [names::all("larder.probe")];
    loop {
        let changed = breaker.changed.notified();
        let Some(at) = breaker.probe_at() else {
            changed.await;
            continue;
        };
        sleep_until(at).await;
        breaker.half_open();
        // Its verdict is all that matters.
        let _ = core.gate.call(core.gate.until(), || core.store.get(&names)).await;
        if breaker.state() == BreakerState::Closed {
            core.outbox.wake.notify_one();
        }
    }
}

/// When invalidations that could not be done are tried again.
struct Again {
    at: Instant,
    /// Whether any are left.
    waits: bool,
    pause: Duration,
}

impl Again {
    fn tried(&mut self, done: bool) {
        self.waits = !done;
        (self.at, self.pause) = match done {
            true => (Instant::now(), AGAIN),
            false => (Instant::now() + self.pause, (self.pause * 2).min(LONGEST_PAUSE)),
        };
    }
}

/// Sends fills, and invalidations that could not be done at once.
pub(super) async fn send(core: Arc<Core>) {
    let mut again = Again { at: Instant::now(), waits: false, pause: AGAIN };
    loop {
        let woken = core.outbox.wake.notified();
        if core.drain(&mut again).await && again.waits {
            // Fills of what answers do not wait for what does not.
            _ = timeout_at(again.at, woken).await;
            continue;
        }
        // The probe wakes us where the store rests.
        if core.outbox.is_idle() {
            core.outbox.idle.notify_waiters();
        }
        woken.await;
    }
}
