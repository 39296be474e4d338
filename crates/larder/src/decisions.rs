//! The last decisions about keys: who came in, who left, and why. A bounded ring beside each segment, written to at misses only.

use std::collections::VecDeque;
use std::fmt;

use larder_policy::{KeyHash, Time};

/// Decisions a segment remembers.
const MOST: usize = 256;
/// In a segment with more entries than this, one key in [`SAMPLED`] is followed, so that the ring spans more than a moment.
const FEW: u64 = 4096;
const SAMPLED: u64 = 8;

/// A key where people see it: a hash with a secret of the process, so that nobody can tell the key from it, or try keys out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(pub(crate) u64);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for Label {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16 && !text.starts_with('+'));
        let bad = || crate::Error::new(crate::ErrorKind::BadKey, "a key's label is 16 hexadecimal digits");
        number.map(Self).ok_or_else(bad)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was decided about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Decided {
    /// Its value was kept: there was room, or somebody left for it.
    Admitted,
    /// Its value was not kept: all candidates to leave are worth more.
    Refused,
    /// Its value was not kept: it weighs more than a segment's share of the capacity.
    TooHeavy,
    /// It left for somebody worth more.
    Evicted,
    /// It left at the end of its life.
    Expired,
    /// It was served, and is loaded anew ahead of its end.
    Renewed,
    /// It was served, and is loaded anew to see whether what was served was stale.
    Audited,
    /// It was too old to be served, and is loaded anew.
    Outdated,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) at: Time,
    pub(crate) key: KeyHash,
    pub(crate) what: Decided,
    /// Of who was admitted, who left for it; of who left, for whom.
    pub(crate) other: Option<KeyHash>,
    /// Seconds: the lifetime of what was admitted, the age of what left or is loaded anew.
    pub(crate) seconds: f32,
}

/// The last [`MOST`] decisions about the keys that are followed.
#[derive(Debug, Default)]
pub(crate) struct Log {
    notes: VecDeque<Note>,
    follows_all: bool,
}

impl Log {
    /// Of a segment that holds about so many entries.
    pub(crate) fn new(entries: u64) -> Self {
        Self { notes: VecDeque::new(), follows_all: entries <= FEW }
    }

    /// Whether the key is one of those followed; each key always is or never.
    #[inline]
    pub(crate) fn follows(&self, key: KeyHash) -> bool {
        // The kernel's index and the choice of the segment use other bits.
        self.follows_all || (key.0 >> 20).is_multiple_of(SAMPLED)
    }

    pub(crate) fn note(&mut self, note: Note) {
        if !self.follows(note.key) {
            return;
        }
        if self.notes.len() == MOST {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }

    pub(crate) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.notes.capacity() * size_of::<Note>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_follows_whole_keys() {
        let note = |at: u64| Note {
            at: Time(at),
            key: KeyHash::mix(at % 400),
            what: Decided::Admitted,
            other: None,
            seconds: 1.0,
        };
        let (mut all, mut some) = (Log::new(10), Log::new(1 << 20));
        (0..20_000).for_each(|at| {
            all.note(note(at));
            some.note(note(at));
        });
        assert_eq!((all.notes().count(), some.notes().count()), (MOST, MOST));
        assert_eq!(all.notes().last().map(|note| note.at), Some(Time(19_999)));
        let keys: std::collections::HashSet<_> = some.notes().map(|note| note.key).collect();
        assert!((20..100).contains(&keys.len()), "an eighth of 400: {}", keys.len());
        assert!(all.bytes() <= 2 * MOST * size_of::<Note>());
    }

    #[test]
    fn labels_are_read_as_they_are_written() {
        for label in [Label(0), Label(u64::MAX), Label(0x12ab)] {
            assert_eq!(label.to_string().parse::<Label>().unwrap(), label);
        }
        for bad in ["", "12ab", "zz00000000000000", "+000000000000001", "00000000000000001"] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }
}
