//! Loads that bring nothing, and what their readers get.

use larder_policy::KeyHash;
use larder_policy::freshness::Audit;

use super::Store;
use crate::flight::Flight;
use crate::key::Key;

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// Nobody will ask the origin about a hit that was drawn for an audit.
    pub(crate) fn forgo(&self, hash: KeyHash, audit: Option<Audit>) {
        if audit.is_some() {
            self.segment(hash).forgo(hash, audit);
        }
    }

    /// A reader is answered with what is beyond its time.
    pub(crate) fn stood_in(&self, hash: KeyHash) {
        self.segment(hash).stood_in(hash);
    }

    /// A load failed.
    pub(crate) fn failed(&self, hash: KeyHash, flight: &Flight<K, V>, audit: Option<Audit>) {
        let mut segment = self.segment(hash);
        segment.counts.load_errors += 1;
        segment.forgo(hash, audit);
        let is_borne = segment.failed(hash, self.clock.now(), &self.rules, |own| *own == flight.key);
        // Whoever is served what stands in says so himself.
        if !is_borne && !flight.renews && !flight.take_unheard() {
            segment.unserved(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use larder_policy::Time;

    use crate::codec::Plain;
    use crate::remote::InProcess;
    use crate::{Cache, Clock, Freshness};

    #[tokio::test]
    async fn what_is_never_to_be_stale_does_not_stand_in() {
        let clock = Clock::manual(Time(1_000_000));
        let builder = Cache::builder().capacity(64).clock(clock.clone()).freshness(Freshness::never_stale());
        let cache: Cache<u64, u64> = builder.digest(|value: &u64| *value).build().unwrap();
        assert_eq!(cache.get_with(&1, || async { Ok::<_, io::Error>(1) }).await.unwrap(), 1);
        clock.advance(Duration::from_secs(1));
        let down = cache.get_with(&1, || async { Err::<u64, _>(io::Error::other("the origin is down")) });
        assert!(down.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_to_be_stale_does_not_stand_in_from_the_remote_tier() {
        let clock = Clock::manual(Time(1_000_000));
        let tier = InProcess::new(1 << 20);
        let cache = || -> Cache<String, Vec<u8>> {
            let freshness = Freshness::stale_reads(0.01).unwrap().with_prefix("seat:", Freshness::never_stale());
            let builder = Cache::builder().name("one").capacity(64).clock(clock.clone()).freshness(freshness);
            let builder = builder.stale_if_error(Duration::from_secs(3600)).remote(tier.clone(), Plain);
            builder.digest(|value: &Vec<u8>| u64::from(value[0])).build().unwrap()
        };
        let first = cache();
        for key in ["seat:1", "page:1"] {
            first.get_with(key, || async { Ok::<_, io::Error>(vec![1]) }).await.unwrap();
        }
        assert!(first.close(Duration::from_secs(5)).await);
        let second = cache();
        clock.advance(Duration::from_secs(1800));
        tokio::time::advance(Duration::from_secs(1800)).await;
        let down = || async { Err::<Vec<u8>, _>(io::Error::other("the origin is down")) };
        assert_eq!(second.get_with("page:1", down).await.unwrap(), [1]);
        assert!(second.get_with("seat:1", down).await.is_err());
    }

    #[tokio::test]
    async fn what_stands_in_is_no_part_of_the_stale_rate() {
        let clock = Clock::manual(Time(1_000_000));
        let builder = Cache::builder().capacity(64).segments(1).clock(clock.clone()).seed(7);
        let builder = builder.digest(|value: &u64| *value).freshness(Freshness::stale_reads(0.01).unwrap());
        let cache: Cache<u64, u64> = builder.stale_if_error(Duration::from_secs(3600)).build().unwrap();
        let read = async |value: u64, is_up: bool| {
            clock.advance(Duration::from_secs(1));
            let answer = cache.get_with(&1, move || async move {
                if is_up { Ok(value) } else { Err(io::Error::other("the origin is down")) }
            });
            answer.await.unwrap();
            tokio::task::yield_now().await;
            let segment = cache.inner.store.lock_all().next().unwrap();
            segment.engine.as_ref().unwrap().audited().reads
        };
        let mut before = 0.0;
        for value in 0..100 {
            before = read(value, true).await;
        }
        assert!(before > 90.0, "{before}");
        let mut after = before;
        for _ in 0..200 {
            after = read(0, false).await;
        }
        let stale = cache.stats().counts.stale as f64;
        assert!(stale > 150.0 && after <= before + 200.0 - stale, "{before}, {after}, {stale} stood in");
        // Whose value is too old to stand in gets nothing, which is no read served either.
        clock.advance(Duration::from_secs(7200));
        for _ in 0..50 {
            clock.advance(Duration::from_secs(1));
            let down = || async { Err::<u64, _>(io::Error::other("the origin is down")) };
            assert!(cache.get_with(&1, down).await.is_err());
        }
        let segment = cache.inner.store.lock_all().next().unwrap();
        assert!(segment.engine.as_ref().unwrap().audited().reads <= after);
    }
}
