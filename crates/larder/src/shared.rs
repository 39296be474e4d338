//! The remote tier as a cache of typed values uses it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use larder_policy::Time;

use crate::codec::{Codec, Seal, guarded};
use crate::fetched::{Brought, Fetched, Options};
use crate::remote::{Entry, Fence, Fill, Invalidation, Lease, Name, Reply, Tier, Waited, names};
use crate::{Error, ErrorKind};

pub(crate) struct Shared<V> {
    pub(crate) tier: Arc<Tier>,
    pub(crate) codec: Arc<dyn Codec<V>>,
    pub(crate) seal: Option<Arc<dyn Seal>>,
    pub(crate) namespace: String,
    /// Whether one process loads for all, and for how long at most.
    pub(crate) lease: Option<Duration>,
}

/// What the remote tier says about a key.
pub(crate) struct Seen<V> {
    /// What a fill needs; none forbids one.
    pub(crate) fence: Option<Fence>,
    /// What it has, and whether that is fresh.
    pub(crate) found: Option<(Brought<V>, bool)>,
}

impl<V: 'static> Shared<V> {
    pub(crate) fn name(&self, text: &str) -> Name {
        names::key(&self.namespace, text)
    }

    /// As [`name`](Self::name), for many: they are put together in one place.
    pub(crate) fn names<'a>(&self, texts: impl Iterator<Item = Cow<'a, str>>) -> Vec<Name> {
        let mut name = names::before_key(&self.namespace);
        let before = name.len();
        let named = texts.map(|text| {
            name.truncate(before);
            name.push_str(&text);
            Name::from(&*name)
        });
        named.collect()
    }

    /// What the tier has of `names`, as seen at `now`. A tier that cannot be asked has nothing and takes nothing.
    pub(crate) async fn get(&self, names: &[Name], now: Time) -> Vec<Seen<V>> {
        match self.tier.get(names).await {
            Ok(replies) => replies.into_iter().zip(names).map(|(reply, name)| self.open(name, reply, now)).collect(),
            Err(_) => names.iter().map(|_| Seen { fence: None, found: None }).collect(),
        }
    }

    /// Whether this process is to load the key.
    pub(crate) async fn lease(&self, name: &Name) -> Lease {
        match self.lease {
            Some(ttl) => self.tier.lease(name, ttl).await,
            None => Lease::Unknown,
        }
    }

    /// What the holder of the key's lease brings beside what was `seen`, or the lease, if it brings nothing.
    pub(crate) async fn wait_for(
        &self,
        name: &Name,
        seen: Option<&Seen<V>>,
        now: impl Fn() -> Time,
    ) -> (Option<Seen<V>>, Lease) {
        let Some(most) = self.lease else { return (None, Lease::Unknown) };
        let known = seen.and_then(|seen| seen.found.as_ref()).map(|(known, _)| now().since(known.as_of));
        match self.tier.wait_for(name, known, most).await {
            Waited::Filled(reply) => (Some(self.open(name, reply, now())), Lease::Taken),
            Waited::Granted(guard) => (None, Lease::Granted(guard)),
            Waited::Over => (None, Lease::Unknown),
        }
    }

    fn open(&self, name: &str, Reply { fence, found }: Reply, now: Time) -> Seen<V> {
        let found = found.and_then(|entry| {
            let value = match entry.payload {
                // What cannot be decoded is as good as missing; the load that follows replaces it.
                Some(bytes) => {
                    let decode = || match &self.seal {
                        Some(seal) => self.codec.decode(&seal.open(name, bytes)?),
                        None => self.codec.decode(&bytes),
                    };
                    let tell = |error: &Error| tracing::debug!(%error, "a value in the remote tier counts as missing");
                    Some(guarded(decode).inspect_err(tell).ok()?)
                }
                None => None,
            };
            let options = Options { ttl: None, version: entry.version, tags: entry.tags };
            let changed_at = entry.changed_at.map(|at| Time(0).plus(at));
            let brought = Brought {
                fetched: Fetched { value, options, changed_at },
                as_of: Time(now.0.saturating_sub(entry.age.as_micros() as u64)),
                cost: u32::try_from(entry.cost.as_micros()).unwrap_or(u32::MAX),
                audit: None,
                from: crate::Tier::Remote,
                fresh_until: Some(now.plus(entry.fresh_for)),
                until: Some(now.plus(entry.keep_for)),
                checked: Some(now),
            };
            Some((brought, entry.fresh_for > Duration::ZERO))
        });
        Seen { fence, found }
    }

    fn entry(&self, name: &str, fetched: &Fetched<V>, times: Times, cost: u32) -> Result<Entry, Error> {
        let payload = match &fetched.value {
            Some(value) => Some(guarded(|| {
                let plain = self.codec.encode(value)?;
                match &self.seal {
                    Some(seal) => seal.seal(name, plain),
                    None => Ok(plain),
                }
            })?),
            None => None,
        };
        let Options { version, tags, .. } = &fetched.options;
        let cost = Duration::from_micros(u64::from(cost));
        let changed_at = fetched.changed_at.map(|at| at.since(Time(0)));
        let Times { age, fresh_for, keep_for } = times;
        Ok(Entry { payload, age, fresh_for, keep_for, cost, version: *version, changed_at, tags: tags.clone() })
    }

    /// Offers what was loaded to the tier. What cannot be encoded stays in this process.
    pub(crate) fn fill(&self, name: Name, fence: Fence, fetched: &Fetched<V>, times: Times, cost: u32) {
        match self.entry(&name, fetched, times, cost) {
            Ok(entry) => _ = self.tier.fill(Fill { name, fence, entry }),
            Err(error) => tracing::warn!(%error, "a value stays out of the remote tier"),
        }
    }

    /// Puts what the service wrote into the tier and tells the other processes. What cannot be encoded is outdated there all the same.
    pub(crate) async fn write(&self, name: &Name, fetched: &Fetched<V>, times: Times) -> Result<(), Error> {
        match self.entry(name, fetched, times, 0) {
            Ok(entry) => self.tier.write(name, &entry).await,
            Err(error) => {
                // If it cannot be done now, it is remembered and done later.
                let _ = self.invalidate(Invalidation::Key(name.clone())).await;
                Err(error)
            }
        }
    }

    pub(crate) async fn invalidate(&self, what: Invalidation) -> Result<(), Error> {
        self.tier.invalidate(&[what]).await
    }
}

