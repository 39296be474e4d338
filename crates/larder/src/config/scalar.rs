//! Single values as people write them: a number, or a text with a unit. Each kind's error says what to write instead; the TOML
//! reader adds the line.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use larder_policy::{Capacity, PolicySpec};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::bounds::{LONGEST_KEPT, LONGEST_WAIT, SHORTEST};
use crate::proof::Against;
use crate::remote::names;
use crate::rules::{Consistency, Refresh};

/// A kind of value, made from its text, whether it stood in quotes or not.
pub(super) trait Scalar {
    /// What it is in the code.
    type Is;
    /// What is written, for whoever wrote something else.
    const EXPECTED: &'static str;

    fn read(text: &str) -> Option<Self::Is>;
}

/// A value of a kind, as serde reads it.
#[derive(Debug)]
pub(super) struct As<T: Scalar>(pub(super) T::Is);

impl<'de, T: Scalar> Deserialize<'de> for As<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData))
    }
}

struct Any<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for Any<T> {
    type Value = As<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<As<T>, E> {
        T::read(text).map(As).ok_or_else(|| E::custom(format!("{text:?} is not {}", T::EXPECTED)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<As<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<As<T>, E> {
        self.visit_str(&number.to_string())
    }
}

/// A time; zero is one.
#[derive(Debug)]
pub(super) struct Time;

impl Scalar for Time {
    type Is = Duration;
    const EXPECTED: &'static str = "a time with its unit, such as \"250ms\", \"90s\", \"5m\" or \"1day\"";

    fn read(text: &str) -> Option<Duration> {
        humantime::parse_duration(text).ok()
    }
}

/// A time within which something has to happen.
#[derive(Debug)]
pub(super) struct Wait;

impl Scalar for Wait {
    type Is = Duration;
    const EXPECTED: &'static str = "a time from 1 ms to a day with its unit, such as \"25ms\" or \"10s\"";

    fn read(text: &str) -> Option<Duration> {
        Time::read(text).filter(|time| (SHORTEST..=LONGEST_WAIT).contains(time))
    }
}

/// A time for which others keep something.
#[derive(Debug)]
pub(super) struct Kept;

impl Scalar for Kept {
    type Is = Duration;
    const EXPECTED: &'static str = "a time from 1 ms to ten years with its unit, such as \"60s\" or \"1day\"";

    fn read(text: &str) -> Option<Duration> {
        Time::read(text).filter(|time| (SHORTEST..=LONGEST_KEPT).contains(time))
    }
}

/// A time, or that there is none.
#[derive(Debug)]
pub(super) struct MaybeTime;

impl Scalar for MaybeTime {
    type Is = Option<Duration>;
    const EXPECTED: &'static str = "\"none\", or a time with its unit, such as \"90s\"";

    fn read(text: &str) -> Option<Option<Duration>> {
        if text == "none" { Some(None) } else { Time::read(text).map(Some) }
    }
}

/// From 0 to 1, both included.
#[derive(Debug)]
pub(super) struct Share;

impl Scalar for Share {
    type Is = f64;
    const EXPECTED: &'static str = "a share from 0 to 1, such as 0.5 or \"50%\"";

    fn read(text: &str) -> Option<f64> {
        let share = match text.strip_suffix('%') {
            Some(number) => number.trim().parse::<f64>().ok()? / 100.0,
            None => text.parse().ok()?,
        };
        (0.0..=1.0).contains(&share).then_some(share)
    }
}

/// How many reads may be stale; none may where there is no share.
#[derive(Debug)]
pub(super) struct Objective;

impl Scalar for Objective {
    type Is = Option<f64>;
    const EXPECTED: &'static str = "a share of stale reads above 0 and below 1, such as \"1%\" or 0.01, or \"never\"";

    fn read(text: &str) -> Option<Option<f64>> {
        if text == "never" {
            return Some(None);
        }
        Share::read(text).filter(|share| *share > 0.0 && *share < 1.0).map(Some)
    }
}

/// A number that is not negative.
#[derive(Debug)]
pub(super) struct Price;

impl Scalar for Price {
    type Is = f64;
    const EXPECTED: &'static str = "a number of at least 0, such as 2.5";

    fn read(text: &str) -> Option<f64> {
        text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0)
    }
}

/// A price that may be too high ever to be paid.
#[derive(Debug)]
pub(super) struct MaybePrice;

impl Scalar for MaybePrice {
    type Is = f64;
    const EXPECTED: &'static str = "\"never\", or a number of at least 0, such as 2.5";

    fn read(text: &str) -> Option<f64> {
        if text == "never" { Some(f64::INFINITY) } else { Price::read(text) }
    }
}

/// A whole number of at least `LEAST`.
#[derive(Debug)]
pub(super) struct Whole<T, const LEAST: u8>(PhantomData<T>);

impl<T, const LEAST: u8> Scalar for Whole<T, LEAST>
where
    T: std::str::FromStr + PartialOrd + From<u8>,
{
    type Is = T;
    const EXPECTED: &'static str =
        if LEAST == 0 { "a whole number of at least 0" } else { "a whole number of at least 1" };

    fn read(text: &str) -> Option<T> {
        text.parse().ok().filter(|number| *number >= T::from(LEAST))
    }
}

/// How many segments; none chooses by the machine.
#[derive(Debug)]
pub(super) struct Segments;

impl Scalar for Segments {
    type Is = Option<usize>;
    const EXPECTED: &'static str = "\"auto\", or a power of two, such as 8";

    fn read(text: &str) -> Option<Option<usize>> {
        if text == "auto" {
            return Some(None);
        }
        text.parse().ok().filter(|count: &usize| count.is_power_of_two()).map(Some)
    }
}

/// Bytes, with or without a unit.
#[derive(Debug)]
pub(super) struct Bytes;

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Bytes with a unit.
fn size(text: &str) -> Option<u64> {
    let (number, factor) = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(*factor)
}

impl Scalar for Bytes {
    type Is = usize;
    const EXPECTED: &'static str = "a size, such as \"32MiB\" (KiB, MiB, GiB, TiB) or a number of bytes";

    fn read(text: &str) -> Option<usize> {
        match size(text) {
            Some(size) => usize::try_from(size).ok(),
            None => text.parse().ok(),
        }
    }
}

/// What fits into a cache: entries, or bytes with a unit.
#[derive(Debug)]
pub(super) struct Room;

impl Scalar for Room {
    type Is = Option<Capacity>;
    const EXPECTED: &'static str =
        "a number of entries, such as 10_000, or a size, such as \"64MiB\" (KiB, MiB, GiB, TiB)";

    fn read(text: &str) -> Option<Option<Capacity>> {
        let capacity = match size(text) {
            Some(bytes) => Capacity::bytes(bytes),
            None => Capacity::objects(text.parse().ok()?),
        };
        (capacity.limit > 0).then_some(Some(capacity))
    }
}

/// A cache's name.
#[derive(Debug)]
pub(super) struct Name;

impl Scalar for Name {
    type Is = String;
    const EXPECTED: &'static str = "a name: up to 64 letters, digits, '.', '_' and '-'";

    fn read(text: &str) -> Option<String> {
        names::is_namespace(text).then(|| text.to_owned())
    }
}

/// A policy a live cache can have.
#[derive(Debug)]
pub(super) struct Policy;

impl Scalar for Policy {
    type Is = String;
    const EXPECTED: &'static str =
        "a policy for live traffic: \"learned\", \"lru\", \"s3fifo:small=0.2\" or another that `larder policies` lists";

    fn read(text: &str) -> Option<String> {
        let spec: PolicySpec = text.parse().ok()?;
        (!spec.eviction().needs_oracle).then(|| text.to_owned())
    }
}

/// A policy to measure against, if any.
#[derive(Debug)]
pub(super) struct MaybePolicy;

impl Scalar for MaybePolicy {
    type Is = Against;
    const EXPECTED: &'static str = "\"auto\", \"none\", or a policy for live traffic, such as \"wtinylfu\" or another that `larder policies` lists";

    fn read(text: &str) -> Option<Against> {
        match text {
            "auto" => Some(Against::Auto),
            "none" => Some(Against::Nothing),
            _ => Policy::read(text).map(Against::Policy),
        }
    }
}

/// Whether a policy is on from the start.
#[derive(Debug)]
pub(super) struct Start;

impl Scalar for Start {
    type Is = bool;
    const EXPECTED: &'static str = "\"on\" or \"ramped\"";

    fn read(text: &str) -> Option<bool> {
        match text {
            "on" => Some(true),
            "ramped" => Some(false),
            _ => None,
        }
    }
}

impl Scalar for Consistency {
    type Is = Self;
    const EXPECTED: &'static str = "\"eventual\", \"read-your-writes\" or \"monotonic-reads\"";

    fn read(text: &str) -> Option<Self> {
        match text {
            "eventual" => Some(Self::Eventual),
            "read-your-writes" => Some(Self::ReadYourWrites),
            "monotonic-reads" => Some(Self::MonotonicReads),
            _ => None,
        }
    }
}

impl Scalar for Refresh {
    type Is = Self;
    const EXPECTED: &'static str = "\"at-end\", \"ahead:SHARE\" with a share of the lifetime above 0 and up to 1, or \"early:BETA\" with a number above 0";

    fn read(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| *number > 0.0 && number.is_finite());
        match text.split_once(':') {
            None => (text == "at-end").then_some(Self::AtEnd),
            Some(("ahead", share)) => number(share).filter(|share| *share <= 1.0).map(Self::Ahead),
            Some(("early", beta)) => number(beta).map(Self::Early),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        assert_eq!(Room::read("10000"), Some(Some(Capacity::objects(10_000))));
        assert_eq!(Room::read("64MiB"), Some(Some(Capacity::bytes(64 << 20))));
        assert_eq!((Bytes::read("4 KiB"), Bytes::read("77")), (Some(4096), Some(77)));
        assert_eq!((Objective::read("1%"), Objective::read("never")), (Some(Some(0.01)), Some(None)));
        assert_eq!(MaybeTime::read("none"), Some(None));
        assert_eq!(Refresh::read("ahead:0.8"), Some(Refresh::Ahead(0.8)));
        assert_eq!(Refresh::read("early:1"), Some(Refresh::Early(1.0)));
        assert_eq!(MaybePrice::read("never"), Some(f64::INFINITY));
        assert_eq!((Segments::read("8"), Segments::read("auto")), (Some(Some(8)), Some(None)));
    }

    #[test]
    fn what_makes_no_sense_is_not() {
        for text in ["", "0", "-5", "64MB", "99999999TiB", "1.5", "many"] {
            assert_eq!(Room::read(text), None, "{text}");
        }
        for text in ["0", "1", "100%", "-1%", "NaN", "inf", "1 %%", "one"] {
            assert_eq!(Objective::read(text), None, "{text}");
        }
        for text in ["", "300", "5 parsecs", "-1s"] {
            assert_eq!(Time::read(text), None, "{text}");
        }
        for text in ["ahead", "ahead:0", "ahead:1.5", "early:-1", "early:inf", "later:1"] {
            assert_eq!(Refresh::read(text), None, "{text}");
        }
        assert_eq!((Wait::read("0s"), Wait::read("25h"), Kept::read("11years")), (None, None, None));
        assert_eq!((Share::read("NaN"), Segments::read("6")), (None, None));
        assert_eq!((Policy::read("belady"), Policy::read("lfru"), Name::read("a b")), (None, None, None));
        assert_eq!((Price::read("NaN"), Whole::<u32, 1>::read("0"), Price::read("-1")), (None, None, None));
    }
}
