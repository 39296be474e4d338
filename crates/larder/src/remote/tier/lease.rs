//! One load a key across processes, where the store has leases.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::counts::count;
use super::{Core, Entry, Reply, Tier};
use crate::bounds::FOR_EVER;
use crate::remote::{Name, names};

/// How often at first, and at last, to look whether the holder has filled the key.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How far two readings of one value's age may lie apart.
const DRIFT: Duration = Duration::from_millis(1);

/// Whether this process is to load the key.
#[derive(Debug)]
#[must_use]
pub enum Lease {
    /// It is: keep the guard until the fill is queued. Dropping it gives the lease back.
    Granted(Guard),
    /// Another process is at it.
    Taken,
    /// Nobody can say: the store has no leases or cannot be reached. Load.
    Unknown,
}

/// A lease that is held.
#[derive(Debug)]
pub struct Guard {
    core: Arc<Core>,
    name: Name,
    token: u64,
    /// Whether there is, or may be, something to give back.
    held: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let (core, name, token) = (self.core.clone(), self.name.clone(), self.token);
        self.core.runtime.spawn(async move {
            // If it fails, the lease ends by itself.
            let _ = core.gate.call(core.gate.until(), || core.store.release(&name, token)).await;
        });
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

pub(super) async fn lease(core: &Arc<Core>, name: &Name, ttl: Duration) -> Lease {
    if !core.store.capabilities().leases {
        return Lease::Unknown;
    }
    let mut guard = Guard { core: core.clone(), name: names::lease(name), token: fastrand::u64(..), held: true };
    match core.gate.call(core.gate.until(), || core.store.lease(&guard.name, guard.token, ttl)).await {
        Ok(true) => {
            count(&core.gate.counts.leases);
            Lease::Granted(guard)
        }
        Ok(false) => {
            guard.held = false;
            Lease::Taken
        }
        // It may be held all the same: the guard gives it back.
        Err(_) => Lease::Unknown,
    }
}

/// How waiting for another process's load ended.
#[derive(Debug)]
#[must_use]
pub enum Waited {
    /// It has filled the key.
    Filled(Reply),
    /// It gave the lease back without: this process is to load the key.
    Granted(Guard),
    /// The time is up, or nobody can say: load.
    Over,
}

pub(super) async fn wait_for(tier: &Tier, name: &Name, age: Option<Duration>, up_to: Duration) -> Waited {
    let began = Instant::now();
    let until = began + up_to.min(FOR_EVER);
    let (mut pause, mut granted) = (LOOK.0, None);
    loop {
        let known = age.map(|age| age.saturating_add(began.elapsed()));
        let Some(reply) = tier.get(std::slice::from_ref(name)).await.ok().and_then(|mut replies| replies.pop()) else {
            return Waited::Over;
        };
        // A value that all know, and that one is loading anew, is not what the others wait for.
        let is_new = |entry: &Entry| {
            entry.fresh_for > Duration::ZERO && known.is_none_or(|known| entry.age.saturating_add(DRIFT) < known)
        };
        if reply.found.as_ref().is_some_and(is_new) {
            return Waited::Filled(reply);
        }
        if granted.is_none() && Instant::now() + pause > until {
            return Waited::Over;
        }
        // Once it is ours, one more look: the holder fills the key and then gives the lease back.
        if let Some(guard) = granted.take() {
            return Waited::Granted(guard);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
        match lease(&tier.core, name, up_to).await {
            Lease::Granted(guard) => granted = Some(guard),
            Lease::Taken => {}
            Lease::Unknown => return Waited::Over,
        }
    }
}
