//! A remote tier inside the process: for tests, examples and the demo. Several handles share one store, as processes share a
//! Redis, and each handle's link to it can be made to fail.

mod models;
mod registry;

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use ahash::HashMap;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder_policy::{Access, Capacity, KeyHash, Lookup, Op, PolicySpec, Shard, Time};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};

use self::models::Models;
use self::registry::Addresses;
use super::envelope::{fence_of, fingerprint, marked_at, version_of};
use super::{Capabilities, Filled, Invalidation, Item, Name, Notice, RemoteStore};
use crate::bounds::FOR_EVER;
use crate::{Error, ErrorKind};

/// How many messages a listener may lag behind.
const CHANNEL: usize = 1024;
/// What an entry costs beside its name and its bytes.
const OVERHEAD: usize = 64;

/// A store that lives in this process, bounded in bytes, least recently used first out. Cloning makes another handle to the
/// same store, with a link and faults of its own.
pub struct InProcess {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

/// What is wrong with a handle's link; shares are of 1. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Every call fails at once.
    pub down: bool,
    /// No call is ever answered.
    pub hangs: bool,
    /// Calls are answered so much later.
    pub delay: Duration,
    /// The share of calls that fail after they were carried out.
    pub fails: f64,
    /// The share of values that arrive with a changed byte.
    pub flips: f64,
    /// Each answer is the one to the question before, until the link is distrusted.
    pub off_by_one: bool,
    /// The share of messages that get lost unnoticed.
    pub loses: f64,
    /// The share of messages that arrive twice.
    pub doubles: f64,
    /// The share of messages that arrive after the next one.
    pub swaps: f64,
    /// No message arrives; the end of it is noticed.
    pub cut: bool,
}

struct Shared {
    kept: Mutex<Shard<Kept>>,
    leases: Mutex<HashMap<Name, (u64, Instant)>>,
    models: Mutex<HashMap<Name, Models>>,
    addresses: Mutex<HashMap<Name, Addresses>>,
    links: Mutex<Vec<Weak<Link>>>,
    /// The store's clock: monotonic, so that no wall clock moves it.
    started: (Instant, u64),
}

/// What became of one item.
#[derive(PartialEq, Eq)]
enum Outcome {
    Kept,
    Fenced,
    NotAdmitted,
}

struct Kept {
    name: Name,
    bytes: Bytes,
}

struct Link {
    listeners: broadcast::Sender<Invalidation>,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    rng: fastrand::Rng,
    /// A message that waits for the next one.
    held: Option<Invalidation>,
    /// The answer the next caller gets, if answers are off by one.
    last: Option<Option<Bytes>>,
}

impl InProcess {
    /// A store of at most `capacity` bytes, names and bookkeeping included.
    pub fn new(capacity: u64) -> Self {
        let capacity = Capacity::bytes(capacity);
        let spec: PolicySpec = "lru".parse().expect("every kernel has LRU");
        let policy = spec.build(capacity, 0);
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let shared = Arc::new(Shared {
            kept: Mutex::new(Shard::new(capacity, policy)),
            leases: Mutex::default(),
            models: Mutex::default(),
            addresses: Mutex::default(),
            links: Mutex::default(),
            started: (Instant::now(), epoch.as_micros() as u64),
        });
        Self::join(shared)
    }

