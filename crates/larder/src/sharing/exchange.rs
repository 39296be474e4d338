//! The task that takes over what others learned and, while this instance is the one to do so, publishes what it learned itself.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use larder_policy::freshness::{ClassPool, Freshness};
use larder_policy::learned::Pool;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::bundle::{Bundle, fingerprint};
use super::{Generation, ModelStore, Sharing};
use crate::cache::Inner;
use crate::key::Key;
use crate::remote::{Name, names};
use crate::report::SharingReport;
use crate::store::Store;
use crate::{Error, ErrorKind};

/// The most a call may take: nobody waits for it but the task.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Exchange {
    store: Arc<dyn ModelStore>,
    times: Sharing,
    name: Name,
    /// Who we are to the store.
    publisher: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest generation that was looked at.
    known: u64,
    /// The one in use: its number, its fingerprint, when it was published, and what it is.
    used: Option<Used>,
    leads: bool,
    published_at: Option<Instant>,
    fails: bool,
    adopted: u64,
    refused: u64,
    failed: u64,
    published: u64,
    outrun: u64,
}

struct Used {
    generation: u64,
    fingerprint: u64,
    at: Instant,
    bundle: Bundle,
}

/// Who shares: a store, whatever its keys and values are, so that an exchange is compiled once for all of them.
trait Learner: Sync {
    /// What its lifetimes are chosen by.
    fn freshness(&self) -> &Freshness;

    /// Takes over what others learned.
    fn adopt(&self, bundle: &Bundle);

    /// What was learned here, if there is something and the model does well wherever it was tried.
    fn learned(&self, cache: &str) -> Option<Bundle>;
}

/// Shares, for as long as the cache lives.
pub(crate) async fn run<K, V>(inner: Weak<Inner<K, V>>, exchange: Arc<Exchange>)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    loop {
        let Some(inner) = inner.upgrade() else { return };
        exchange.round_of(&inner.name, &inner.store).await;
        drop(inner);
        sleep(exchange.times.look.mul_f64(1.0 - fastrand::f64() / 4.0)).await;
    }
}

impl Exchange {
    pub(crate) fn new(store: Arc<dyn ModelStore>, times: Sharing, namespace: &str) -> Result<Self, Error> {
        times.check()?;
        Ok(Self { store, times, name: names::models(namespace), publisher: fastrand::u64(..), state: Mutex::default() })
    }

