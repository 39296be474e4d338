//! Single flight: of many who miss a key at once, one loads and all get its answer.

use std::collections::HashMap;
use std::sync::Arc;

use larder_policy::KeyHash;
use tokio::sync::watch;

use crate::Error;
use crate::fetched::Found;
use crate::hash::Hashed;
use crate::sync::{AtomicBool, Ordering};

/// The answer of a load: a value, or that the origin has none.
pub(crate) type Answer<V> = Result<Found<Option<V>>, Error>;

/// A load under way.
pub(crate) struct Flight<K, V> {
    pub(crate) key: K,
    /// Which generation of the whole cache it began in: a `clear` since then makes its answer void.
    pub(crate) generation: u32,
    /// It renews what is served meanwhile: no reader waits for it.
    pub(crate) renews: bool,
    /// The key was written or invalidated since it began: its answer is not kept, and nobody joins it any more.
    fenced: AtomicBool,
    answer: watch::Sender<Option<Answer<V>>>,
}

impl<K, V: Clone> Flight<K, V> {
    pub(crate) fn new(key: K, generation: u32, renews: bool) -> Arc<Self> {
        Arc::new(Self { key, generation, renews, fenced: AtomicBool::new(false), answer: watch::Sender::new(None) })
    }

    // Every access to the fence is made under the shard's lock, so the flag needs no ordering of its own.
    pub(crate) fn fence(&self) {
        self.fenced.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    pub(crate) fn land(&self, answer: Answer<V>) {
        self.answer.send_replace(Some(answer));
    }

    /// The answer, when it comes.
    pub(crate) async fn answer(&self) -> Answer<V> {
        let mut answers = self.answer.subscribe();
        // The sender lives as long as `self`, so the channel cannot close while this waits.
        match answers.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err(crate::load::abandoned())),
            Err(_) => Err(crate::load::abandoned()),
        }
    }
}

/// The loads under way, one a hash; under the segment's lock.
pub(crate) struct Flights<K, V>(HashMap<KeyHash, Arc<Flight<K, V>>, Hashed>);

/// What there is for who misses a key.
pub(crate) enum Boarding<K, V> {
    /// A load whose answer will do.
    Join(Arc<Flight<K, V>>),
    /// Nothing: a load is to be opened.
    Open,
    /// Another key of the same hash has the place.
    Taken,
}

impl<K, V: Clone> Flights<K, V> {
    pub(crate) fn has(&self, hash: KeyHash) -> bool {
        self.0.contains_key(&hash)
    }

    /// One that was overtaken by a write is not joined: a new one takes its place.
    pub(crate) fn board(&self, hash: KeyHash, is_it: impl Fn(&K) -> bool) -> Boarding<K, V> {
        match self.0.get(&hash) {
            Some(flight) if !is_it(&flight.key) => Boarding::Taken,
            Some(flight) if !flight.is_fenced() => Boarding::Join(flight.clone()),
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
