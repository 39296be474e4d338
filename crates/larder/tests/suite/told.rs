//! Who listens hears of each value that memory lets go of or does not keep, once, and can do no harm.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use larder::RemovalCause::{self, Evicted, Expired, Refused, Removed, Replaced};
use larder::remote::InProcess;
use larder::{Cache, Freshness, Options, Rules, codec};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::patterns::{SECOND, clock};

type Told = (u64, String, RemovalCause);

/// A small cache in which values end at their end, and what is told of it.
fn listened() -> (larder::Builder<u64, String>, Receiver<Told>) {
    let (tell, told) = channel();
    let rules = Rules { jitter: 0.0, stale_if_error: Duration::ZERO, ..Rules::default() };
    let builder = Cache::builder().capacity(3).segments(1).seed(1).policy("lru").rules(rules);
    let builder = builder.on_removal(move |key: &u64, value: &String, why| {
        let _ = tell.send((*key, value.clone(), why));
    });
    (builder, told)
}

fn all(told: &Receiver<Told>) -> Vec<Told> {
    told.try_iter().collect()
}

fn told(key: u64, value: &str, why: RemovalCause) -> Told {
    (key, value.to_owned(), why)
}

#[tokio::test(start_paused = true)]
async fn each_cause_is_told_of() {
    let ((builder, heard), clock) = (listened(), clock());
    let cache = builder.clock(clock.clone()).freshness(Freshness::fixed_ttl(60 * SECOND)).build().unwrap();
    let insert = async |key: u64, value: &str| cache.insert(key, value.to_owned()).await.unwrap();
    insert(1, "a").await;
    insert(1, "b").await;
    assert_eq!(all(&heard), [told(1, "a", Replaced)]);
    for key in 2..=4 {
        insert(key, "c").await;
    }
    assert_eq!(all(&heard), [told(1, "b", Evicted)]);
    assert_eq!(cache.remove(&2).await.unwrap().as_deref(), Some("c"));
    cache.changed(&7).await.unwrap();
    assert_eq!(all(&heard), [told(2, "c", Removed)]);
    clock.advance(120 * SECOND);
    sleep(10 * SECOND).await;
    let mut expired = all(&heard);
    expired.sort_by_key(|(key, ..)| *key);
    assert_eq!(expired, [told(3, "c", Expired), told(4, "c", Expired)]);
    insert(5, "d").await;
    cache.clear().await.unwrap();
    assert_eq!(all(&heard), [told(5, "d", Removed)]);
    insert(6, "e").await;
    cache.resize(0);
    assert_eq!(all(&heard), [told(6, "e", Evicted)]);
    insert(7, "f").await;
    assert_eq!(all(&heard), [told(7, "f", Refused)]);
    cache.validate();
}

