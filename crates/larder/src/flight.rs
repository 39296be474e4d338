//! Single flight: of many who miss a key at once, one loads and all get its answer.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_policy::{KeyHash, Time};
use tokio::sync::Notify;

use crate::Error;
use crate::fetched::Found;
use crate::hash::Hashed;
use crate::limits::Lenders;
use crate::remote::Name;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// The answer of a load: a value, or that the origin has none.
pub(crate) type Answer<V> = Result<Found<Option<V>>, Error>;

/// What came before a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Era {
    /// Which generation of the whole cache it is: a `clear` ends it.
    pub(crate) generation: u32,
    /// How many tags were removed.
    pub(crate) removals: u64,
}

/// A load under way.
pub(crate) struct Flight<K, V> {
    pub(crate) key: K,
    /// When it began: a `clear` since then makes its answer void.
    pub(crate) era: Era,
    /// Whether it may ask the origin. One that cannot brings what the remote tier has, or nothing.
    loads: bool,
    /// It renews what is served meanwhile: no reader waits for it.
    pub(crate) renews: bool,
    /// The user wants the origin asked, whatever the remote tier has.
    pub(crate) is_refresh: bool,
    /// The engine has not heard of the read that opened it: only when there is a value is it known to which class that belongs.
    unheard: AtomicBool,
    /// The key was written or invalidated since it began: its answer is not kept, and nobody joins it any more.
    fenced: AtomicBool,
    /// Those it answers, where somebody records them.
    pub(crate) reads: Mutex<Reads>,
    /// The tags of its answer, where it has any, and when the origin said so.
    tagged: Mutex<Option<(Vec<Name>, Time)>>,
    /// The loads that wait for it.
    pub(crate) lenders: Lenders,
    answer: OnceLock<Answer<V>>,
    landed: Notify,
}

/// Reads that a load answers, and what is known of its value.
pub(crate) struct Reads {
    pub(crate) at: Vec<Time>,
    pub(crate) size: u32,
    /// In µs; 0 where nobody asked the origin.
    pub(crate) cost: u32,
    pub(crate) ttl: Option<Duration>,
}

impl Default for Reads {
    fn default() -> Self {
        Self { at: Vec::new(), size: 1, cost: 0, ttl: None }
    }
}

impl<K, V: Clone> Flight<K, V> {
    /// For a read that the engine has not heard of.
    pub(crate) fn for_miss(key: K, era: Era, loads: bool) -> Arc<Self> {
        Arc::new(Self { unheard: AtomicBool::new(true), ..Self::new(key, era, loads, false) })
    }

    /// For a read that the engine has decided on: it serves what it can meanwhile, if this `renews`.
    pub(crate) fn for_heard(key: K, era: Era, loads: bool, renews: bool) -> Arc<Self> {
        Arc::new(Self::new(key, era, loads, renews))
    }

    /// For nobody who reads.
    pub(crate) fn for_refresh(key: K, era: Era) -> Arc<Self> {
        Arc::new(Self { is_refresh: true, ..Self::new(key, era, true, true) })
    }

    fn new(key: K, era: Era, loads: bool, renews: bool) -> Self {
        let (unheard, fenced) = (AtomicBool::new(false), AtomicBool::new(false));
        let (reads, answer, landed) = (Mutex::new(Reads::default()), OnceLock::new(), Notify::new());
        let (tagged, lenders) = (Mutex::new(None), Lenders::default());
        Self { key, era, loads, renews, is_refresh: false, unheard, fenced, reads, tagged, lenders, answer, landed }
    }

    // Every access to the flags is made under the shard's lock, so they need no ordering of their own.

    /// Whether the engine is to hear of the read; `true` once.
    pub(crate) fn take_unheard(&self) -> bool {
        let unheard = self.unheard.load(Ordering::Relaxed);
        self.unheard.store(false, Ordering::Relaxed);
        unheard
    }

    pub(crate) fn fence(&self) {
        self.fenced.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Its answer is of `as_of`, and has these tags.
    pub(crate) fn carries(&self, tags: &[Name], as_of: Time) {
        *self.tagged.lock() = (!tags.is_empty()).then(|| (tags.to_vec(), as_of));
    }

    /// Its answer's tags, and of when it is; `None` without any.
    pub(crate) fn tagged(&self) -> Option<(Vec<Name>, Time)> {
        self.tagged.lock().clone()
    }

    /// The first answer stands.
    pub(crate) fn land(&self, answer: Answer<V>) {
        if self.answer.set(answer).is_ok() {
            self.landed.notify_waiters();
        }
    }

    /// The answer, when it comes.
    pub(crate) async fn answer(&self) -> Answer<V> {
        loop {
            // Who is woken from here on is woken even before it waits: nothing comes in between.
            let landed = self.landed.notified();
            if let Some(answer) = self.answer.get() {
                return answer.clone();
            }
            landed.await;
        }
    }
}

/// The loads under way, one a hash; under the segment's lock.
pub(crate) struct Flights<K, V>(HashMap<KeyHash, Arc<Flight<K, V>>, Hashed>);

/// What there is for who misses a key.
pub(crate) enum Boarding<K, V> {
    /// A load whose answer will do; where tags were removed since it began, and the reader is late, only if it has none of them.
    Join { flight: Arc<Flight<K, V>>, is_late: bool },
    /// Nothing: a load is to be opened.
    Open,
    /// Another key of the same hash has the place.
    Taken,
}

impl<K, V: Clone> Flights<K, V> {
    pub(crate) fn has(&self, hash: KeyHash) -> bool {
        self.0.contains_key(&hash)
    }

    /// One that was overtaken by a write, or began in another generation than this, is not joined: a new one takes its place. So it
    /// is for a reader that `loads` and one that cannot: whose answer is not kept then, as no write would fence it any more.
    pub(crate) fn board(&self, hash: KeyHash, era: Era, loads: bool, is_it: impl Fn(&K) -> bool) -> Boarding<K, V> {
        match self.0.get(&hash) {
            Some(flight) if !is_it(&flight.key) => Boarding::Taken,
            Some(flight) if loads && !flight.loads => {
                flight.fence();
                Boarding::Open
            }
            Some(flight) if !flight.is_fenced() && flight.era.generation == era.generation => {
                Boarding::Join { flight: flight.clone(), is_late: flight.era.removals != era.removals }
            }
            _ => Boarding::Open,
        }
    }

    pub(crate) fn open(&mut self, hash: KeyHash, flight: Arc<Flight<K, V>>) {
        self.0.insert(hash, flight);
    }

    /// It is over: nobody joins it any more. The place may be another's by now.
    pub(crate) fn close(&mut self, hash: KeyHash, flight: &Arc<Flight<K, V>>) {
        if self.0.get(&hash).is_some_and(|open| Arc::ptr_eq(open, flight)) {
            self.0.remove(&hash);
        }
    }

    /// Whatever load of the key is under way, its answer will not be kept.
    pub(crate) fn fence(&self, hash: KeyHash, is_it: impl Fn(&K) -> bool) {
        if let Some(flight) = self.0.get(&hash).filter(|flight| is_it(&flight.key)) {
            flight.fence();
        }
    }
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}
