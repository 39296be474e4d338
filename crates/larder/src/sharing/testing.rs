//! What every [`ModelStore`] must do, as tests that any of them can run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{GENERATIONS, Generation, MOST_BYTES, ModelStore};
use crate::remote::{Name, names};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);
/// How long something that must happen may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs every conformance test. Each call of `make` gives another process's view of one and the same store.
///
/// # Panics
/// If the store does not conform.
pub async fn conformance(make: impl AsyncFn() -> Arc<dyn ModelStore>) {
    let space = format!("test{:016x}", fastrand::u64(..));
    let suite = Suite { one: make().await, two: make().await, name: names::models(&space) };
    suite.generations_are_kept_in_order().await;
    suite.who_lost_the_lease_overwrites_nothing().await;
    suite.what_is_too_long_is_cut_beyond_the_limit().await;
}

struct Suite {
    one: Arc<dyn ModelStore>,
    two: Arc<dyn ModelStore>,
    name: Name,
}

impl Suite {
    async fn fetch(&self, known: u64) -> Vec<Generation> {
        self.two.fetch(&self.name, known).await.expect("a well store answers")
    }

    async fn lead(&self, store: &Arc<dyn ModelStore>, who: u64, ttl: Duration) -> bool {
        store.lead(&self.name, who, ttl).await.expect("a well store answers")
    }

    async fn publish(&self, store: &Arc<dyn ModelStore>, who: u64, bytes: &Bytes) -> Option<u64> {
        store.publish(&self.name, who, bytes.clone()).await.expect("a well store answers")
    }

    async fn generations_are_kept_in_order(&self) {
        assert_eq!(self.fetch(0).await, [], "nothing is there at first");
        let bytes = |number: u64| Bytes::from(format!("generation {number}\0\r\n"));
        assert_eq!(self.publish(&self.one, 1, &bytes(1)).await, None, "nobody leads yet");
        assert!(self.lead(&self.one, 1, LONG).await && self.lead(&self.one, 1, LONG).await);
        for number in 1..=GENERATIONS + 2 {
            assert_eq!(self.publish(&self.one, 1, &bytes(number)).await, Some(number));
        }
        let newest = GENERATIONS + 2;
        let found = self.fetch(0).await;
        let expected: Vec<_> = (0..GENERATIONS).map(|before| (newest - before, bytes(newest - before))).collect();
        let told: Vec<_> = found.iter().map(|found| (found.number, found.bytes.clone())).collect();
        assert_eq!(told, expected, "the last {GENERATIONS}, newest first");
        assert!(found.iter().all(|found| found.age < PATIENCE), "{found:?}");
        assert_eq!(self.fetch(newest).await, [], "nothing is new");
        // Of a store that began anew since, everything is.
        assert_eq!(self.fetch(newest + 50).await.len() as u64, GENERATIONS);
    }

    async fn who_lost_the_lease_overwrites_nothing(&self) {
        assert!(!self.lead(&self.two, 2, LONG).await, "one at a time");
        assert_eq!(self.publish(&self.two, 2, &Bytes::from_static(b"two")).await, None);
        assert!(self.lead(&self.one, 1, SHORT).await);
        let until = Instant::now() + PATIENCE;
        while !self.lead(&self.two, 2, LONG).await {
            assert!(Instant::now() < until, "a lease ends");
            sleep(SHORT / 10).await;
        }
        // It stalled, and comes back.
        let before = self.fetch(0).await;
        assert_eq!(self.publish(&self.one, 1, &Bytes::from_static(b"late")).await, None);
        let after = self.fetch(0).await;
        let numbers = |found: &[Generation]| found.iter().map(|found| found.number).collect::<Vec<_>>();
        assert_eq!(numbers(&before), numbers(&after));
        // Nor may it where nobody took over.
        assert!(self.lead(&self.two, 2, Duration::from_millis(1)).await);
        sleep(SHORT).await;
        assert_eq!(self.publish(&self.two, 2, &Bytes::from_static(b"late")).await, None);
    }

    async fn what_is_too_long_is_cut_beyond_the_limit(&self) {
        assert!(self.lead(&self.one, 1, LONG).await);
        let number = self.publish(&self.one, 1, &vec![7; MOST_BYTES + 1000].into()).await;
        let found = self.fetch(0).await;
        assert_eq!((Some(found[0].number), found[0].bytes.len()), (number, MOST_BYTES + 1));
        assert!(found[1].bytes.len() < 100);
    }
}
