//! The policies a replay of lifetimes knows, by name.

use std::fmt;
use std::str::FromStr;

use larder_policy::freshness::Expert;

use super::baselines::Rule;
use crate::Error;

/// A policy known by name.
#[derive(Debug)]
pub struct PolicyEntry {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    pub(super) kind: EntryKind,
}

/// How it is run.
#[derive(Clone, Copy, Debug)]
pub(super) enum EntryKind {
    Hedge,
    Expert(Expert),
    Rule(Build),
    Clairvoyant,
}

/// Makes a rule; the lifetimes of classes are found only where they are asked for.
pub(super) type Build = fn(&dyn Fn() -> Vec<f64>) -> Rule;

/// Every policy, in the order help texts show them.
pub static POLICIES: &[PolicyEntry] = &[
    PolicyEntry { name: "learned", about: "the engine: learns from loads and audits alone", kind: EntryKind::Hedge },
    PolicyEntry { name: "static", about: "one lifetime for everything", kind: EntryKind::Rule(|_| Rule::Static) },
    PolicyEntry {
        name: "class-static",
        about: "one lifetime a size band",
        kind: EntryKind::Rule(|classes| Rule::ClassStatic(classes())),
    },
    PolicyEntry { name: "alex", about: "k × the time since the last change", kind: EntryKind::Rule(|_| Rule::Alex) },
    PolicyEntry {
        name: "quantile",
        about: "equal chance of being stale at the end, by an estimated rate",
        kind: EntryKind::Rule(|_| Rule::Quantile),
    },
    PolicyEntry {
        name: "aimd",
        about: "longer by a step after no change, half after one",
        kind: EntryKind::Rule(|_| Rule::Aimd),
    },
    PolicyEntry {
        name: "hot-longer",
        about: "the oftener read, the longer",
        kind: EntryKind::Rule(|_| Rule::HotLonger),
    },
    PolicyEntry {
        name: "known-rate",
        about: "the index rule with each key's true mean rates",
        kind: EntryKind::Rule(|_| Rule::KnownRate),
    },
    PolicyEntry {
        name: "clairvoyant",
        about: "knows every write to come, in a store that holds everything: the bound",
        kind: EntryKind::Clairvoyant,
    },
    PolicyEntry {
        name: "expert-index",
        about: "the engine with the key's own rate alone",
        kind: EntryKind::Expert(Expert::Index),
    },
    PolicyEntry {
        name: "expert-alex",
        about: "the engine with the time since the last change alone",
        kind: EntryKind::Expert(Expert::Alex),
    },
    PolicyEntry {
        name: "expert-class",
        about: "the engine with a lifetime a class",
        kind: EntryKind::Expert(Expert::Class),
    },
    PolicyEntry {
        name: "expert-global",
        about: "the engine with one lifetime",
        kind: EntryKind::Expert(Expert::Global),
    },
];

/// What follows the name of a rule tuned on the first fifth of the reads.
pub(crate) const DEPLOYED: &str = "-deployed";

/// A policy chosen by name: one of [`POLICIES`], and `-deployed` after a rule that is to be tuned on the first fifth of the
/// reads and not in hindsight.
#[derive(Clone, Debug)]
pub struct FreshnessPolicy {
    entry: &'static PolicyEntry,
    is_deployed: bool,
}

/// As [`EntryKind`], with how a rule is tuned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Hedge,
    Expert(Expert),
    Rule { build: Build, is_deployed: bool },
    Clairvoyant,
}

impl Kind {
    /// Whether it is given a stale rate to serve, and what it takes to serve it.
    pub(super) fn has_hindsight(self) -> bool {
        matches!(self, Self::Clairvoyant | Self::Rule { is_deployed: false, .. })
    }
}

impl FreshnessPolicy {
    /// Its entry.
    pub fn entry(&self) -> &'static PolicyEntry {
        self.entry
    }

    pub(super) fn kind(&self) -> Kind {
        match self.entry.kind {
            EntryKind::Hedge => Kind::Hedge,
            EntryKind::Expert(expert) => Kind::Expert(expert),
            EntryKind::Rule(build) => Kind::Rule { build, is_deployed: self.is_deployed },
            EntryKind::Clairvoyant => Kind::Clairvoyant,
        }
    }
}

impl FromStr for FreshnessPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, is_deployed) = match text.strip_suffix(DEPLOYED) {
            Some(name) => (name, true),
            None => (text, false),
        };
        let entry = POLICIES.iter().find(|entry| entry.name == name);
        match entry {
            Some(entry) if !is_deployed || matches!(entry.kind, EntryKind::Rule(_)) => Ok(Self { entry, is_deployed }),
            Some(_) => Err(Error::option(format!("{name} has no knob to be tuned and deployed"))),
            None => {
                let names: Vec<_> = POLICIES.iter().map(|entry| entry.name).collect();
                Err(Error::option(format!("there is no policy '{text}'; there are: {}", names.join(", "))))
            }
        }
    }
}

impl fmt::Display for FreshnessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.entry.name, if self.is_deployed { DEPLOYED } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for entry in POLICIES {
            assert_eq!(entry.name.parse::<FreshnessPolicy>().unwrap().to_string(), entry.name);
        }
        assert_eq!("static-deployed".parse::<FreshnessPolicy>().unwrap().to_string(), "static-deployed");
        for wrong in ["", "ttl", "learned-deployed", "clairvoyant-deployed"] {
            assert!(wrong.parse::<FreshnessPolicy>().is_err(), "{wrong}");
        }
    }
}
