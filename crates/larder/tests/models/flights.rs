//! Single flight, and the fence between a write and a load: `Flights` and `Flight` under a segment's lock, as `Store` and `load` use them.

use std::sync::Arc;
use std::task::Poll;

use larder::{Found, Tier};
use larder_policy::KeyHash;
use shuttle::future;
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::flight::{Answer, Boarding, Era, Flight, Flights};
use crate::load::abandoned;
use crate::sync::Mutex;
use crate::{Error, ErrorKind};

const KEY: KeyHash = KeyHash(1);

/// What is done wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    NoHandOver,
    FenceTooEarly,
}

#[derive(Default)]
struct Part {
    flights: Flights<u32, u64>,
    value: Option<u64>,
}

/// A segment of a cache, and its origin.
struct Small {
    part: Mutex<Part>,
    origin: AtomicU64,
    /// Loads under way that no write has overtaken, and loads in all.
    loading: AtomicU64,
    loads: AtomicU64,
    fault: Fault,
}

/// Lands a flight whatever becomes of its load, as `load::Landing` does.
struct Landing {
    small: Arc<Small>,
    flight: Arc<Flight<u32, u64>>,
    answer: Option<Answer<u64>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.answer.is_none() && self.small.fault == Fault::NoHandOver {
            return;
        }
        self.small.part.lock().flights.close(KEY, &self.flight);
        self.flight.land(self.answer.take().unwrap_or_else(|| Err(abandoned())));
    }
}

impl Small {
    fn new(fault: Fault) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        let origin = AtomicU64::new(1);
        Arc::new(Self { part: Mutex::default(), origin, loading: zero(), loads: zero(), fault })
    }

    /// As `Inner::read`, with `Store::step` within: what is kept, or another's load, or one of its own, which may panic.
    async fn read(self: Arc<Self>, panics: bool) -> Result<u64, Error> {
        loop {
            let (flight, leads) = {
                let mut part = self.part.lock();
                if let Some(value) = part.value {
                    return Ok(value);
                }
                match part.flights.board(KEY, Era::default(), true, |own| *own == 7) {
                    Boarding::Join { flight, .. } => (flight, false),
                    Boarding::Open => {
                        let flight = Flight::for_miss(7, Era::default(), true);
                        part.flights.open(KEY, flight.clone());
                        (flight, true)
                    }
                    Boarding::Taken => unreachable!("there is one key"),
                }
            };
            if leads {
                // A task of its own: whoever gives up ends nothing.
                future::spawn(self.clone().bring(flight.clone(), panics));
            }
            match flight.answer().await {
                Ok(found) => return Ok(found.value.unwrap()),
                Err(error) if error.kind() == ErrorKind::Panicked && !leads => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn bring(self: Arc<Self>, flight: Arc<Flight<u32, u64>>, panics: bool) {
        let mut landing = Landing { small: self.clone(), flight: flight.clone(), answer: None };
        self.loads.fetch_add(1, SeqCst);
        let others = self.loading.fetch_add(1, SeqCst);
        assert!(others == 0 || self.origin.load(SeqCst) > 1, "two loads of a key that nobody wrote");
        let value = self.origin.load(SeqCst);
        future::yield_now().await;
        self.loading.fetch_sub(1, SeqCst);
        if panics {
            // Its future is dropped where it stands; a panic does just that.
            return;
        }
        let is_fenced = flight.is_fenced();
        let mut part = self.part.lock();
        if !(if self.fault == Fault::FenceTooEarly { is_fenced } else { flight.is_fenced() }) {
            part.value = Some(value);
        }
        drop(part);
        let (tier, age) = (Tier::Origin, std::time::Duration::ZERO);
        landing.answer = Some(Ok(Found { value: Some(value), tier, age, is_stale: false }));
    }

    /// The origin is written, then the cache is told, as `Cache::changed` does.
    fn write(&self, value: u64) {
        self.origin.store(value, SeqCst);
        let mut part = self.part.lock();
        part.flights.fence(KEY, |own| *own == 7);
        part.value = None;
    }
}

fn readers(fault: Fault) {
    let small = Small::new(fault);
    // One whose load panics, one that gives up, and two that wait for an answer.
    let panics = future::spawn(small.clone().read(true));
    let gives_up = {
        let mut read = Box::pin(small.clone().read(false));
        future::spawn(async move {
            let first = std::future::poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await;
            drop(read);
            first
        })
    };
    let waits: Vec<_> = (0..2).map(|_| future::spawn(small.clone().read(false))).collect();
    future::block_on(async {
        for waiting in waits {
            match waiting.await.unwrap() {
                Ok(value) => assert_eq!(value, 1),
                Err(error) => panic!("a reader whose load is well got {error}"),
            }
        }
        // Who led and panicked is told; who joined another's load has its answer.
        match panics.await.unwrap() {
            Ok(value) => assert_eq!(value, 1),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Panicked),
        }
        let _ = gives_up.await.unwrap();
        assert_eq!(small.clone().read(false).await.unwrap(), 1);
    });
    assert!((1..=2).contains(&small.loads.load(SeqCst)), "one load, and one more where the first panicked");
    assert_eq!(small.part.lock().value, Some(1));
}

pub(crate) fn one_load_a_key_whoever_gives_up() {
    readers(Fault::None);
}

pub(crate) fn without_a_hand_over() {
    readers(Fault::NoHandOver);
}

fn writes(fault: Fault) {
    let small = Small::new(fault);
    let reads: Vec<_> = (0..2).map(|_| future::spawn(small.clone().read(false))).collect();
    let writer = {
        let small = small.clone();
        future::spawn(async move {
            small.write(2);
            // Whoever begins now sees no older value: it joins no load from before.
            assert_eq!(small.clone().read(false).await.unwrap(), 2, "after the write");
        })
    };
    future::block_on(async {
        for read in reads {
            assert!((1..=2).contains(&read.await.unwrap().unwrap()));
        }
        writer.await.unwrap();
        assert_eq!(small.clone().read(false).await.unwrap(), 2, "the old value was kept");
    });
}

pub(crate) fn what_a_write_overtook_is_not_kept() {
    writes(Fault::None);
}

pub(crate) fn with_a_fence_looked_at_too_early() {
    writes(Fault::FenceTooEarly);
}
