//! When tags and namespaces were invalidated, as far as this process knows: a value loaded before counts no more.
//!
//! A mark is kept in the store under a name of its own and read once; announcements keep what was read true. So an invalidation
//! by tag costs one write, however many keys carry the tag.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use ahash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::remote::{Invalidation, names};

/// How many are known at most; beyond, all are read anew.
const MOST: usize = 10_000;

pub(super) struct Marks {
    known: Mutex<Known>,
    /// Raised by every announcement: what was read before it may be outdated.
    epoch: AtomicU64,
    /// How long a mark counts without being read anew.
    trust: Duration,
}

/// By namespace and tag, so that a read need not make a mark's name to find it.
#[derive(Default)]
struct Known {
    spaces: HashMap<Box<str>, Space>,
    many: usize,
}

#[derive(Default)]
struct Space {
    all: Option<Mark>,
    tags: HashMap<Box<str>, Mark>,
}

struct Mark {
    /// µs since the epoch; 0 for never. It never goes back: a server that is full may have evicted what it was read from.
    at: u64,
    /// None if it is to be read before it counts.
    read: Option<Instant>,
}

impl Marks {
    pub(super) fn new(trust: Duration) -> Self {
        Self { known: Mutex::default(), epoch: AtomicU64::new(0), trust }
    }

    /// To be taken before a mark is read from the store.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// When a tag, or the whole namespace, was invalidated (0 for never); `None` if it has to be read.
    pub(super) fn at(&self, space: &str, tag: Option<&str>, now: Instant) -> Option<u64> {
        self.known.lock().find(space, tag).filter(|mark| mark.is_current(now, self.trust)).map(|mark| mark.at)
    }

    /// What was read, unless an announcement came since `epoch`.
    pub(super) fn learn(&self, epoch: u64, space: &str, tag: Option<&str>, at: u64) {
        let mut known = self.known.lock();
        if self.epoch() == epoch {
            known.insert(space, tag, at);
        }
    }

    /// What this process invalidated itself: the mark of this name.
    pub(super) fn set(&self, mark: &str, at: u64) {
        let mut known = self.known.lock();
        self.epoch.fetch_add(1, SeqCst);
        let (space, tag) = names::marked(mark);
        known.insert(space, tag, at);
    }

    /// What another process announced.
    pub(super) fn hear(&self, what: &Invalidation) {
        let mut known = self.known.lock();
        match what {
            Invalidation::Key(_) => return,
            Invalidation::Tag(name) | Invalidation::Clear(name) => {
                let (space, tag) = names::marked(name);
                known.find_mut(space, tag).into_iter().for_each(Mark::doubt);
            }
            Invalidation::Lost => known.spaces.values_mut().flat_map(Space::marks).for_each(Mark::doubt),
        }
        self.epoch.fetch_add(1, SeqCst);
    }
}

impl Known {
    fn find(&self, space: &str, tag: Option<&str>) -> Option<&Mark> {
        let space = self.spaces.get(space)?;
        tag.map_or(space.all.as_ref(), |tag| space.tags.get(tag))
    }

    fn find_mut(&mut self, space: &str, tag: Option<&str>) -> Option<&mut Mark> {
        let space = self.spaces.get_mut(space)?;
        match tag {
            Some(tag) => space.tags.get_mut(tag),
            None => space.all.as_mut(),
        }
    }

    fn insert(&mut self, space: &str, tag: Option<&str>, at: u64) {
        let read = Some(Instant::now());
        if let Some(known) = self.find_mut(space, tag) {
            *known = Mark { at: at.max(known.at), read };
            return;
        }
        if self.many >= MOST {
            *self = Self::default();
        }
        self.many += 1;
        let space = self.spaces.entry(space.into()).or_default();
        let mark = Mark { at, read };
        match tag {
            Some(tag) => _ = space.tags.insert(tag.into(), mark),
            None => space.all = Some(mark),
        }
    }
}

impl Space {
    fn marks(&mut self) -> impl Iterator<Item = &mut Mark> {
        self.all.iter_mut().chain(self.tags.values_mut())
    }
}

impl Mark {
    fn is_current(&self, now: Instant, trust: Duration) -> bool {
        self.read.is_some_and(|read| now.saturating_duration_since(read) < trust)
    }

    fn doubt(&mut self) {
        self.read = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Name;

    /// When the mark that `name` is the name of was.
    fn at(marks: &Marks, name: &str) -> Option<u64> {
        let (space, tag) = names::marked(name);
        marks.at(space, tag, Instant::now())
    }

    fn learn(marks: &Marks, epoch: u64, name: &str, at: u64) {
        let (space, tag) = names::marked(name);
        marks.learn(epoch, space, tag, at);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_before_an_announcement_is_not_learned() {
        let marks = Marks::new(Duration::from_secs(60));
        let name: Name = "users!tag:vip".into();
        let epoch = marks.epoch();
        marks.hear(&Invalidation::Tag(name.clone()));
        learn(&marks, epoch, &name, 0);
        assert_eq!(at(&marks, &name), None);
        learn(&marks, marks.epoch(), &name, 7);
        assert_eq!(at(&marks, &name), Some(7));
        marks.hear(&Invalidation::Key("users:1".into()));
        assert_eq!(at(&marks, &name), Some(7));
        marks.hear(&Invalidation::Lost);
        assert_eq!(at(&marks, &name), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_that_the_server_lost_is_not_forgotten() {
        let marks = Marks::new(Duration::from_secs(1));
        let name: Name = "users!tag:vip".into();
        marks.set(&name, 7);
        tokio::time::advance(Duration::from_secs(1)).await;
        learn(&marks, marks.epoch(), &name, 0);
        assert_eq!(at(&marks, &name), Some(7));
        marks.hear(&Invalidation::Lost);
        assert_eq!(at(&marks, &name), None);
        learn(&marks, marks.epoch(), &name, 9);
        assert_eq!(at(&marks, &name), Some(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_trusted_for_a_while_and_they_are_bounded() {
        let marks = Marks::new(Duration::from_secs(1));
        for i in 0..MOST + 5 {
            marks.set(&names::tag("users", &i.to_string()), 1);
        }
        assert_eq!(marks.known.lock().many, 5);
        let last = names::tag("users", &(MOST + 4).to_string());
        assert_eq!(at(&marks, &last), Some(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(at(&marks, &last), None);
    }
}
