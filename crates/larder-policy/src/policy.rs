//! A policy is a value: parts chosen by name from the registries.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Capacity;
use crate::admission::{self, Admission, AdmissionEntry};
use crate::eviction::{self, Eviction, EvictionEntry, Setup};
use crate::learned::Prior;
use crate::params::{Param, Params};
use crate::predict::Predictor;
use crate::ttl::Ttl;
use crate::{Error, ErrorKind};

/// The parts that decide for one shard.
pub struct Policy<E: Eviction + ?Sized = dyn Eviction> {
    /// Who leaves.
    pub eviction: Box<E>,
    /// Who enters; `None` admits everybody.
    pub admission: Option<Box<dyn Admission>>,
    /// For how long; `None` is without limit.
    pub ttl: Option<Box<dyn Ttl>>,
    /// What is foreseen; `None` foresees nothing.
    pub predictor: Option<Box<dyn Predictor>>,
}

impl<E: Eviction + ?Sized> Policy<E> {
    /// A policy of eviction alone.
    pub fn new(eviction: Box<E>) -> Self {
        Self { eviction, admission: None, ttl: None, predictor: None }
    }
}

/// Makes something of a policy whose type the compiler knows, so that it calls the hooks directly and inlines them.
pub trait Host {
    /// What is made.
    type Made;

    /// Makes it.
    fn host<E: Eviction + ?Sized + 'static>(self, policy: Policy<E>) -> Self::Made;
}

/// The text form of a policy, checked: `EVICTION[:NAME=VALUE[/NAME=VALUE…]][+ADMISSION[:NAME=VALUE…]]`, such as
/// `lru`, `s3fifo:small=0.2` or `lru+tinylfu`.
#[derive(Clone, Debug)]
pub struct PolicySpec {
    text: String,
    eviction: &'static EvictionEntry,
    eviction_params: Params,
    admission: Option<(&'static AdmissionEntry, Params)>,
    prior: Option<Arc<Prior>>,
}

impl PolicySpec {
    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The eviction policy's registry entry.
    pub fn eviction(&self) -> &'static EvictionEntry {
        self.eviction
    }

    /// The same policy; if it is a learned one, it starts from `prior` instead of the one that ships with larder.
    #[must_use]
    pub fn with_prior(self, prior: Arc<Prior>) -> Self {
        Self { prior: Some(prior), ..self }
    }

    /// Builds the parts. The predictor is left out: the host adds it.
    pub fn build(&self, capacity: Capacity, seed: u64) -> Policy {
        let setup = self.setup(capacity, seed);
        self.complete(capacity, seed, (self.eviction.build)(&setup))
    }

    /// As [`build`](Self::build), for a host that wants to know the type of the eviction policy. It gets that of
    /// those whose hooks are so short that the calls are felt; each costs the program a copy of the host's code.
    pub fn build_for<H: Host>(&self, capacity: Capacity, seed: u64, host: H) -> H::Made {
        let setup = self.setup(capacity, seed);
        match self.eviction.name {
            "lru" => host.host(self.complete(capacity, seed, Box::new(eviction::Lru::new(&setup)))),
            "sieve" => host.host(self.complete(capacity, seed, Box::new(eviction::Sieve::new(&setup)))),
            "arc" => host.host(self.complete(capacity, seed, Box::new(eviction::ArcPolicy::new(&setup)))),
            "s3fifo" => host.host(self.complete(capacity, seed, Box::new(eviction::S3Fifo::new(&setup)))),
            _ => host.host(self.build(capacity, seed)),
        }
    }

    fn setup(&self, capacity: Capacity, seed: u64) -> Setup<'_> {
        Setup { prior: self.prior.as_ref(), ..setup(capacity, seed, &self.eviction_params) }
    }

    fn complete<E: Eviction + ?Sized>(&self, capacity: Capacity, seed: u64, eviction: Box<E>) -> Policy<E> {
        let mut policy = Policy::new(eviction);
        if let Some((entry, params)) = &self.admission {
            policy.admission = (entry.build)(&setup(capacity, seed, params));
        }
        policy
    }
}

impl FromStr for PolicySpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (eviction, admission) = match text.split_once('+') {
            Some((eviction, admission)) => (eviction, Some(admission)),
            None => (text, None),
        };
        let find = |name: &str| eviction::REGISTRY.iter().find(|entry| entry.name == name);
        let names = || eviction::REGISTRY.iter().map(|entry| entry.name).collect();
        let (eviction, eviction_params) = parse(eviction, find, |entry| entry.params, names, "policy")?;
        let find = |name: &str| admission::REGISTRY.iter().find(|entry| entry.name == name);
        let names = || admission::REGISTRY.iter().map(|entry| entry.name).collect();
        let admission =
            admission.map(|text| parse(text, find, |entry| entry.params, names, "admission policy")).transpose()?;
        Ok(Self { text: text.to_owned(), eviction, eviction_params, admission, prior: None })
    }
}

impl fmt::Display for PolicySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn setup(capacity: Capacity, seed: u64, params: &Params) -> Setup<'_> {
    Setup { capacity: capacity.limit, objects: capacity.most_objects(), seed, params, prior: None }
}

fn parse<T>(
    text: &str,
    find: impl Fn(&str) -> Option<&'static T>,
    params: impl Fn(&'static T) -> &'static [Param],
    names: impl Fn() -> Vec<&'static str>,
    what: &str,
) -> Result<(&'static T, Params), Error> {
    let (name, settings) = text.split_once(':').unwrap_or((text, ""));
    let entry = find(name).ok_or_else(|| {
        let message = format!("there is no {what} '{name}'; there are: {}", names().join(", "));
        Error::new(ErrorKind::UnknownPolicy, message)
    })?;
    let mut values = Params::defaults(params(entry));
    for setting in settings.split('/').filter(|setting| !setting.is_empty()) {
        let (key, value) = setting.split_once('=').ok_or_else(|| {
            Error::new(ErrorKind::BadValue, format!("{what} {name}: '{setting}' is not of the form NAME=VALUE"))
        })?;
        values.set(name, key, value)?;
    }
    Ok((entry, values))
}