    /// Breaks or mends this handle's link.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.link.state.lock();
        let mended = state.faults.cut && !faults.cut;
        state.last = None;
        state.faults = faults;
        if mended {
            // Nobody listening is no loss.
            let _ = self.link.listeners.send(Invalidation::Lost);
        }
    }

    /// Forgets everything, as a server does that restarts empty.
    pub fn restart(&self) {
        let mut kept = self.shared.kept.lock();
        let limit = kept.capacity().limit;
        let mut evicted = Vec::new();
        kept.resize(0, &mut evicted);
        kept.resize(limit, &mut evicted);
        self.shared.leases.lock().clear();
        self.shared.models.lock().clear();
        self.shared.addresses.lock().clear();
    }

    /// How many entries are kept.
    pub fn len(&self) -> usize {
        self.shared.kept.lock().len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in use, names and bookkeeping included.
    pub fn used(&self) -> u64 {
        self.shared.kept.lock().used()
    }

    fn join(shared: Arc<Shared>) -> Self {
        let mut links = shared.links.lock();
        links.retain(|link| link.strong_count() > 0);
        let state = State {
            faults: Faults::default(),
            rng: fastrand::Rng::with_seed(links.len() as u64),
            held: None,
            last: None,
        };
        let link = Arc::new(Link { listeners: broadcast::Sender::new(CHANNEL), state: Mutex::new(state) });
        links.push(Arc::downgrade(&link));
        drop(links);
        Self { shared, link }
    }

    /// What happens to a call before it reaches the store.
    async fn travel(&self) -> Result<(), Error> {
        let Faults { down, hangs, delay, .. } = self.link.state.lock().faults;
        if down {
            return Err(Error::new(ErrorKind::Remote, "the store is down"));
        }
        if hangs {
            std::future::pending::<()>().await;
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        Ok(())
    }

    /// What may happen to it on the way back.
    fn arrive<T>(&self, answer: T) -> Result<T, Error> {
        let state = &mut *self.link.state.lock();
        if state.chance(state.faults.fails) {
            return Err(Error::new(ErrorKind::Remote, "the link broke before the answer came"));
        }
        Ok(answer)
    }
}

impl Clone for InProcess {
    fn clone(&self) -> Self {
        Self::join(self.shared.clone())
    }
}

impl Shared {
    fn now(&self) -> Time {
        let (instant, micros) = self.started;
        Time(micros).plus(instant.elapsed())
    }

    fn get(&self, name: &Name) -> Option<Bytes> {
        let access = Access::get(KeyHash(fingerprint(name)), self.now());
        match self.kept.lock().lookup(&access) {
            Lookup::Hit(kept) if kept.name == *name => Some(kept.bytes.clone()),
            _ => None,
        }
    }

    /// Keeps an item, if its fence is the one now kept or nobody asks, and no newer version or later mark is.
    fn put(&self, item: &Item, fenced: bool) -> Outcome {
        let size = u32::try_from(item.name.len() + item.bytes.len() + OVERHEAD).unwrap_or(u32::MAX);
        let access = Access { size, op: Op::Set, ..Access::get(KeyHash(fingerprint(&item.name)), self.now()) };
        let mut evicted = Vec::new();
        let mut shard = self.kept.lock();
        let miss = match shard.lookup(&access) {
            Lookup::Hit(kept) if kept.name == item.name => {
                let is_fenced = fence_of(&kept.bytes).is_some_and(|fence| Some(fence) != fence_of(&item.bytes));
                let is_older = version_of(&item.bytes).is_some_and(|version| version_of(&kept.bytes) > Some(version));
                let is_earlier = marked_at(&item.bytes).is_some_and(|at| marked_at(&kept.bytes) > Some(at));
                if fenced && is_fenced || is_older || is_earlier {
                    return Outcome::Fenced;
                }
                None
            }
            Lookup::Hit(_) => None,
            Lookup::Miss(miss) => Some(miss),
        };
        // A new lifetime needs a new plan.
        let miss = match miss {
            Some(miss) => miss,
            None => {
                shard.remove(access.key);
                match shard.lookup(&access) {
                    Lookup::Miss(miss) => miss,
                    Lookup::Hit(_) => return Outcome::NotAdmitted,
                }
            }
        };
        let mut plan = shard.plan(&access, miss, Some(item.ttl));
        plan.ttl = Some(item.ttl);
        let kept = Kept { name: item.name.clone(), bytes: item.bytes.clone() };
        shard.insert(&access, kept, &plan, &mut evicted);
        if shard.peek(access.key).is_some() { Outcome::Kept } else { Outcome::NotAdmitted }
    }

    fn announce(&self, from: &Arc<Link>, what: &Invalidation) {
        let links: Vec<_> = self.links.lock().iter().filter_map(Weak::upgrade).collect();
        for link in links.iter().filter(|link| !Arc::ptr_eq(link, from)) {
            link.deliver(what);
        }
    }
}

impl Link {
    /// Hands a message to the listeners, or whatever the faults make of it. Nobody listening is no loss.
    fn deliver(&self, what: &Invalidation) {
        let state = &mut *self.state.lock();
        if state.faults.cut || state.chance(state.faults.loses) {
            return;
        }
        if state.held.is_none() && state.chance(state.faults.swaps) {
            state.held = Some(what.clone());
            return;
        }
        let _ = self.listeners.send(what.clone());
        if state.chance(state.faults.doubles) {
            let _ = self.listeners.send(what.clone());
        }
        if let Some(held) = state.held.take() {
            let _ = self.listeners.send(held);
        }
    }
}

impl State {
    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }

    fn garble(&mut self, answers: &mut [Option<Bytes>]) {
        if self.faults.off_by_one {
            for answer in answers.iter_mut() {
                let before = self.last.replace(answer.take());
                *answer = before.flatten();
            }
        }
        for answer in answers.iter_mut().flatten() {
            if self.chance(self.faults.flips) && !answer.is_empty() {
                let mut bytes = answer.to_vec();
                let at = self.rng.usize(..bytes.len());
                bytes[at] ^= 1 << self.rng.u32(..8);
                *answer = bytes.into();
            }
        }
    }
}

impl RemoteStore for InProcess {
    fn capabilities(&self) -> Capabilities {
        Capabilities { announces: true, notices_loss: true, fences: true, leases: true }
    }

