//! A cache's table as it is written, before it is checked: every setting may be missing.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use larder_policy::freshness::Freshness;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use toml::Spanned;

use super::Config;
use super::scalar::{
    As, Bytes, Kept, MaybePolicy, MaybePrice, MaybeTime, Name, Objective, Policy, Price, Room, Scalar, Segments, Share,
    Start, Time, Wait, Whole,
};
use crate::proof::Control;
use crate::remote::{BreakerConfig, TierConfig};
use crate::rules::{Consistency, Refresh};
use crate::{Error, ErrorKind};

type Given<T> = Option<As<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Table {
    name: Given<Name>,
    capacity: Given<Room>,
    policy: Given<Policy>,
    segments: Given<Segments>,
    loads: Given<Whole<usize, 1>>,
    lease: Given<MaybeTime>,
    key_bytes: Given<Whole<usize, 1>>,
    jitter: Given<Share>,
    negative_ttl: Given<Time>,
    stale_if_error: Given<Time>,
    error_pause: Given<Time>,
    refresh: Given<Refresh>,
    soft_timeout: Given<MaybeTime>,
    hard_timeout: Given<Wait>,
    load_timeout: Given<Wait>,
    consistency: Given<Consistency>,
    freshness: Option<Spanned<Fresh>>,
    control: Option<Beside>,
    prices: Option<Priced>,
    remote: Option<Remote>,
    sharing: Option<Shared>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fresh {
    ttl: Option<Spanned<As<Time>>>,
    objective: Option<Spanned<As<Objective>>>,
    age_share: Option<Spanned<As<Share>>>,
    older_than: Given<Time>,
    min_ttl: Option<Spanned<As<Time>>>,
    max_ttl: Option<Spanned<As<Time>>>,
    starting_ttl: Given<MaybeTime>,
    refresh_ahead: Given<MaybePrice>,
    rent: Given<Price>,
    prefixes: Option<BTreeMap<String, Spanned<Fresh>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Beside {
    policy: Given<MaybePolicy>,
    start: Given<Start>,
    holdout: Given<Share>,
    ttl: Given<MaybeTime>,
    freshness: Option<Spanned<Fresh>>,
    slice: Given<Wait>,
    cool_down: Given<Wait>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Priced {
    gib_hour: Given<Price>,
    load: Given<Price>,
    entry_bytes: Given<Whole<u32, 0>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Remote {
    deadline: Given<Wait>,
    in_flight: Given<Whole<usize, 1>>,
    retry_share: Given<Share>,
    schema: Given<Whole<u32, 0>>,
    pack_above: Given<Bytes>,
    value_limit: Given<Bytes>,
    queue: Given<Whole<usize, 0>>,
    queue_bytes: Given<Bytes>,
    pending: Given<Whole<usize, 0>>,
    fence_for: Given<Kept>,
    longest: Given<Kept>,
    trust: Given<Wait>,
    breaker: Option<Breaker>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Breaker {
    in_a_row: Given<Whole<u32, 1>>,
    share: Given<Share>,
    least: Given<Whole<u32, 0>>,
    window: Given<Wait>,
    rest: Given<Wait>,
    longest_rest: Given<Wait>,
    trials: Given<Whole<u32, 1>>,
    successes: Given<Whole<u32, 1>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Shared {
    look: Given<Wait>,
    publish: Given<Time>,
    lease: Given<Wait>,
}

/// Sets what is given, and leaves alone what is not.
fn set<T: Scalar>(target: &mut T::Is, given: Given<T>) {
    if let Some(As(value)) = given {
        *target = value;
    }
}

impl Table {
    /// Reads one table of a document.
    pub(super) fn parse(text: &str, table: &str) -> Result<Self, Error> {
        let wrong = |error: toml::de::Error| Error::new(ErrorKind::Config, error.to_string().trim_end());
        let document = toml::Deserializer::parse(text).map_err(wrong)?;
        let found = document.deserialize_map(TableOf(table)).map_err(|mut error| {
            error.set_input(Some(text));
            wrong(error)
        })?;
        found.ok_or_else(|| Error::new(ErrorKind::Config, format!("there is no table [{table}]")))
    }

    pub(super) fn check(self, text: &str, table: &str) -> Result<Config, Error> {
        let mut config = Config::default();
        let Config { rules, tier, control, prices, sharing, .. } = &mut config;
        if let Some(fresh) = self.freshness {
            let place = Place { text, key: format!("{table}.freshness") };
            rules.freshness = place.freshness(fresh, Some(&rules.freshness))?;
        }
        if let Some(remote) = self.remote {
            remote.apply(tier);
        }
        if let Some(mut beside) = self.control {
            if let Some(fresh) = beside.freshness.take() {
                let place = Place { text, key: format!("{table}.control.freshness") };
                control.freshness = Some(place.freshness(fresh, None)?);
            }
            beside.apply(control);
        }
        if let Some(Priced { gib_hour, load, entry_bytes }) = self.prices {
            set(&mut prices.gib_hour, gib_hour);
            set(&mut prices.load, load);
            set(&mut prices.entry_bytes, entry_bytes);
        }
        if let Some(Shared { look, publish, lease }) = self.sharing {
            set(&mut sharing.look, look);
            set(&mut sharing.publish, publish);
            set(&mut sharing.lease, lease);
        }
        set(&mut rules.jitter, self.jitter);
        set(&mut rules.negative_ttl, self.negative_ttl);
        set(&mut rules.stale_if_error, self.stale_if_error);
        set(&mut rules.error_pause, self.error_pause);
        set(&mut rules.refresh, self.refresh);
        set(&mut rules.soft_timeout, self.soft_timeout);
        set(&mut rules.hard_timeout, self.hard_timeout);
        set(&mut rules.load_timeout, self.load_timeout);
        set(&mut rules.consistency, self.consistency);
        set(&mut config.name, self.name);
        set(&mut config.capacity, self.capacity);
        set(&mut config.policy, self.policy);
        set(&mut config.segments, self.segments);
        set(&mut config.loads, self.loads);
        set(&mut config.lease, self.lease);
        set(&mut config.key_rules.max_bytes, self.key_bytes);
        config.rules.check()?;
        Ok(config)
    }
}

impl Beside {
    fn apply(self, control: &mut Control) {
        set(&mut control.against, self.policy);
        set(&mut control.settings.adopted, self.start);
        set(&mut control.settings.holdout, self.holdout);
        set(&mut control.ttl, self.ttl);
        set(&mut control.settings.cool_down, self.cool_down);
        set(&mut control.slice, self.slice);
    }
}

impl Remote {
    fn apply(self, tier: &mut TierConfig) {
        set(&mut tier.deadline, self.deadline);
        set(&mut tier.in_flight, self.in_flight);
        set(&mut tier.retry_share, self.retry_share);
        set(&mut tier.form.schema, self.schema);
        set(&mut tier.form.pack_above, self.pack_above);
        set(&mut tier.form.limit, self.value_limit);
        set(&mut tier.queue, self.queue);
        set(&mut tier.queue_bytes, self.queue_bytes);
        set(&mut tier.pending, self.pending);
        set(&mut tier.fence_for, self.fence_for);
        set(&mut tier.longest, self.longest);
        set(&mut tier.trust, self.trust);
        if let Some(breaker) = self.breaker {
            breaker.apply(&mut tier.breaker);
        }
    }
}

impl Breaker {
    fn apply(self, breaker: &mut BreakerConfig) {
        set(&mut breaker.in_a_row, self.in_a_row);
        set(&mut breaker.share, self.share);
        set(&mut breaker.least, self.least);
        set(&mut breaker.window, self.window);
        set(&mut breaker.rest, self.rest);
        set(&mut breaker.longest_rest, self.longest_rest);
        set(&mut breaker.trials, self.trials);
        set(&mut breaker.successes, self.successes);
    }
}

/// Where a table stands, for errors that no single value has.
struct Place<'a> {
    text: &'a str,
    key: String,
}

impl Place<'_> {
    fn wrong(&self, span: Range<usize>, key: &str, what: &str) -> Error {
        let line = 1 + self.text.get(..span.start).unwrap_or_default().matches('\n').count();
        let key = if key.is_empty() { self.key.clone() } else { format!("{}.{key}", self.key) };
        Error::new(ErrorKind::Config, format!("line {line}, {key}: {what}"))
    }

    /// An objective of its own, or one that adds to `usual`.
    fn freshness(&self, fresh: Spanned<Fresh>, usual: Option<&Freshness>) -> Result<Freshness, Error> {
        let span = fresh.span();
        let fresh = fresh.into_inner();
        let fixed = fresh.ttl.as_ref().map(|ttl| ttl.get_ref().0);
        let mut freshness = match (fresh.ttl, fresh.objective, fresh.age_share) {
            (Some(ttl), None, None) => Freshness::fixed_ttl(ttl.into_inner().0),
            (Some(ttl), ..) => {
                let what = "a fixed lifetime leaves nothing to another: write either ttl, objective or age_share";
                return Err(self.wrong(ttl.span(), "ttl", what));
            }
            (None, Some(_), Some(share)) => {
                let what = "a share of the age leaves nothing to an objective: write either";
                return Err(self.wrong(share.span(), "age_share", what));
            }
            (None, None, Some(share)) => {
                let at = share.span();
                Freshness::share_of_age(share.into_inner().0)
                    .map_err(|error| self.wrong(at, "age_share", &error.to_string()))?
            }
            (None, Some(objective), None) => {
                let at = objective.span();
                match objective.into_inner().0 {
                    Some(share) => Freshness::stale_reads(share)
                        .map_err(|error| self.wrong(at, "objective", &error.to_string()))?,
                    None => Freshness::never_stale(),
                }
            }
            (None, None, None) => match usual {
                Some(usual) => usual.clone(),
                None => {
                    let what =
                        "say how stale these keys may be: objective = \"1%\", or ttl = \"5m\", or age_share = \"10%\"";
                    return Err(self.wrong(span, "", what));
                }
            },
        };
        if let Some(As(grace)) = fresh.older_than {
            freshness = freshness.older_than(grace);
        }
        if let Some(most) = fresh.max_ttl {
            let at = most.span();
            let As(most) = most.into_inner();
            if fixed.is_some_and(|ttl| ttl > most) {
                return Err(self.wrong(at, "max_ttl", "is shorter than ttl: raise it, or lower ttl"));
            }
            freshness = freshness.max_ttl(most);
        }
        if let Some(least) = fresh.min_ttl {
            let at = least.span();
            let As(least) = least.into_inner();
            if least > freshness.most() {
                return Err(self.wrong(at, "min_ttl", "is longer than max_ttl: lower it, or raise max_ttl"));
            }
            if fixed.is_some_and(|ttl| ttl < least) {
                return Err(self.wrong(at, "min_ttl", "is longer than ttl: lower it, or raise ttl"));
            }
            freshness = freshness.min_ttl(least);
        }
        if let Some(As(Some(ttl))) = fresh.starting_ttl {
            freshness = freshness.starting_ttl(ttl);
        }
        if let Some(As(price)) = fresh.refresh_ahead {
            freshness = freshness.refresh_ahead(price);
        }
        if let Some(As(rent)) = fresh.rent {
            freshness = freshness.rent(rent);
        }
        for (prefix, own) in fresh.prefixes.into_iter().flatten() {
            let place = Place { text: self.text, key: format!("{}.prefixes.{prefix:?}", self.key) };
            if own.get_ref().prefixes.is_some() {
                let what = "prefixes do not nest: of several that fit a key, the longest counts";
                return Err(place.wrong(own.span(), "prefixes", what));
            }
            freshness = freshness.with_prefix(prefix, place.freshness(own, None)?);
        }
        Ok(freshness)
    }
}

/// The table of this name, whatever else there is.
struct TableOf<'a>(&'a str);

impl<'de> Visitor<'de> for TableOf<'_> {
    type Value = Option<Table>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a document with a table [{}]", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Table>, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../larder.toml")).unwrap()
    }

    /// With `deny_unknown_fields` this compares file and code both ways: without `..`, a setting that is new in the code does not
    /// compile here until it is in the file.
    #[test]
    fn larder_toml_shows_every_setting() {
        let table = Table::parse(&file(), "cache").unwrap();
        let Table {
            name: Some(_),
            // The one setting without a default.
            capacity: None,
            policy: Some(_),
            segments: Some(_),
            loads: Some(_),
            lease: Some(_),
            key_bytes: Some(_),
            jitter: Some(_),
            negative_ttl: Some(_),
            stale_if_error: Some(_),
            error_pause: Some(_),
            refresh: Some(_),
            soft_timeout: Some(_),
            hard_timeout: Some(_),
            load_timeout: Some(_),
            consistency: Some(_),
            freshness: Some(fresh),
            control: Some(beside),
            prices: Some(priced),
            remote: Some(remote),
            sharing: Some(shared),
        } = table
        else {
            panic!("[cache] lacks a setting: {table:#?}")
        };
        let fresh = fresh.into_inner();
        let Fresh {
            ttl: Some(_),
            // Instead of the lifetime.
            objective: None,
            age_share: None,
            older_than: Some(_),
            min_ttl: Some(_),
            max_ttl: Some(_),
            starting_ttl: Some(_),
            refresh_ahead: Some(_),
            rent: Some(_),
            prefixes: None,
        } = fresh
        else {
            panic!("[cache.freshness] lacks a setting: {fresh:#?}")
        };
        let Beside {
            policy: Some(_),
            start: Some(_),
            holdout: Some(_),
            ttl: Some(_),
            // Instead of the lifetime.
            freshness: None,
            slice: Some(_),
            cool_down: Some(_),
        } = beside
        else {
            panic!("[cache.control] lacks a setting: {beside:#?}")
        };
        let Priced { gib_hour: Some(_), load: Some(_), entry_bytes: Some(_) } = priced else {
            panic!("[cache.prices] lacks a setting: {priced:#?}")
        };
        let Remote {
            deadline: Some(_),
            in_flight: Some(_),
            retry_share: Some(_),
            schema: Some(_),
            pack_above: Some(_),
            value_limit: Some(_),
            queue: Some(_),
            queue_bytes: Some(_),
            pending: Some(_),
            fence_for: Some(_),
            longest: Some(_),
            trust: Some(_),
            breaker: Some(breaker),
        } = remote
        else {
            panic!("[cache.remote] lacks a setting: {remote:#?}")
        };
        let Shared { look: Some(_), publish: Some(_), lease: Some(_) } = shared else {
            panic!("[cache.sharing] lacks a setting: {shared:#?}")
        };
        let Breaker {
            in_a_row: Some(_),
            share: Some(_),
            least: Some(_),
            window: Some(_),
            rest: Some(_),
            longest_rest: Some(_),
            trials: Some(_),
            successes: Some(_),
        } = breaker
        else {
            panic!("[cache.remote.breaker] lacks a setting: {breaker:#?}")
        };
    }

    #[test]
    fn larder_toml_shows_the_defaults() {
        assert_eq!(Config::from_toml(&file(), "cache").unwrap(), Config::default());
    }

    #[test]
    fn what_is_written_counts() {
        let text = r#"
            [prices]
            capacity = "64MiB"
            policy = "s3fifo"
            refresh = "ahead:0.8"
            soft_timeout = "50ms"
            consistency = "read-your-writes"
            [prices.freshness]
            objective = 0.01
            max_ttl = "6h"
            [prices.freshness.prefixes."price:"]
            ttl = "5s"
            [prices.control]
            policy = "lru"
            start = "ramped"
            holdout = "5%"
            ttl = "5m"
            [prices.prices]
            gib_hour = 0.005
            load = 4e-7
            entry_bytes = 300
            [prices.remote]
            deadline = "10ms"
            breaker.in_a_row = 3
            [prices.sharing]
            publish = "1m"
            [other]
            unknown = true
        "#;
        let config = Config::from_toml(text, "prices").unwrap();
        let secs = Duration::from_secs;
        let freshness = Freshness::stale_reads(0.01).unwrap().max_ttl(secs(6 * 3600));
        let capacity = Some(larder_policy::Capacity::bytes(64 << 20));
        let mut expected = Config { capacity, policy: "s3fifo".into(), ..Config::default() };
        expected.rules.refresh = Refresh::Ahead(0.8);
        expected.rules.soft_timeout = Some(Duration::from_millis(50));
        expected.rules.consistency = Consistency::ReadYourWrites;
        expected.rules.freshness = freshness.with_prefix("price:", Freshness::fixed_ttl(secs(5)));
        expected.control = Control::beside("lru").holdout(0.05).ttl(secs(300)).ramped();
        expected.prices = crate::Prices { gib_hour: 0.005, load: 4e-7, entry_bytes: 300 };
        expected.tier.deadline = Duration::from_millis(10);
        expected.tier.breaker.in_a_row = 3;
        expected.sharing.publish = secs(60);
        assert_eq!(config, expected);
    }

    #[test]
    fn a_control_has_an_objective_of_its_own() {
        let text = "[cache.control]\npolicy = 'lru'\n[cache.control.freshness]\nobjective = '1%'\nolder_than = '30s'";
        let config = Config::from_toml(text, "cache").unwrap();
        let freshness = Freshness::stale_reads(0.01).unwrap().older_than(Duration::from_secs(30));
        assert_eq!(config.control, Control::beside("lru").freshness(freshness));
        let text = "[cache.control]\npolicy = 'lru'\n[cache.control.freshness]\nage_share = '10%'\nmin_ttl = '5s'";
        let freshness = Freshness::share_of_age(0.1).unwrap().min_ttl(Duration::from_secs(5));
        assert_eq!(Config::from_toml(text, "cache").unwrap().control, Control::beside("lru").freshness(freshness));
    }

    #[test]
    fn errors_name_the_line_the_key_and_what_to_write() {
        let cases = [
            ("[cache]\nhard_timeout = 10", "line 2", "hard_timeout", "with its unit"),
            ("[cache]\n\nhard_timout = '10s'", "line 3", "hard_timout", "expected one of"),
            ("[cache]\ncapacity = '10 apples'", "line 2", "capacity", "a number of entries"),
            ("[cache]\ncapacity = [1]", "line 2", "capacity", "a number of entries"),
            ("[cache]\npolicy = 'belady'", "line 2", "policy", "larder policies"),
            ("[cache]\nrefresh = 'soon'", "line 2", "refresh", "at-end"),
            ("[cache.freshness]\nobjective = '1%'\nttl = '5m'", "line 3", "cache.freshness.ttl", "either"),
            ("[cache.freshness]\nobjective = '1%'\nage_share = 0.1", "line 3", "cache.freshness.age_share", "either"),
            ("[cache.freshness]\nage_share = 0", "line 2", "age_share", "such as 0.1"),
            ("[cache.freshness]\nobjective = 3", "line 2", "objective", "such as \"1%\""),
            ("[cache.freshness]\nmax_ttl = '1m'\nmin_ttl = '1h'", "line 3", "min_ttl", "raise max_ttl"),
            ("[cache.freshness]\nttl = '5m'\nmax_ttl = '1m'", "line 3", "cache.freshness.max_ttl", "shorter than ttl"),
            ("[cache.freshness]\nttl = '5m'\nmin_ttl = '6m'", "line 3", "cache.freshness.min_ttl", "longer than ttl"),
            ("[cache.freshness.prefixes.'a:']\nolder_than = '1s'", "line 1", "prefixes.\"a:\"", "objective = "),
            ("[cache.control]\npolicy = 'belady'", "line 2", "policy", "\"none\", or"),
            ("[cache.control.freshness]\nmax_ttl = '1h'", "line 1", "cache.control.freshness", "objective = "),
            ("[cache.control]\nstart = 'soon'", "line 2", "start", "ramped"),
            ("[cache.prices]\nload = -0.1", "line 2", "load", "at least 0"),
            ("[cache.prices]\ngib_hour = inf", "line 2", "gib_hour", "at least 0"),
            ("[cache.remote.breaker]\nin_a_row = 0", "line 2", "in_a_row", "at least 1"),
            ("[other]\nname = 'x'", "there is no table", "[cache]", ""),
            ("[cache]\nname = ", "line 2", "name", ""),
        ];
        for (text, line, key, help) in cases {
            let error = Config::from_toml(text, "cache").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let message = error.to_string();
            for part in [line, key, help] {
                assert!(message.contains(part), "{text:?} gives {message:?}, without {part:?}");
            }
        }
    }
}
