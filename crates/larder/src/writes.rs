//! Writing to the origin through the cache: at once, or by a log that survives a crash.

use std::borrow::Borrow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::ready;
use larder_policy::KeyHash;
use tokio::sync::{Mutex, MutexGuard};

use crate::behind::{Behind, Hearer, News, Sink, Write};
use crate::cache::{Cache, Inner};
use crate::codec::guarded;
use crate::fetched::{Fetched, Options};
use crate::key::Key;
use crate::remote::{Invalidation, Name, names};
use crate::{Error, ErrorKind};

/// Where writes go.
pub(crate) enum Writes {
    /// The service writes by itself.
    Nowhere,
    /// To the sink, before the writer goes on.
    Through(Arc<dyn Sink>),
    /// To a log, from which the sink gets them later.
    Behind(Behind),
}

impl Writes {
    /// How many writes the log's sink has refused.
    fn refusals(&self) -> u64 {
        match self {
            Self::Behind(log) => log.refusals(),
            Self::Through(_) | Self::Nowhere => 0,
        }
    }
}

/// Sees to it that the other processes, and this one, do not keep what the log's sink has made untrue or refused.
pub(crate) fn heed<K, V>(inner: &Arc<Inner<K, V>>)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    let Writes::Behind(log) = &inner.writes else { return };
    let hears = Arc::downgrade(inner);
    let hearer: Hearer = Arc::new(move |news: &News| {
        let Some(inner) = hears.upgrade() else { return ready(()).boxed() };
        let own = |name: &&Name| names::namespace(name) == inner.namespace;
        for name in news.refused.iter().filter(own) {
            let text = name.get(inner.namespace.len() + 1..).unwrap_or_default();
            inner.store.refuse_text(text);
        }
        let all = news.outdated.iter().chain(&news.refused).filter(own);
        let all: Vec<_> = all.map(|name| Invalidation::Key(name.clone())).collect();
        // Not the cache itself: its end is not put off.
        let tier = inner.shared.as_ref().map(|shared| shared.tier.clone()).filter(|_| !all.is_empty());
        async move {
            if let Some(tier) = tier {
                // What cannot be told now is remembered and told later.
                let _ = tier.invalidate(&all).await;
            }
        }
        .boxed()
    });
    let mut missed = log.tell(hearer);
    // The first step is taken before anybody reads: what is told is a miss here from then on.
    let _timers = inner.runtime.handle().enter();
    if (&mut missed).now_or_never().is_none() {
        inner.runtime.spawn(missed);
    }
}

/// Lanes that keys are told apart by.
const LANES: usize = 1024;

/// Writes of a key take turns, from the origin to what is kept: else the origin could end with the one, and the cache with the other.
pub(crate) struct Turns(Box<[Mutex<()>]>);

impl Turns {
    pub(crate) fn new(writes: &Writes) -> Self {
        let lanes = if matches!(writes, Writes::Nowhere) { 0 } else { LANES };
        Self((0..lanes).map(|_| Mutex::const_new(())).collect())
    }

