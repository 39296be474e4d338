//! Loads that no reader waits for.

use std::borrow::Borrow;
use std::sync::Arc;

use larder_policy::KeyHash;

use super::Store;
use crate::decisions::Decided;
use crate::flight::{Boarding, Flight};
use crate::key::Key;

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// Opens a flight for a key that nobody reads yet, where memory has nothing fresh, or joins one; with it, whether it is opened. This is no access.
    pub(crate) fn ahead(&self, key: &K, hash: KeyHash) -> Option<(Arc<Flight<K, V>>, bool)> {
        let mut segment = self.segment(hash);
        if self.is_fresh(&segment, key, hash) {
            return None;
        }
        let era = self.era();
        match segment.flights.board(hash, era, true, |own| own == key) {
            Boarding::Taken => None,
            Boarding::Join { flight, .. } => Some((flight, false)),
            Boarding::Open => {
                let flight = Flight::for_heard(key.clone(), era, true, true);
                segment.flights.open(hash, flight.clone());
                Some((flight, true))
            }
        }
    }

    /// Opens a flight to the origin, whatever memory and the remote tier have, or joins one; with it, whether it is opened, or else joined late. This
    /// is no access.
    pub(crate) fn anew<Q>(&self, key: &Q, hash: KeyHash) -> (Arc<Flight<K, V>>, bool, bool)
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let mut segment = self.segment(hash);
        let era = self.era();
        let is_taken = match segment.flights.board(hash, era, true, |own| own.borrow() == key) {
            Boarding::Join { flight, is_late } => return (flight, false, is_late),
            Boarding::Taken => true,
            Boarding::Open => false,
        };
        let flight = Flight::for_refresh(key.to_owned(), era);
        match is_taken {
            // By another key of the same hash: this one is not kept, as no write could fence it.
            true => flight.fence(),
            false => segment.flights.open(hash, flight.clone()),
        }
        if self.is_fresh(&segment, key, hash) {
            let now = self.clock.now();
            let age = segment.kernel.peek(hash).map(|entry| now.since(entry.as_of)).unwrap_or_default();
            segment.counts.refreshes += 1;
            segment.note(now, hash, Decided::Renewed, age);
        }
        (flight, true, false)
    }
}
