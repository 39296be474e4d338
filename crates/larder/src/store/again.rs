//! Reads whose load came to nothing: it panicked, or what it brought was removed before they began. They are counted already.

use std::borrow::Borrow;
use std::sync::Arc;

use larder_policy::KeyHash;

use super::{Step, Store};
use crate::fetched::{Found, Tier};
use crate::flight::{Boarding, Flight};
use crate::key::Key;
use crate::telemetry::Timer;

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// Whether the answer of a flight has a tag that was removed since. Who joined it late steps [`again`](Self::again) then.
    pub(crate) fn is_void(&self, flight: &Flight<K, V>) -> bool {
        flight.tagged().is_some_and(|(tags, as_of)| self.tags.are_removed(&tags, as_of))
    }

    /// A flight that answers who opens it alone, and is not kept, as no write could fence it.
    pub(crate) fn alone(&self, key: K) -> Arc<Flight<K, V>> {
        let flight = Flight::for_heard(key, self.era(), true, false);
        flight.fence();
        flight
    }

    /// As [`step`](Self::step), but no access.
    pub(crate) fn again<Q>(&self, key: &Q, hash: KeyHash, loads: bool, timer: Timer) -> Step<K, V>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let now = self.clock.now();
        let mut segment = self.segment(hash);
        let resident = segment.kernel.peek(hash).filter(|entry| entry.key.borrow() == key);
        let is_known = resident.is_some();
        if let Some(entry) = resident.filter(|entry| self.may_serve(entry, now)) {
            let (value, age) = (entry.value.clone(), now.since(entry.as_of));
            return Step::Serve(Found { value, tier: Tier::Local, age, is_stale: false });
        }
        let era = self.era();
        let is_taken = match segment.flights.board(hash, era, loads, |own| own.borrow() == key) {
            Boarding::Join { flight, is_late } => {
                return Step::Wait { timer, flight, leads: false, is_late, stale: None };
            }
            Boarding::Taken => true,
            Boarding::Open => false,
        };
        let flight: Arc<_> = match is_known {
            true => Flight::for_heard(key.to_owned(), era, loads, false),
            false => Flight::for_miss(key.to_owned(), era, loads),
        };
        match is_taken {
            // By another key of the same hash: this one is not kept, as no write could fence it.
            true => flight.fence(),
            false => segment.flights.open(hash, flight.clone()),
        }
        Step::Wait { timer, flight, leads: true, is_late: false, stale: None }
    }
}
