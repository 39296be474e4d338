//! What happens without anybody asking: expired entries go, and other processes' invalidations come in. Both end with the cache.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use crate::cache::Inner;
use crate::key::Key;
use crate::remote::Invalidation;
use crate::report::ModelReport;
use crate::shared::Heard;
use crate::sharing;

pub(crate) fn start<K, V>(inner: &Arc<Inner<K, V>>, every: Duration)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    let runtime = &inner.runtime;
    runtime.spawn(tick(Arc::downgrade(inner), every));
    if let Some(slice) = inner.store.slice() {
        runtime.spawn(judge(Arc::downgrade(inner), slice));
    }
    if let Some(exchange) = &inner.sharing {
        runtime.spawn(sharing::run(Arc::downgrade(inner), exchange.clone()));
    }
    if let Some(shared) = &inner.shared {
        runtime.spawn(listen(Arc::downgrade(inner), shared.tier.listen()));
    }
}

/// Does a round of what goes on for ever: a panic in the user's code, as in the drop of a value, ends this one round.
fn round(cache: &str, round: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(round)).is_err() {
        tracing::error!(cache, "a drop of a key or value, or a key's text, panicked; the cache goes on");
    }
}

async fn tick<K, V>(inner: Weak<Inner<K, V>>, every: Duration)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut model = None;
    #[cfg(feature = "metrics")]
    let mut publisher = crate::metrics::Publisher::new();
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        round(&inner.name, || inner.store.tick());
        inner.recent.lock().note(inner.store.clock.now(), || inner.store.audited());
        tell(&inner.name, &mut model, inner.store.model());
        #[cfg(feature = "metrics")]
        publisher.publish(&crate::cache::Cache { inner }.report());
    }
}

/// Says when the model begins or ceases to rank parts of the memory, and when it begins anew.
fn tell(cache: &str, before: &mut Option<ModelReport>, now: Option<ModelReport>) {
    let was = std::mem::replace(before, now);
    let (Some(was), Some(ModelReport { parts, on_duty, retreats, drifts, .. })) = (was, now) else { return };
    if drifts > was.drifts {
        tracing::warn!(
            cache,
            drifts,
            parts,
            "the model drifts: it foretold less than the base rate, and begins anew as LRU"
        );
    }
    // In a small cache it may be back before anybody looks.
    if on_duty < was.on_duty || retreats > was.retreats {
        tracing::warn!(cache, on_duty, parts, retreats, "the model steps back: LRU ranks");
    }
    if on_duty > was.on_duty {
        tracing::info!(cache, on_duty, parts, retreats, "the model ranks again");
    }
}

async fn judge<K, V>(inner: Weak<Inner<K, V>>, slice: Duration)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    let mut slices = tokio::time::interval(slice);
    slices.set_missed_tick_behavior(MissedTickBehavior::Delay);
    slices.tick().await;
    loop {
        slices.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        round(&inner.name, || {
            if let Some(turn) = inner.store.end_slice() {
                inner.tell(&turn);
            }
        });
    }
}

async fn listen<K, V>(inner: Weak<Inner<K, V>>, mut messages: tokio::sync::broadcast::Receiver<Invalidation>)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    loop {
        let message = match messages.recv().await {
            Ok(message) => message,
            // Who cannot keep up has lost some.
            Err(RecvError::Lagged(_)) => Invalidation::Lost,
            Err(RecvError::Closed) => return,
        };
        let Some(inner) = inner.upgrade() else { return };
        let Some(shared) = &inner.shared else { return };
        round(&inner.name, || heed(&inner, Heard::of(&message, &shared.namespace)));
    }
}

fn heed<K, V>(inner: &Inner<K, V>, heard: Heard<'_>)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    match heard {
        Heard::Key(text) => inner.store.forget_text(text, |counts| counts.heard += 1),
        Heard::Tag(tag) => inner.store.remove_tag(&tag.into()),
        Heard::Clear => {
            inner.store.clear();
            tracing::info!(cache = %inner.name, source = "remote", "everything was cleared");
        }
        Heard::Lost => {
            inner.store.doubt();
            // A channel says so at its start too, when nothing is kept yet.
            if inner.store.stats().entries > 0 {
                tracing::warn!(cache = %inner.name, "invalidations were lost: what is in memory is asked for anew");
            }
        }
        Heard::Nothing => {}
    }
}