    async fn take(&self, key: KeyHash) -> Option<MutexGuard<'_, ()>> {
        let lane = self.0.get((key.0 >> 32) as usize % LANES)?;
        Some(lane.lock().await)
    }
}

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// Writes a value to the origin and keeps it: [through](crate::Builder::write_through), or [behind](crate::Builder::write_behind)
    /// a log, which has it on the disk when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the cache has neither; [`ErrorKind::Sink`], [`ErrorKind::Storage`] or [`ErrorKind::Overloaded`] if it was
    /// not written, and then nothing is kept; [`ErrorKind::BadKey`]; [`ErrorKind::Codec`]. Where nobody can say whether it was written, as the
    /// [sink](Sink) timed out or the caller no longer waits, what was cached before is forgotten, here and elsewhere.
    pub async fn put(&self, key: K, value: V) -> Result<(), Error> {
        self.put_with(key, value, Options::default()).await
    }

    /// As [`put`](Self::put), with settings of the entry's own.
    ///
    /// # Errors
    /// As there.
    pub async fn put_with(&self, key: K, value: V, options: Options) -> Result<(), Error> {
        self.open()?;
        let codec = self.inner.codec.as_ref().ok_or_else(nowhere)?;
        let bytes = guarded(|| codec.encode(&value))?;
        let _turn = self.inner.turns.take(self.inner.store.hasher.hash(&key)).await;
        let refusals = self.inner.writes.refusals();
        let written = self.write(&key, Some(bytes)).await?;
        // Even if the cache was closed meanwhile: it is written.
        let kept = self.keep(key.clone(), value, options).await;
        // If it was refused before it was kept, nobody would forget it any more.
        if self.inner.writes.refusals() == refusals {
            written.settle();
        }
        match kept {
            // It is written; that the remote tier cannot hold it, which has only forgotten what it had, does not undo that.
            Err(error) if error.kind() == ErrorKind::Codec => {
                tracing::warn!(%error, cache = %self.inner.name, "a value that was written is too much for the remote tier");
                Ok(())
            }
            kept => kept,
        }
    }

    /// Deletes a value at the origin, as [`put`](Self::put) writes one, and forgets it.
    ///
    /// # Errors
    /// As there.
    pub async fn delete<Q>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.open()?;
        let _turn = self.inner.turns.take(self.inner.store.hasher.hash(key)).await;
        self.write(key, None).await?.settle();
        self.changed(key).await
    }

    async fn write<'a, Q>(&'a self, key: &'a Q, value: Option<Bytes>) -> Result<Unsettled<'a, K, V, Q>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let inner = &*self.inner;
        let name = {
            let text = key.text();
            inner.key_rules.check(&text)?;
            names::key(&inner.namespace, &text)
        };
        // What began to load before may have read the old value, and what begins from now on may still.
        inner.store.fence(key, inner.store.hasher.hash(key));
        let unsettled = Unsettled { cache: self, key, is_settled: false };
        let written = match &inner.writes {
            Writes::Nowhere => Err(nowhere()),
            Writes::Through(sink) => {
                let written = sink.write(&[Write { sequence: 0, name, value }]).await;
                inner.store.fence(key, inner.store.hasher.hash(key));
                written
            }
            Writes::Behind(log) => log.append(name, value).await.map(drop),
        };
        let Err(error) = written else { return Ok(unsettled) };
        if error.kind() != ErrorKind::Timeout {
            unsettled.settle();
        }
        Err(match &inner.writes {
            Writes::Through(_) => Error::caused(ErrorKind::Sink, format!("the write failed: {error}"), error),
            _ => error,
        })
    }
}

/// A write under way. If it is left so, the origin may have either value: what is cached is forgotten, here and elsewhere.
struct Unsettled<'a, K, V, Q>
where
    K: Key + Clone + Borrow<Q>,
    V: Clone + Send + Sync + 'static,
    Q: Key + ?Sized,
{
    cache: &'a Cache<K, V>,
    key: &'a Q,
    is_settled: bool,
}

impl<K, V, Q> Unsettled<'_, K, V, Q>
where
    K: Key + Clone + Borrow<Q>,
    V: Clone + Send + Sync + 'static,
    Q: Key + ?Sized,
{
    fn settle(mut self) {
        self.is_settled = true;
    }
}

impl<K, V, Q> Drop for Unsettled<'_, K, V, Q>
where
    K: Key + Clone + Borrow<Q>,
    V: Clone + Send + Sync + 'static,
    Q: Key + ?Sized,
{
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let inner = &self.cache.inner;
        inner.store.forget(self.key, inner.store.hasher.hash(self.key));
        if inner.shared.is_some() {
            let (inner, text) = (inner.clone(), self.key.text().into_owned());
            let tell = async move {
                if let Some(shared) = &inner.shared {
                    // What cannot be told now is remembered and told later.
                    let _ = shared.invalidate(Invalidation::Key(shared.name(&text))).await;
                }
            };
            self.cache.inner.runtime.spawn(tell);
        }
    }
}

impl<K, V> Inner<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// What was written to the key and the origin may not have yet.
    pub(crate) fn pending(&self, key: &K) -> Option<Result<Fetched<V>, Error>> {
        let (Writes::Behind(log), Some(codec)) = (&self.writes, &self.codec) else { return None };
        let name: Name = names::key(&self.namespace, &key.text());
        Some(match log.pending(&name)? {
            Some(bytes) => guarded(|| codec.decode(&bytes)).map(Fetched::from),
            None => Ok(Fetched::absent()),
        })
    }
}

fn nowhere() -> Error {
    let what = "this cache has nowhere to write to: give it one with Builder::write_through or Builder::write_behind";
    Error::new(ErrorKind::Config, what)
}