#[tokio::test(start_paused = true)]
async fn what_lost_its_tag_is_told_of_when_it_leaves() {
    let (builder, heard) = listened();
    let cache = builder.clock(clock()).build().unwrap();
    for key in [1, 2] {
        cache.insert_with(key, "a".into(), Options::new().tag("t")).await.unwrap();
    }
    cache.remove_tag("t").await.unwrap();
    assert_eq!(all(&heard), []);
    let load = || async { Ok::<_, Infallible>("b".to_owned()) };
    cache.get_with(&1, load).await.unwrap();
    assert_eq!(all(&heard), [told(1, "a", Removed)]);
    cache.insert(2, "b".into()).await.unwrap();
    assert_eq!(all(&heard), [told(2, "a", Removed)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_is_told_of_too() {
    let (builder, heard) = listened();
    let cache = builder.weigh(|_, value| value.len() as u32).build().unwrap();
    cache.insert_with(1, "new".into(), Options::new().version(2)).await.unwrap();
    cache.insert_with(1, "old".into(), Options::new().version(1)).await.unwrap();
    assert_eq!(all(&heard), [told(1, "old", Refused)]);
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let load = {
        let (begun, go) = (begun.clone(), go.clone());
        || async move {
            begun.notify_one();
            go.notified().await;
            Ok::<_, Infallible>("loaded".to_owned())
        }
    };
    let write = async {
        begun.notified().await;
        cache.insert(2, "written".into()).await.unwrap();
        go.notify_one();
    };
    let (read, ()) = tokio::join!(cache.get_with(&2, load), write);
    assert_eq!(read.unwrap(), "loaded");
    assert_eq!(all(&heard), [told(2, "loaded", Refused)]);
}

#[tokio::test]
async fn a_value_too_heavy_takes_the_old_one_with_it() {
    let (tell, heard) = channel();
    let cache: Cache<u64, String> = Cache::builder()
        .capacity_bytes(10, |_, value: &String| value.len() as u32)
        .segments(1)
        .policy("lru")
        .on_removal(move |key, value, why| _ = tell.send((*key, value.clone(), why)))
        .build()
        .unwrap();
    cache.insert(1, "a".into()).await.unwrap();
    cache.insert(1, "far too heavy".into()).await.unwrap();
    let mut both = all(&heard);
    both.sort_by_key(|(_, value, _)| value.len());
    assert_eq!(both, [told(1, "a", Replaced), told(1, "far too heavy", Refused)]);
}

/// Every policy, under every kind of request: what came has left, and was told of, or is there.
#[tokio::test(start_paused = true)]
async fn each_value_is_told_of_once() {
    for policy in ["learned", "lru", "s3fifo", "wtinylfu", "lru+tinylfu"] {
        let ((builder, heard), clock) = (listened(), clock());
        let cache = builder.policy(policy).capacity(40).clock(clock.clone()).build().unwrap();
        let (mut random, came) = (fastrand::Rng::with_seed(7), Arc::<Mutex<Vec<(u64, String)>>>::default());
        for number in 0..2000 {
            let (key, value) = (random.u64(0..100), number.to_string());
            let comes = {
                let (came, value) = (came.clone(), value.clone());
                move || came.lock().push((key, value))
            };
            match random.u8(0..10) {
                0 => _ = cache.remove(&key).await.unwrap(),
                1..4 => {
                    let options = Options::new().ttl(SECOND * random.u32(1..50)).tag(["a", "b"][number % 2]);
                    comes();
                    cache.insert_with(key, value, options).await.unwrap();
                }
                4 if number % 100 == 0 => cache.clear().await.unwrap(),
                4 if number % 50 == 0 => cache.remove_tag("a").await.unwrap(),
                4 => clock.advance(SECOND),
                5 if number % 20 == 0 => sleep(SECOND).await,
                _ => {
                    let load = || async move {
                        comes();
                        Ok::<_, Infallible>(value)
                    };
                    cache.get_with(&key, load).await.unwrap();
                }
            }
        }
        sleep(SECOND).await;
        cache.clear().await.unwrap();
        let mut left: Vec<_> = all(&heard).into_iter().map(|(key, value, _)| (key, value)).collect();
        left.sort();
        let mut came = std::mem::take(&mut *came.lock());
        came.sort();
        assert_eq!(left, came, "{policy}");
    }
}

#[tokio::test]
async fn another_process_is_a_cause_like_this_one() {
    let store = InProcess::new(1 << 20);
    let (builder, heard) = listened();
    let cache = builder.name("both").remote(store.clone(), codec::Plain).build().unwrap();
    let other: Cache<u64, String> =
        Cache::builder().name("both").capacity(10).remote(store, codec::Plain).build().unwrap();
    cache.insert(1, "a".into()).await.unwrap();
    other.changed(&1).await.unwrap();
    let removed = tokio::time::timeout(60 * SECOND, async {
        loop {
            match heard.try_recv() {
                Ok(told) => return told,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    });
    assert_eq!(removed.await, Ok(told(1, "a", Removed)));
}

#[test]
fn a_listener_may_use_the_cache_and_may_panic() {
    let (tell, heard) = channel();
    let own = Arc::new(OnceLock::<Cache<u64, String>>::new());
    let listener = {
        let own: Weak<_> = Arc::downgrade(&own);
        move |key: &u64, _: &String, why| {
            let _ = tell.send((*key, why));
            let own = own.upgrade().unwrap();
            let cache = own.get().unwrap();
            // The locks are free.
            assert!(cache.stats().entries <= 2);
            if (*key, why) == (0, Evicted) {
                cache.insert_local(100, "left".into(), Options::default());
                cache.blocking().remove(&100).unwrap();
            }
            panic!("on purpose");
        }
    };
    let cache = Cache::builder().capacity(2).segments(1).policy("fifo").on_removal(listener).build().unwrap();
    assert!(own.set(cache.clone()).is_ok());
    let (done, is_done) = channel();
    std::thread::spawn(move || {
        for key in 0..3 {
            cache.blocking().insert(key, key.to_string()).unwrap();
        }
        cache.resize(0);
        cache.validate();
        done.send(cache.stats().entries)
    });
    assert_eq!(is_done.recv_timeout(60 * SECOND), Ok(0), "it hangs");
    let heard: Vec<_> = heard.try_iter().collect();
    let of = |key| heard.iter().filter(|(own, _)| *own == key).count();
    assert_eq!((of(0), of(1), of(2), of(100)), (1, 1, 1, 1), "{heard:?}");
}
