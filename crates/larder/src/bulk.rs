//! Many keys in one go: one look each, one question to the remote tier, one call of the loader.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use larder_policy::KeyHash;
use tokio::time::Instant;

use crate::cache::Inner;
use crate::fetched::{Fetched, Found, Tier};
use crate::flight::Flight;
use crate::key::Key;
use crate::load::{Landing, Offer, Target, tier_of};
use crate::loader::BoxError;
use crate::remote::Name;
use crate::shared::Seen;
use crate::store::Step;
use crate::telemetry::Timer;
use crate::{Error, ErrorKind};

type Loaded<K, V> = BoxFuture<'static, Result<HashMap<K, Fetched<V>>, Error>>;

/// A load of several keys that has not begun.
pub(crate) type BulkLoad<K, V> = Box<dyn FnOnce(Vec<K>) -> Loaded<K, V> + Send>;

/// One of the user's.
pub(crate) fn load<K, V, F, Fut, T, E>(load: F) -> BulkLoad<K, V>
where
    K: Key,
    V: Clone + Send + Sync + 'static,
    F: FnOnce(Vec<K>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<HashMap<K, T>, E>> + Send + 'static,
    T: Into<Fetched<V>>,
    E: Into<BoxError>,
{
    Box::new(move |keys| {
        Box::pin(async move {
            let loaded = load(keys).await.map_err(Error::from_loader)?;
            Ok(loaded.into_iter().map(|(key, value)| (key, value.into())).collect())
        })
    })
}

/// Where the answers are put together.
pub(crate) trait Answers<K, V> {
    /// What all of them fail with.
    type Failure;

    fn with_room(keys: usize) -> Self;

    fn answer(&mut self, key: K, value: Option<V>);

    fn fail(&mut self, key: K, error: Error) -> Result<(), Self::Failure>;
}

/// What there is; the first failure ends it.
impl<K: Key, V> Answers<K, V> for HashMap<K, V> {
    type Failure = Error;

    fn with_room(keys: usize) -> Self {
        Self::with_capacity(keys)
    }

    fn answer(&mut self, key: K, value: Option<V>) {
        self.extend(value.map(|value| (key, value)));
    }

    fn fail(&mut self, _: K, error: Error) -> Result<(), Error> {
        Err(error)
    }
}

/// Each key's own.
impl<K: Key, V> Answers<K, V> for HashMap<K, Result<V, Error>> {
    type Failure = Infallible;

    fn with_room(keys: usize) -> Self {
        Self::with_capacity(keys)
    }

    fn answer(&mut self, key: K, value: Option<V>) {
        self.insert(key, value.ok_or_else(Error::not_found));
    }

    fn fail(&mut self, key: K, error: Error) -> Result<(), Infallible> {
        self.insert(key, Err(error));
        Ok(())
    }
}

/// A key on its way to an answer.
struct Awaited<K, V> {
    hash: KeyHash,
    timer: Timer,
    flight: Arc<Flight<K, V>>,
    /// Whether it is loaded here.
    leads: bool,
    stale: Option<Found<Option<V>>>,
}

impl<K, V> Inner<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) async fn read_many<A: Answers<K, V>>(
        self: &Arc<Self>,
        keys: Vec<K>,
        load: BulkLoad<K, V>,
    ) -> Result<A, A::Failure> {
        let mut answers = A::with_room(keys.len());
        let mut keys = self.hashed(keys, &mut answers)?;
        let (mut load, mut is_first, began) = (Some(load), true, Instant::now());
        while !keys.is_empty() {
            let (awaited, led) = self.look_up(keys, is_first, &mut answers);
            if let Some(load) = load.take_if(|_| !led.is_empty()) {
                self.depart_many(led, load);
            }
            keys = self.gather(awaited, began, load.is_some(), &mut answers).await?;
            is_first = false;
        }
        Ok(answers)
    }

    /// Each key once, with its hash. Two looks at a key, with an invalidation between them, would open two loads of it.
    fn hashed<A: Answers<K, V>>(&self, keys: Vec<K>, answers: &mut A) -> Result<Vec<(K, KeyHash)>, A::Failure> {
        let mut known = HashSet::with_capacity_and_hasher(keys.len(), ahash::RandomState::new());
        let are_first: Vec<bool> = keys.iter().map(|key| known.insert(key)).collect();
        let mut hashed = Vec::with_capacity(keys.len());
        // Before any load is opened, which has to be begun and ended then.
        for (key, _) in keys.into_iter().zip(are_first).filter(|(_, is_first)| *is_first) {
            match self.hash_of(&key) {
                Ok(hash) => hashed.push((key, hash)),
                Err(error) => answers.fail(key, error)?,
            }
        }
        Ok(hashed)
    }

    fn hash_of(&self, key: &K) -> Result<KeyHash, Error> {
        if self.shared.is_none() {
            return Ok(self.store.hasher.hash(key));
        }
        let text = key.text();
        self.key_rules.check(&text)?;
        Ok(self.store.hasher.hash_text(&text))
    }

    /// Answers what memory can answer; the others are to be waited for, and some of them to be loaded. These are landings at once: the user's
    /// code may panic on the way.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn look_up(
        self: &Arc<Self>,
        keys: Vec<(K, KeyHash)>,
        is_first: bool,
        answers: &mut impl Answers<K, V>,
    ) -> (Vec<Awaited<K, V>>, Vec<Landing<K, V>>) {
        let (mut awaited, mut led) = (Vec::new(), Vec::new());
        for (key, hash) in keys {
            let step = match is_first {
                true => self.store.step(&key, hash, true),
                false => self.store.again(&key, hash, true, Timer::start(&self.store.clock)),
            };
            match step {
                Step::Serve(found) => answers.answer(key, found.value),
                Step::Renew(found, renewal) => {
                    led.extend(renewal.map(|(flight, audit)| self.landing(Target { hash, flight, audit })));
                    answers.answer(key, found.value);
                }
                Step::Wait { timer, flight, leads, is_late, stale } => {
                    // The load is called once, and not for what others turn out to have brought in vain.
                    let (flight, leads) = if is_late { (self.store.alone(key), true) } else { (flight, leads) };
                    if leads {
                        led.push(self.landing(Target { hash, flight: flight.clone(), audit: None }));
                    }
                    awaited.push(Awaited { hash, timer, flight, leads, stale });
                }
            }
        }
        (awaited, led)
    }

    /// Waits for the answers. What comes back is to be looked up again: others led its load, and it panicked, which is nothing to who can
    /// load it.
    async fn gather<A: Answers<K, V>>(
        &self,
        awaited: Vec<Awaited<K, V>>,
        began: Instant,
        may_load: bool,
        answers: &mut A,
    ) -> Result<Vec<(K, KeyHash)>, A::Failure> {
        let mut again = Vec::new();
        awaited.iter().for_each(|awaited| awaited.flight.lenders.lend());
        // What is led here lands in turn: who waits for the last is woken once.
        for Awaited { hash, timer, flight, leads, stale } in awaited.into_iter().rev() {
            let until = began + self.store.rules.patience(stale.is_some());
            let answer = self.runtime.until(until, flight.answer()).await;
            self.store.waited(hash, timer, answer.as_ref().map_or(Tier::Origin, tier_of));
            let answered = match (answer, stale) {
                (Some(Ok(found)), _) => Ok(found),
                (Some(Err(error)), None) if error.kind() == ErrorKind::Panicked && may_load && !leads => {
                    again.push((flight.key.clone(), hash));
                    continue;
                }
                (_, Some(found)) => {
                    self.store.stood_in(hash);
                    Ok(found)
                }
                (Some(Err(error)), _) => Err(error),
                (None, _) => Err(Error::new(ErrorKind::Timeout, "no answer in time; the load goes on")),
            };
            match answered {
                Ok(found) => answers.answer(flight.key.clone(), found.value),
                Err(error) => answers.fail(flight.key.clone(), error)?,
            }
        }
        Ok(again)
    }

    fn depart_many(self: &Arc<Self>, landings: Vec<Landing<K, V>>, load: BulkLoad<K, V>) {
        let inner = self.clone();
        let names = match &self.shared {
            Some(shared) => shared.names(landings.iter().map(|landing| landing.target.flight.key.text())),
            None => Vec::new(),
        };
        self.runtime.spawn(async move {
            let mut waiting = Vec::new();
            let mut seen = inner.ask_remote(names).await.into_iter();
            for mut landing in landings {
                let mut seen = seen.next();
                if let Some(answer) = inner.take_logged(&landing.target) {
                    landing.land(answer);
                    continue;
                }
                let doubted = match inner.take_remote(&mut landing.target, &mut seen) {
                    Offer::Good(found) => {
                        landing.land(Ok(found));
                        continue;
                    }
                    Offer::Doubtful(found) => Some(found),
                    Offer::Nothing => None,
                };
                waiting.push((landing, doubted, seen));
            }
            if waiting.is_empty() {
                return;
            }
            let keys = waiting.iter().map(|(landing, ..)| landing.target.flight.key.clone()).collect();
            let as_of = inner.store.clock.now();
            let lenders: Vec<_> = waiting.iter().map(|(landing, ..)| &landing.target.flight.lenders).collect();
            let loaded = inner.ask(async move { load(keys).await }, &lenders).await;
            match loaded {
                Ok(mut loaded) => {
                    for (landing, _, seen) in waiting {
                        let target = &landing.target;
                        let fetched = loaded.remove(&target.flight.key).unwrap_or_else(Fetched::absent);
                        let (shared, fence) = (inner.shared.as_ref(), seen.and_then(|seen| seen.fence));
                        let fill = shared.and_then(|shared| Some((shared.name(&target.flight.key.text()), fence?)));
                        let found = inner.arrive(target, fetched, as_of, fill);
                        landing.land(Ok(found));
                    }
                }
                Err(error) => {
                    for (landing, doubted, seen) in waiting {
                        let target = &landing.target;
                        inner.store.failed(target.hash, &target.flight, target.audit);
                        let instead = inner.instead(target, doubted, seen.and_then(|seen| seen.found));
                        landing.land(instead.ok_or_else(|| error.clone()));
                    }
                }
            }
        });
    }

    async fn ask_remote(&self, names: Vec<Name>) -> Vec<Seen<V>> {
        match &self.shared {
            Some(shared) => shared.get(&names, self.store.clock.now()).await,
            None => Vec::new(),
        }
    }
}
