//! When tags and namespaces were invalidated, as far as this process knows: a value loaded before counts no more.
//!
//! A mark is kept in the store under a name of its own and read once; announcements keep what was read true. So an invalidation
//! by tag costs one write, however many keys carry the tag.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use ahash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::remote::{Invalidation, Name};

/// How many are known at most; beyond, all are read anew.
const MOST: usize = 10_000;

pub(super) struct Marks {
    known: Mutex<HashMap<Name, Mark>>,
    /// Raised by every announcement: what was read before it may be outdated.
    epoch: AtomicU64,
    /// How long a mark counts without being read anew.
    trust: Duration,
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

    /// When it was invalidated (0 for never); `None` if it has to be read.
    pub(super) fn at(&self, name: &Name) -> Option<u64> {
        self.known.lock().get(name).filter(|mark| mark.is_current(self.trust)).map(|mark| mark.at)
    }

    /// What was read, unless an announcement came since `epoch`.
    pub(super) fn learn(&self, epoch: u64, name: &Name, at: u64) {
        let mut known = self.known.lock();
        if self.epoch() == epoch {
            insert(&mut known, name, at);
        }
    }

    /// What this process invalidated itself.
    pub(super) fn set(&self, name: &Name, at: u64) {
        let mut known = self.known.lock();
        self.epoch.fetch_add(1, SeqCst);
        insert(&mut known, name, at);
    }

    /// What another process announced.
    pub(super) fn hear(&self, what: &Invalidation) {
        let mut known = self.known.lock();
        match what {
            Invalidation::Key(_) => return,
            Invalidation::Tag(name) | Invalidation::Clear(name) => {
                known.get_mut(name).into_iter().for_each(Mark::doubt)
            }
            Invalidation::Lost => known.values_mut().for_each(Mark::doubt),
        }
        self.epoch.fetch_add(1, SeqCst);
    }
}

impl Mark {
    fn is_current(&self, trust: Duration) -> bool {
        self.read.is_some_and(|read| read.elapsed() < trust)
    }

    fn doubt(&mut self) {
        self.read = None;
    }
}

fn insert(known: &mut HashMap<Name, Mark>, name: &Name, at: u64) {
    if known.len() >= MOST {
        known.clear();
    }
    let mark = known.entry(name.clone()).or_insert(Mark { at, read: None });
    *mark = Mark { at: at.max(mark.at), read: Some(Instant::now()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_read_before_an_announcement_is_not_learned() {
        let marks = Marks::new(Duration::from_secs(60));
        let name: Name = "users!tag:vip".into();
        let epoch = marks.epoch();
        marks.hear(&Invalidation::Tag(name.clone()));
        marks.learn(epoch, &name, 0);
        assert_eq!(marks.at(&name), None);
        marks.learn(marks.epoch(), &name, 7);
        assert_eq!(marks.at(&name), Some(7));
        marks.hear(&Invalidation::Key("users:1".into()));
        assert_eq!(marks.at(&name), Some(7));
        marks.hear(&Invalidation::Lost);
        assert_eq!(marks.at(&name), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_that_the_server_lost_is_not_forgotten() {
        let marks = Marks::new(Duration::from_secs(1));
        let name: Name = "users!tag:vip".into();
        marks.set(&name, 7);
        tokio::time::advance(Duration::from_secs(1)).await;
        marks.learn(marks.epoch(), &name, 0);
        assert_eq!(marks.at(&name), Some(7));
        marks.hear(&Invalidation::Lost);
        assert_eq!(marks.at(&name), None);
        marks.learn(marks.epoch(), &name, 9);
        assert_eq!(marks.at(&name), Some(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_trusted_for_a_while_and_they_are_bounded() {
        let marks = Marks::new(Duration::from_secs(1));
        for i in 0..MOST + 5 {
            marks.set(&i.to_string().into(), 1);
        }
        assert_eq!(marks.known.lock().len(), 5);
        let last = (MOST + 4).to_string().into();
        assert_eq!(marks.at(&last), Some(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(marks.at(&last), None);
    }
}
