//! Keys as the engine sees them.

use super::Engine;
use crate::freshness::flips::Flips;
use crate::freshness::plan::{Handle, Subject};
use crate::freshness::record::{Cached, Changes, NONE, Reads, Record};
use crate::{KeyHash, Time};

/// Among so many the key that is forgotten for a new one is the one unread for longest.
const COMPARED: usize = 5;

impl Engine {
    /// A key with its class: what stands before the first `:` or `/` of its text, its size in powers of two, and a tag of
    /// the user's.
    pub fn subject(&mut self, key: KeyHash, text: &str, size: u32, tag: u64) -> Subject {
        let group = self.groups[0].freshness.place_by_prefix(text).map_or(0, |at| at as u16 + 1);
        let prefix = text.split([':', '/']).next().filter(|prefix| prefix.len() < text.len()).unwrap_or("");
        Subject { key, handle: Handle::of_class(self.classes.named(group, prefix, size, tag)), size }
    }

    /// The same without a tag; a key that it has heard of stays of the class it was of then, and is not asked for its text.
    #[inline]
    pub fn subject_by<T: AsRef<str>>(&mut self, key: KeyHash, size: u32, text: impl FnOnce() -> T) -> Subject {
        match self.find(key) {
            Some(slot) => Subject { key, handle: Handle::new(self.records[slot].class, slot), size },
            None => self.subject(key, text().as_ref(), size, 0),
        }
    }

    #[inline]
    pub(super) fn find(&self, key: KeyHash) -> Option<usize> {
        self.index.find(key.0, |&slot| self.records[slot as usize].key == key).map(|&slot| slot as usize)
    }

    /// The record of a key: where its handle says, or else searched for.
    #[inline]
    pub(super) fn place_of(&self, Subject { key, handle, .. }: Subject) -> Option<usize> {
        let place = handle.place();
        if self.records.get(place).is_some_and(|record| record.key == key) { Some(place) } else { self.find(key) }
    }

    /// The record of a key, made if need be.
    #[inline]
    pub(super) fn slot(&mut self, subject: Subject, now: Time) -> usize {
        self.place_of(subject).unwrap_or_else(|| self.add(subject, now))
    }

    #[cold]
    fn add(&mut self, subject: Subject, now: Time) -> usize {
        let class = &self.classes.all[usize::from(subject.class().0)];
        let gap = if class.gaps > 0.0 { class.log_gap.exp() } else { 3600.0 };
        let record = Record {
            key: subject.key,
            class: subject.class(),
            group: class.group,
            changes: Changes { rate: class.rates.gamma, born: now, last: now, hours: NONE, seen: 0, looks: 0 },
            cached: Cached::default(),
            reads: Reads::new(now, gap),
            flips: Flips::default(),
        };
        let slot = if self.records.len() < self.most_keys {
            // By a quarter: a doubling's spare room would be most of what a key costs.
            if self.records.len() == self.records.capacity() {
                let more = (self.records.len() / 4).max(64).min(self.most_keys - self.records.len());
                self.records.reserve_exact(more);
            }
            self.records.push(record);
            self.records.len() - 1
        } else {
            // Neighbours, as the hand goes round: they are read in one go, where as many drawn at random lie apart.
            let from = if self.hand < self.records.len() { self.hand } else { 0 };
            self.hand = (from + COMPARED).min(self.records.len());
            let slot = (from..self.hand).min_by_key(|&slot| self.records[slot].reads.last).unwrap_or(0);
            let Record { key: gone, class, flips, .. } = self.records[slot];
            let flipping = &mut self.classes.all[usize::from(class.0)].flipping;
            *flipping = flipping.saturating_sub(u32::from(flips.is_marked()));
            if let Ok(entry) = self.index.find_entry(gone.0, |&other| other as usize == slot) {
                entry.remove();
            }
            let hours = self.records[slot].changes.hours;
            self.spare_hours.extend((hours != NONE).then_some(hours));
            self.records[slot] = record;
            slot
        };
        let records = &self.records;
        self.index.insert_unique(subject.key.0, slot as u32, |&slot| records[slot as usize].key.0);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::{Decision, Evidence, Freshness, Loaded};

    #[test]
    fn a_key_stays_of_its_class() {
        let mut engine = Engine::new(Freshness::stale_reads(0.01).unwrap(), 1);
        let key = KeyHash::mix(1);
        let page = engine.subject(key, "page:1", 100, 0);
        let mut asked = 0;
        let mut subject = |engine: &mut Engine, size| {
            engine.subject_by(key, size, || {
                asked += 1;
                "page:1"
            })
        };
        assert_eq!(subject(&mut engine, 100), page);
        assert_ne!(subject(&mut engine, 100_000).class(), page.class(), "nobody read it");
        engine.read(page, Time(1), false);
        assert_eq!(subject(&mut engine, 100).class(), page.class());
        assert_eq!(subject(&mut engine, 100_000).class(), page.class());
        assert_eq!(asked, 2);
    }

    #[test]
    fn a_handle_finds_its_own_key_only() {
        // Only one is remembered, so that each is where the other was.
        let mut engine = Engine::new(Freshness::stale_reads(0.01).unwrap(), 1).with_most_keys(1);
        let load = |engine: &mut Engine, key, now: Time| {
            let subject = engine.subject(KeyHash::mix(key), "", 1, 0);
            let handle = engine.loaded(subject, now, Loaded::new(now, Evidence::Digest(key))).handle;
            Subject { handle, ..subject }
        };
        let one = load(&mut engine, 1, Time(1_000_000));
        assert!(engine.read(one, Time(1_000_001), true).is_served());
        let other = load(&mut engine, 2, Time(1_000_002));
        assert_eq!(one.handle, other.handle);
        engine.changed(one, Time(1_000_003));
        assert!(engine.read(other, Time(1_000_004), true).is_served(), "the other did not change");
        assert_eq!(engine.read(one, Time(1_000_005), true), Decision::Load, "nothing is known of it any more");
    }
}