    /// A round in a box, for the same reason.
    fn round_of<'a>(&'a self, cache: &'a str, store: &'a dyn Learner) -> BoxFuture<'a, ()> {
        self.round(cache, store).boxed()
    }

    /// Takes over what is new, then publishes, if that is due.
    async fn round(&self, cache: &str, store: &dyn Learner) {
        let known = self.state.lock().known;
        let done = match within(self.store.fetch(&self.name, known)).await {
            Ok(found) => {
                self.take_over(cache, store, &found);
                self.publish(cache, store).await
            }
            Err(error) => Err(error),
        };
        let mut state = self.state.lock();
        match done {
            Ok(()) => state.fails = false,
            Err(error) => {
                state.failed += 1;
                // It may lead no more; whoever asks will be told.
                state.leads = false;
                if !std::mem::replace(&mut state.fails, true) {
                    tracing::warn!(cache, %error, "models cannot be shared for now: what is known here goes on");
                }
            }
        }
    }

    /// Takes over the newest generation that passes the gate, unless that is in use.
    fn take_over(&self, cache: &str, store: &dyn Learner, found: &[Generation]) {
        let (known, used) = {
            let state = self.state.lock();
            (state.known, state.used.as_ref().map(|used| used.generation))
        };
        let Some(newest) = found.first() else { return };
        for Generation { number, age, bytes } in found {
            let number = *number;
            if number == known || Some(number) == used {
                break;
            }
            match Bundle::from_bytes(bytes, store.freshness()) {
                Ok(bundle) => {
                    tracing::info!(cache, generation = number, age = age.as_secs_f64(), "a shared model is taken over");
                    store.adopt(&bundle);
                    let at = Instant::now().checked_sub(*age).unwrap_or_else(Instant::now);
                    let mut state = self.state.lock();
                    state.adopted += 1;
                    state.used = Some(Used { generation: number, fingerprint: fingerprint(bytes), at, bundle });
                    break;
                }
                Err(error) => {
                    tracing::warn!(cache, generation = number, %error, "a shared model is refused: the one before stays");
                    self.state.lock().refused += 1;
                }
            }
        }
        self.state.lock().known = newest.number;
    }

    async fn publish(&self, cache: &str, store: &dyn Learner) -> Result<(), Error> {
        // Who is not well does not lead, so that another may.
        let Some(bundle) = store.learned(cache) else {
            self.lead(cache, false);
            return Ok(());
        };
        let leads = within(self.store.lead(&self.name, self.publisher, self.times.lease)).await?;
        self.lead(cache, leads);
        let (bundle, before) = {
            let state = self.state.lock();
            if !leads || state.published_at.is_some_and(|at| at.elapsed() < self.times.publish) {
                return Ok(());
            }
            match &state.used {
                Some(used) => (bundle.or(&used.bundle), Some(used.fingerprint)),
                None => (bundle, None),
            }
        };
        let bytes = bundle.to_bytes();
        let own = fingerprint(&bytes);
        if before == Some(own) {
            return Ok(());
        }
        let size = bytes.len();
        let published = within(self.store.publish(&self.name, self.publisher, bytes)).await?;
        let mut state = self.state.lock();
        let now = Instant::now();
        match published {
            Some(generation) => {
                tracing::info!(cache, generation, bytes = size, "what was learned is published");
                state.published += 1;
                state.published_at = Some(now);
                state.known = generation;
                state.used = Some(Used { generation, fingerprint: own, at: now, bundle });
            }
            None => {
                tracing::warn!(cache, "the right to publish was lost before it was used: nothing is overwritten");
                state.outrun += 1;
                state.leads = false;
            }
        }
        Ok(())
    }

    fn lead(&self, cache: &str, leads: bool) {
        let before = std::mem::replace(&mut self.state.lock().leads, leads);
        match (before, leads) {
            (false, true) => tracing::info!(cache, "this instance publishes what the service learned"),
            (true, false) => tracing::info!(cache, "this instance publishes no longer"),
            _ => {}
        }
    }

    pub(crate) fn report(&self) -> SharingReport {
        let state = self.state.lock();
        let used = state.used.as_ref();
        SharingReport {
            generation: used.map(|used| used.generation),
            fingerprint: used.map(|used| format!("{:016x}", used.fingerprint)),
            age: used.map(|used| used.at.elapsed().as_secs_f64()),
            leads: state.leads,
            adopted: state.adopted,
            refused: state.refused,
            failed: state.failed,
            published: state.published,
            outrun: state.outrun,
        }
    }
}

impl<K: Key + Clone, V: Clone + Send + Sync> Learner for Store<K, V> {
    fn freshness(&self) -> &Freshness {
        &self.rules.freshness
    }

    fn adopt(&self, Bundle { reuse, classes }: &Bundle) {
        if let (Some(classes), Some(steering)) = (classes, self.steering()) {
            steering.lock().adopt(classes);
        }
        for mut segment in self.lock_all() {
            if let Some(prior) = reuse {
                segment.adopt(prior);
            }
            if let (Some(classes), Some(engine)) = (classes, &mut segment.engine) {
                engine.adopt(classes);
            }
        }
    }

    fn learned(&self, cache: &str) -> Option<Bundle> {
        let (mut pool, mut classes) = (Pool::default(), ClassPool::default());
        for mut segment in self.lock_all() {
            segment.kernel.pool(&mut pool);
            if let Some(engine) = &segment.engine {
                engine.pool(&mut classes);
            }
        }
        if !pool.is_well() {
            return None;
        }
        if let Some(steering) = self.steering() {
            steering.lock().pool(&mut classes);
        }
        // A cache's name has no letter that JSON would escape.
        let metadata = format!(r#"{{"learned_by":"{cache}","parts":{}}}"#, pool.learners());
        let bundle = Bundle { reuse: pool.prior(&metadata).map(Arc::new), classes: classes.priors().map(Arc::new) };
        (!bundle.is_empty()).then_some(bundle)
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silent = || Error::new(ErrorKind::Timeout, format!("the store of models did not answer within {PATIENCE:?}"));
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(silent()))
}
