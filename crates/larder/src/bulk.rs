//! Many keys in one go: one look each, one question to the remote tier, one call of the loader.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use larder_policy::KeyHash;
use tokio::time::{Instant, timeout_at};

use crate::cache::Inner;
use crate::fetched::{Fetched, Found, Tier};
use crate::flight::Flight;
use crate::key::Key;
use crate::load::{Landing, Offer, Target, tier_of};
use crate::remote::Name;
use crate::shared::Seen;
use crate::store::Step;
use crate::telemetry::Timer;
use crate::{Error, ErrorKind};

pub(crate) type Loaded<K, V> = BoxFuture<'static, Result<HashMap<K, Fetched<V>>, Error>>;

/// A load of several keys that has not begun.
pub(crate) type BulkLoad<K, V> = Box<dyn FnOnce(Vec<K>) -> Loaded<K, V> + Send>;

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
    pub(crate) async fn read_many(
        self: &Arc<Self>,
        keys: Vec<K>,
        load: BulkLoad<K, V>,
    ) -> Result<HashMap<K, V>, Error> {
        let mut answers = HashMap::with_capacity(keys.len());
        let mut keys = self.hashed(keys)?;
        let (mut load, began) = (Some(load), Instant::now());
        while !keys.is_empty() {
            let (awaited, led) = self.look_up(keys, &mut answers);
            if let Some(load) = load.take_if(|_| !led.is_empty()) {
                self.depart_many(led, load);
            }
            keys = self.gather(awaited, began, load.is_some(), &mut answers).await?;
        }
        Ok(answers)
    }

    /// Each key once, with its hash. Two looks at a key, with an invalidation between them, would open two loads of it.
    fn hashed(&self, keys: Vec<K>) -> Result<Vec<(K, KeyHash)>, Error> {
        let mut known = HashSet::with_capacity_and_hasher(keys.len(), ahash::RandomState::new());
        let are_first: Vec<bool> = keys.iter().map(|key| known.insert(key)).collect();
        let keys = keys.into_iter().zip(are_first).filter(|(_, is_first)| *is_first);
        // Before any load is opened, which has to be begun and ended then.
        keys.map(|(key, _)| {
            let hash = match self.shared {
                Some(_) => {
                    let text = key.text();
                    self.key_rules.check(&text)?;
                    self.store.hasher.hash_text(&text)
                }
                None => self.store.hasher.hash(&key),
            };
            Ok((key, hash))
        })
        .collect()
    }

    /// Answers what memory can answer; the others are to be waited for, and some of them to be loaded. These are landings at once: the user's
    /// code may panic on the way.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn look_up(
        self: &Arc<Self>,
        keys: Vec<(K, KeyHash)>,
        answers: &mut HashMap<K, V>,
    ) -> (Vec<Awaited<K, V>>, Vec<Landing<K, V>>) {
        let (mut awaited, mut led) = (Vec::new(), Vec::new());
        for (key, hash) in keys {
            match self.store.step(&key, hash, true) {
                Step::Serve(found) => answers.extend(found.value.map(|value| (key, value))),
                Step::Renew(found, renewal) => {
                    led.extend(renewal.map(|(flight, audit)| self.landing(Target { hash, flight, audit })));
                    answers.extend(found.value.map(|value| (key, value)));
                }
                Step::Wait { timer, flight, leads, stale } => {
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
    async fn gather(
        &self,
        awaited: Vec<Awaited<K, V>>,
        began: Instant,
        may_load: bool,
        answers: &mut HashMap<K, V>,
    ) -> Result<Vec<(K, KeyHash)>, Error> {
        let mut again = Vec::new();
        // What is led here lands in turn: who waits for the last is woken once.
        for Awaited { hash, timer, flight, leads, stale } in awaited.into_iter().rev() {
            let until = began + self.store.rules.patience(stale.is_some());
            let answer = self.runtime.timed(|| timeout_at(until, flight.answer())).await;
            self.store.waited(hash, timer, answer.as_ref().map_or(Tier::Origin, tier_of));
            let found = match (answer, stale) {
                (Ok(Ok(found)), _) => found,
                (Ok(Err(error)), None) if error.kind() == ErrorKind::Panicked && may_load && !leads => {
                    again.push((flight.key.clone(), hash));
                    continue;
                }
                (_, Some(found)) => {
                    self.store.count(hash, |counts| counts.stale += 1);
                    found
                }
                (Ok(Err(error)), _) => return Err(error),
                (Err(_), _) => return Err(Error::new(ErrorKind::Timeout, "no answer in time; the load goes on")),
            };
            answers.extend(found.value.map(|value| (flight.key.clone(), value)));
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
            let loaded = inner.ask(async move { load(keys).await }).await;
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