    fn get<'a>(&'a self, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        async move {
            self.travel().await?;
            let mut answers: Vec<_> = names.iter().map(|name| self.shared.get(name)).collect();
            self.link.state.lock().garble(&mut answers);
            self.arrive(answers)
        }
        .boxed()
    }

    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Filled, Error>> {
        async move {
            self.travel().await?;
            let mut filled = Filled::default();
            for outcome in items.iter().map(|item| self.shared.put(item, true)) {
                match outcome {
                    Outcome::Kept => filled.kept += 1,
                    Outcome::NotAdmitted => filled.not_admitted += 1,
                    Outcome::Fenced => {}
                }
            }
            self.arrive(filled)
        }
        .boxed()
    }

    fn invalidate<'a>(&'a self, notices: &'a [Notice]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.travel().await?;
            for Notice { what, instead, .. } in notices {
                if self.shared.put(instead, false) == Outcome::Fenced {
                    self.link.deliver(what);
                }
                self.shared.announce(&self.link, what);
            }
            self.arrive(())
        }
        .boxed()
    }

    fn listen(&self) -> broadcast::Receiver<Invalidation> {
        self.link.listeners.subscribe()
    }

    fn now(&self) -> u64 {
        self.shared.now().0
    }

    fn distrust(&self) {
        let state = &mut *self.link.state.lock();
        state.faults.off_by_one = false;
        state.last = None;
    }

    fn lease<'a>(&'a self, name: &'a Name, token: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            self.travel().await?;
            let now = Instant::now();
            let mut leases = self.shared.leases.lock();
            leases.retain(|_, (_, until)| *until > now);
            let granted = leases.get(name).is_none_or(|(holder, _)| *holder == token);
            if granted {
                leases.insert(name.clone(), (token, now + ttl.min(FOR_EVER)));
            }
            drop(leases);
            self.arrive(granted)
        }
        .boxed()
    }

    fn release<'a>(&'a self, name: &'a Name, token: u64) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.travel().await?;
            let mut leases = self.shared.leases.lock();
            if leases.get(name).is_some_and(|(holder, _)| *holder == token) {
                leases.remove(name);
            }
            drop(leases);
            self.arrive(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, size: usize) -> Item {
        Item { name: name.into(), bytes: vec![1; size].into(), ttl: Duration::from_secs(60) }
    }

    #[tokio::test]
    async fn conforms() {
        let store = InProcess::new(8 << 20);
        super::super::testing::conformance(async || Arc::new(store.clone()) as Arc<dyn RemoteStore>).await;
    }

    #[tokio::test]
    async fn its_memory_is_bounded() {
        let store = InProcess::new(10_000);
        for i in 0..1_000 {
            store.put(&[item(&format!("a:{i}"), 500)]).await.unwrap();
            assert!(store.used() <= 10_000);
        }
        assert!(store.len() >= 15);
        assert_eq!(store.put(&[item("a:huge", 20_000)]).await.unwrap(), Filled { kept: 0, not_admitted: 1 });
        store.restart();
        assert!(store.is_empty());
        assert_eq!(store.put(&[item("a:1", 500)]).await.unwrap().kept, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn its_faults_are_real() {
        let store = InProcess::new(1 << 20);
        let other = store.clone();
        store.put(&[item("a:1", 10), item("a:2", 20)]).await.unwrap();
        let names = ["a:1", "a:2"].map(Name::from);
        let set = |faults| store.set_faults(faults);

        set(Faults { down: true, ..Faults::default() });
        assert_eq!(store.get(&names).await.unwrap_err().kind(), ErrorKind::Remote);
        assert!(other.get(&names).await.is_ok(), "faults are a handle's own");

        set(Faults { hangs: true, ..Faults::default() });
        assert!(tokio::time::timeout(Duration::from_secs(9), store.get(&names)).await.is_err());

        set(Faults { delay: Duration::from_secs(2), ..Faults::default() });
        let start = Instant::now();
        store.get(&names).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(2));

        set(Faults { off_by_one: true, ..Faults::default() });
        assert_eq!(store.get(&names).await.unwrap()[1].as_ref().unwrap().len(), 10);
        store.distrust();
        assert_eq!(store.get(&names).await.unwrap()[1].as_ref().unwrap().len(), 20);

        set(Faults { flips: 1.0, ..Faults::default() });
        assert_ne!(store.get(&names).await.unwrap()[0].as_ref().unwrap()[..], [1; 10]);
    }

    #[tokio::test]
    async fn messages_get_lost_doubled_and_swapped() {
        let (store, other) = {
            let store = InProcess::new(1 << 20);
            (store.clone(), store)
        };
        let send = async |text: &str| {
            let notice = Notice::new(Invalidation::Key(text.into()), item(text, 1));
            store.invalidate(&[notice]).await.unwrap();
        };
        let heard = |listener: &mut broadcast::Receiver<Invalidation>| -> Vec<_> {
            std::iter::from_fn(|| listener.try_recv().ok())
                .map(|what| match what {
                    Invalidation::Key(name) => name.to_string(),
                    what => format!("{what:?}"),
                })
                .collect()
        };
        let mut listener = other.listen();
        for (faults, expected) in [
            (Faults::default(), &["1", "2"][..]),
            (Faults { loses: 1.0, ..Faults::default() }, &[]),
            (Faults { doubles: 1.0, ..Faults::default() }, &["1", "1", "2", "2"]),
            (Faults { swaps: 1.0, ..Faults::default() }, &["2", "1"]),
            (Faults { cut: true, ..Faults::default() }, &[]),
            (Faults::default(), &["Lost", "1", "2"]),
        ] {
            other.set_faults(faults.clone());
            send("1").await;
            send("2").await;
            assert_eq!(heard(&mut listener), expected, "{faults:?}");
        }
    }
}
