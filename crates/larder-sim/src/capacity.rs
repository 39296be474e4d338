//! Capacities as people write them: `1%`, `64MiB`, `5000`.

use std::fmt;
use std::str::FromStr;

use larder_policy::{Capacity, Weigh};

use crate::{Error, Survey};

/// A share of a trace never resolves to less than this many objects: below it, policies are noise.
pub const LEAST_OBJECTS: u64 = 64;

/// Slots are 32-bit numbers, the last of them reserved.
const MOST_OBJECTS: u64 = u32::MAX as u64 - 1;

/// A capacity, checked but not yet resolved against a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct CapacitySpec {
    text: String,
    amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    /// In percent of the distinct keys or distinct bytes.
    Percent(f64),
    /// A number with a unit of bytes.
    Bytes(u64),
    /// A bare number: objects or bytes, whichever are weighed.
    Number(u64),
}

impl CapacitySpec {
    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it takes a [`Survey`] to resolve.
    pub fn is_share(&self) -> bool {
        matches!(self.amount, Amount::Percent(_))
    }

    /// The capacity for a trace. Shares are rounded to the nearest and are at least 64 objects, or 64 objects of the
    /// mean size.
    ///
    /// # Errors
    /// A share without a survey or of an empty trace, a unit of bytes where objects are weighed, or more objects
    /// than a shard can number.
    pub fn resolve(&self, weigh: Weigh, survey: Option<&Survey>) -> Result<Capacity, Error> {
        let limit = match (self.amount, weigh) {
            (Amount::Percent(percent), _) => {
                let survey = survey.ok_or_else(|| self.wrong("is a share of a trace that was not surveyed"))?;
                if survey.keys == 0 {
                    return Err(self.wrong("is a share of a trace without keys"));
                }
                let (whole, least) = match weigh {
                    Weigh::Objects => (survey.keys, LEAST_OBJECTS),
                    Weigh::Bytes => (survey.bytes, nearest(LEAST_OBJECTS as f64 * survey.mean_size())),
                };
                nearest(whole as f64 * percent / 100.0).max(least)
            }
            (Amount::Bytes(_), Weigh::Objects) => {
                return Err(self.wrong("is in bytes, but objects are weighed; add --weigh bytes or give a number"));
            }
            (Amount::Bytes(limit) | Amount::Number(limit), _) => limit,
        };
        match weigh {
            Weigh::Objects if limit > MOST_OBJECTS => {
                Err(self.wrong(format_args!("is more than the {MOST_OBJECTS} objects a shard can number")))
            }
            Weigh::Objects => Ok(Capacity::objects(limit)),
            Weigh::Bytes => Ok(Capacity::bytes(limit)),
        }
    }

    fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::option(format!("capacity {} {what}", self.text))
    }
}

fn nearest(value: f64) -> u64 {
    // `as` saturates, which is what a share of an absurd number of bytes should do.
    value.round() as u64
}

impl fmt::Display for CapacitySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CapacitySpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |why: &str| Error::option(format!("capacity '{text}' {why}"));
        let amount = if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| wrong("is not a number of percent, such as 0.1%"))?;
            if !(percent > 0.0 && percent <= 100.0) {
                return Err(wrong("must be above 0% and at most 100%"));
            }
            Amount::Percent(percent)
        } else {
            let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
            let (number, unit) = text.split_at(end);
            let number = number.replace('_', "");
            let form = "is none of: a share (1%), a number (5000), a size (64MiB, 5GB)";
            let unit = unit.trim();
            if unit.is_empty() {
                Amount::Number(number.parse().map_err(|_| wrong(form))?)
            } else {
                let number: f64 = number.parse().map_err(|_| wrong(form))?;
                let unit = unit_bytes(unit).ok_or_else(|| wrong(form))?;
                Amount::Bytes(nearest(number * unit as f64))
            }
        };
        if matches!(amount, Amount::Bytes(0) | Amount::Number(0)) {
            return Err(wrong("must be above 0"));
        }
        Ok(Self { text: text.to_owned(), amount })
    }
}

/// Bytes in a unit: powers of 1024 with an `i`, of 1000 without.
fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let prefix = unit.strip_suffix('b')?;
    let (letter, base) = match prefix.strip_suffix('i') {
        Some(letter) => (letter, 1024u64),
        None => (prefix, 1000),
    };
    let power = match letter {
        "" if base == 1000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(base.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, weigh: Weigh, keys: u64, bytes: u64) -> Option<u64> {
        let survey = Survey { keys, bytes, ..Survey::default() };
        text.parse::<CapacitySpec>().ok()?.resolve(weigh, Some(&survey)).ok().map(|capacity| capacity.limit)
    }

    #[test]
    fn reads_what_people_write() {
        use Weigh::{Bytes, Objects};
        for (text, weigh, limit) in [
            ("1%", Objects, Some(1000)),
            ("0.1%", Objects, Some(100)),
            ("0.01%", Objects, Some(64)),
            ("12.3456%", Objects, Some(12346)),
            ("100%", Objects, Some(100_000)),
            ("5000", Objects, Some(5000)),
            ("1_000", Objects, Some(1000)),
            ("1", Objects, Some(1)),
            ("900000", Objects, Some(900_000)),
            ("64MiB", Objects, None),
            ("4294967295", Objects, None),
            ("64MiB", Bytes, Some(64 << 20)),
            ("1.5 GB", Bytes, Some(1_500_000_000)),
            ("5gb", Bytes, Some(5_000_000_000)),
            ("512B", Bytes, Some(512)),
            ("5000", Bytes, Some(5000)),
            ("1%", Bytes, Some(500_000)),
            ("0.001%", Bytes, Some(64 * 500)),
        ] {
            assert_eq!(resolved(text, weigh, 100_000, 50_000_000), limit, "{text} of {weigh:?}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "%", "0%", "-1%", "101%", "nan%", "0", "0MiB", "-5", "1.5", "5XB", "iB", "lots", "1e3", "5i"] {
            let error = text.parse::<CapacitySpec>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::BadOption, "{text}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_share_needs_a_survey_with_keys() {
        let share: CapacitySpec = "1%".parse().unwrap();
        assert!(share.resolve(Weigh::Objects, None).is_err());
        assert!(share.resolve(Weigh::Objects, Some(&Survey::default())).is_err());
    }
}
