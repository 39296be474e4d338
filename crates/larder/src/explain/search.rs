//! The store looked through for people: off the path of reads, one segment's lock at a time.

use std::time::Duration;

use larder_policy::{Access, KeyHash, Op, Time};

use super::{Explained, Hot, Lifetime, Logged, RunnerUp, Score};
use crate::Key;
use crate::decisions::{Label, Note};
use crate::entry::HALF_LIFE;
use crate::store::Store;

impl<K: Key + Clone, V: Clone> Store<K, V> {
    /// The key of this text or label, if memory or the log of decisions knows it. A text that neither knows is a key too where texts are what
    /// is hashed.
    pub(super) fn find(&self, key: &str) -> Option<KeyHash> {
        let by_text = self.hasher.hash_text(key);
        let is_held = |hash| self.segment(hash).kernel.peek(hash).is_some_and(|entry| entry.key.text() == key);
        if is_held(by_text) {
            return Some(by_text);
        }
        let label: Option<Label> = key.parse().ok();
        let (mut hashes_texts, mut found) = (None, None);
        for segment in self.lock_all() {
            for (hash, entry) in segment.kernel.iter() {
                let own = entry.key.text();
                hashes_texts.get_or_insert_with(|| self.hasher.hash_text(&own) == self.hasher.hash(&entry.key));
                if own == key || label.is_some_and(|label| self.hasher.label(hash) == label) {
                    return Some(hash);
                }
            }
            let mut noted = segment.log.notes().map(|note| note.key);
            found = found.or_else(|| noted.find(|&hash| label.is_some_and(|label| self.hasher.label(hash) == label)));
        }
        found.or_else(|| (hashes_texts == Some(true) && label.is_none()).then_some(by_text))
    }

    pub(super) fn told(&self, hash: KeyHash, policy: &str) -> Explained {
        let label = |hash: KeyHash| self.hasher.label(hash);
        let now = self.clock.now();
        let decisions = self.logged(Some(hash));
        let control = self.control_of(hash);
        let arm = control.as_ref().map(|(_, decides)| if *decides { "control" } else { "policy" });
        let policy = control.as_ref().filter(|(_, decides)| *decides).map_or(policy, |(control, _)| control);
        let mut segment = self.segment(hash);
        let (size, cost) = segment.kernel.peek(hash).map_or((1, 0), |entry| (entry.size, entry.cost));
        let told = segment.kernel.explain(&Access { key: hash, at: now, size, cost, op: Op::Get });
        let entry = segment.kernel.peek(hash);
        let lifetime = entry.map(|entry| {
            let engine = segment.engine.as_ref();
            let known = entry.subject(hash).and_then(|subject| engine?.known(subject, now));
            Lifetime::of(now.since(entry.as_of), entry.lifetime(), known, entry.reads(now))
        });
        let runner_up = told.as_ref().and_then(|told| told.ranked?.runner_up).and_then(|other| {
            let key = label(segment.kernel.resident_at(other.slot)?);
            Some(RunnerUp { key, score: other.score })
        });
        let is_resident = entry.is_some();
        let shared = segment.prior.clone();
        drop(segment);
        let score = told.map(|told| Score::of(&told, runner_up, shared.as_deref()));
        Explained { arm, ..Explained::new(label(hash), is_resident, policy, score, lifetime, decisions) }
    }

    /// The decisions that are remembered, of one key or of all that are followed, newest first.
    pub(super) fn logged(&self, of: Option<KeyHash>) -> Vec<Logged> {
        let label = |hash: KeyHash| self.hasher.label(hash);
        let mut logged = Vec::new();
        for segment in self.lock_all() {
            let notes = segment.log.notes().filter(|note| of.is_none_or(|key| key == note.key));
            logged.extend(notes.map(|&Note { at, key, what, other, seconds }| Logged {
                at: at.0 / 1000,
                key: label(key),
                what,
                other: other.map(label),
                seconds,
            }));
        }
        // Stable: of one moment's decisions the later come first.
        logged.reverse();
        logged.sort_by_key(|logged| std::cmp::Reverse(logged.at));
        logged
    }

    /// The residents that are read most, at most so many, most read first; besides them it holds those of one segment at most.
    pub(super) fn hot(&self, built_at: Time, most: usize) -> Vec<Hot> {
        let now = self.clock.now();
        // Rates fade by half in an hour; a young cache has seen less of it.
        let age = now.since(built_at).max(Duration::from_secs(1));
        let seen = 1.0 - (-age.as_secs_f32() / HALF_LIFE.as_secs_f32()).exp2();
        let (mut hottest, mut least) = (Vec::new(), 0.0);
        for segment in self.lock_all() {
            let warm = segment.kernel.iter().map(|(hash, entry)| (hash, entry, entry.reads(now) / seen));
            hottest.extend(warm.filter(|(_, _, reads)| *reads >= least).map(|(hash, entry, reads)| Hot {
                key: self.hasher.label(hash),
                reads,
                lifetime: entry.lifetime().as_secs_f64(),
                age: now.since(entry.as_of).as_secs_f64(),
                size: entry.size,
            }));
            drop(segment);
            hottest.sort_by(|one, other| other.reads.total_cmp(&one.reads).then(one.key.cmp(&other.key)));
            hottest.truncate(most);
            // Who is read less has no place any more.
            least = hottest.last().filter(|_| hottest.len() == most).map_or(0.0, |last| last.reads);
        }
        hottest
    }
}