/// A value's times, counted from now.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) age: Duration,
    pub(crate) fresh_for: Duration,
    pub(crate) keep_for: Duration,
}

/// What an invalidation from another process means for the keys of `namespace`: the key's text, a tag, or everything.
pub(crate) enum Heard<'a> {
    Key(&'a str),
    Tag(&'a str),
    Clear,
    Lost,
    /// Another namespace's.
    Nothing,
}

impl<'a> Heard<'a> {
    pub(crate) fn of(what: &'a Invalidation, namespace: &str) -> Self {
        let rest = |name: &'a str, mark: &str| name.strip_prefix(namespace)?.strip_prefix(mark);
        match what {
            Invalidation::Key(name) => rest(name, ":").map_or(Self::Nothing, Self::Key),
            Invalidation::Tag(name) => rest(name, "!tag:").map_or(Self::Nothing, Self::Tag),
            Invalidation::Clear(name) if names::all(namespace) == *name => Self::Clear,
            Invalidation::Clear(_) => Self::Nothing,
            Invalidation::Lost => Self::Lost,
        }
    }
}

/// That the tier did not do what was asked, which never fails a write: it is done later.
pub(crate) fn tolerate(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::Remote | ErrorKind::Timeout | ErrorKind::Overloaded) => Ok(()),
        other => other,
    }
}
