//! What waits to be sent: fills, which may be dropped, and invalidations that failed, which may not.

use ahash::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Error;
use crate::remote::{Envelope, Item, Name, Notice, names};

/// A fill in the queue; it is encoded when its turn comes.
pub(super) struct Queued {
    pub(super) envelope: Envelope,
    pub(super) ttl: std::time::Duration,
}

#[derive(Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    /// There is something to send.
    pub(super) wake: Notify,
    /// There is nothing any more.
    pub(super) idle: Notify,
}

#[derive(Default)]
struct Inner {
    fills: HashMap<Name, Queued>,
    bytes: usize,
    /// Fills taken out and not yet answered.
    under_way: usize,
    pending: HashMap<Box<str>, Space>,
}

/// The invalidations of a namespace that are not done.
#[derive(Default)]
struct Space {
    keys: HashMap<Name, Pending>,
    /// Of tags, and of the whole.
    marks: HashMap<Name, Pending>,
}

struct Pending {
    notice: Notice,
    /// Whether its first attempt is over.
    due: bool,
}

impl Outbox {
    /// Queues a fill, replacing one of the same key. False if there are too many or they are too large.
    pub(super) fn push(&self, name: Name, fill: Queued, most: usize, most_bytes: usize) -> bool {
        let mut inner = self.inner.lock();
        let old = inner.fills.get(&name).map(|old| old.envelope.payload.len());
        let bytes = inner.bytes - old.unwrap_or(0) + fill.envelope.payload.len();
        if bytes > most_bytes || old.is_none() && inner.fills.len() >= most {
            return false;
        }
        inner.bytes = bytes;
        inner.fills.insert(name, fill);
        self.wake.notify_one();
        true
    }

    /// Takes out up to `most` fills of `most_bytes` of values together, or one that has more. [`settle`](Self::settle) must follow.
    pub(super) fn take(&self, most: usize, most_bytes: usize) -> Vec<(Name, Queued)> {
        let mut inner = self.inner.lock();
        let mut bytes = 0;
        let fits = |fill: &Queued| {
            let is_first = bytes == 0;
            bytes += fill.envelope.payload.len().max(1);
            is_first || bytes <= most_bytes
        };
        let fills = inner.fills.iter().take(most);
        let names: Vec<_> = fills.scan(fits, |fits, (name, fill)| fits(fill).then(|| name.clone())).collect();
        let batch: Vec<_> = names.into_iter().filter_map(|name| inner.fills.remove_entry(&name)).collect();
        inner.bytes -= batch.iter().map(|(_, fill)| fill.envelope.payload.len()).sum::<usize>();
        inner.under_way += batch.len();
        batch
    }

    /// So many that were taken out are answered or dropped.
    pub(super) fn settle(&self, many: usize) {
        self.inner.lock().under_way -= many;
    }

    /// Remembers invalidations before they are sent.
    pub(super) fn begin(&self, notices: &[Notice]) {
        let mut inner = self.inner.lock();
        for notice in notices {
            let name = &notice.instead.name;
            if let Some(fill) = inner.fills.remove(name) {
                inner.bytes -= fill.envelope.payload.len();
            }
            inner.put(Pending { notice: notice.clone(), due: false });
        }
    }

    /// They are done, unless a later one took the place.
    pub(super) fn done(&self, notices: &[Notice]) {
        let mut inner = self.inner.lock();
        for notice in notices {
            if inner.find(notice).is_some() {
                inner.remove(&notice.instead.name);
            }
        }
    }

    /// Their first attempt is over, and they are not done. How many are due now.
    pub(super) fn put_off(&self, notices: &[Notice]) -> usize {
        let mut inner = self.inner.lock();
        for notice in notices {
            if let Some(pending) = inner.find(notice) {
                pending.due = true;
            }
        }
        self.wake.notify_one();
        inner.due().count()
    }

    /// Those that are due, for another attempt, each as `again` makes it.
    pub(super) fn due(&self, again: impl Fn(&Notice) -> Notice) -> Vec<Notice> {
        let mut inner = self.inner.lock();
        let due = inner.due().map(|pending| {
            pending.notice = Notice { is_again: true, ..again(&pending.notice) };
            pending.notice.clone()
        });
        due.collect()
    }

    /// Puts what `clear` makes of their namespaces in the place of all that are due.
    pub(super) fn widen(&self, clear: impl Fn(Name) -> Result<Notice, Error>) -> Result<Vec<Notice>, Error> {
        let mut inner = self.inner.lock();
        let mut spaces: Vec<_> =
            inner.due().map(|pending| names::namespace(&pending.notice.instead.name).to_owned()).collect();
        spaces.sort_unstable();
        spaces.dedup();
        let wide = spaces.iter().map(|space| clear(names::all(space))).collect::<Result<Vec<_>, _>>()?;
        inner.pending.retain(|_, space| {
            space.keys.retain(|_, pending| !pending.due);
            space.marks.retain(|_, pending| !pending.due);
            !space.is_empty()
        });
        for notice in &wide {
            inner.put(Pending { notice: notice.clone(), due: true });
        }
        self.wake.notify_one();
        Ok(wide)
    }

    /// Whether an invalidation that is not done yet may concern the key.
    pub(super) fn covers(&self, name: &Name) -> bool {
        let inner = self.inner.lock();
        let space = inner.pending.get(names::namespace(name));
        space.is_some_and(|space| !space.marks.is_empty() || space.keys.contains_key(name))
    }

    /// Fills, their bytes, and invalidations that wait.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let inner = self.inner.lock();
        let pending = inner.pending.values().map(|space| space.keys.len() + space.marks.len()).sum();
        (inner.fills.len() + inner.under_way, inner.bytes, pending)
    }

    pub(super) fn is_idle(&self) -> bool {
        let (fills, _, pending) = self.sizes();
        fills == 0 && pending == 0
    }
}

impl Inner {
    fn put(&mut self, pending: Pending) {
        let name = pending.notice.instead.name.clone();
        self.pending.entry(names::namespace(&name).into()).or_default().of(&name).insert(name, pending);
    }

    /// The very same invalidation, if it waits: each has a fence of its own.
    fn find(&mut self, notice: &Notice) -> Option<&mut Pending> {
        let Item { name, bytes, .. } = &notice.instead;
        let pending = self.pending.get_mut(names::namespace(name))?.of(name).get_mut(name)?;
        (pending.notice.instead.bytes == *bytes).then_some(pending)
    }

    fn remove(&mut self, name: &Name) {
        let of = names::namespace(name);
        if let Some(space) = self.pending.get_mut(of) {
            space.of(name).remove(name);
            if space.is_empty() {
                self.pending.remove(of);
            }
        }
    }

    fn due(&mut self) -> impl Iterator<Item = &mut Pending> {
        let all = self.pending.values_mut().flat_map(|space| space.keys.values_mut().chain(space.marks.values_mut()));
        all.filter(|pending| pending.due)
    }
}

impl Space {
    fn of(&mut self, name: &Name) -> &mut HashMap<Name, Pending> {
        if names::is_mark(name) { &mut self.marks } else { &mut self.keys }
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.marks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::remote::envelope::{Fence, Form};
    use crate::remote::{Invalidation, Kind};

    fn fill(size: usize) -> Queued {
        let mut envelope = Envelope::invalidated(0, Fence(0));
        envelope.kind = Kind::Value;
        envelope.payload = vec![0; size].into();
        Queued { envelope, ttl: Duration::from_secs(1) }
    }

    fn notice(what: Invalidation, fence: u64) -> Notice {
        let (Invalidation::Key(name) | Invalidation::Tag(name) | Invalidation::Clear(name)) = &what else { panic!() };
        let bytes = Envelope::invalidated(1, Fence(fence)).encode(name, &Form::default()).unwrap();
        let instead = Item { name: name.clone(), bytes, ttl: Duration::from_secs(1) };
        Notice::new(what, instead)
    }

    #[test]
    fn the_queue_is_bounded_in_number_and_bytes() {
        let outbox = Outbox::default();
        assert!(outbox.push("a:1".into(), fill(60), 2, 100));
        assert!(!outbox.push("a:2".into(), fill(60), 2, 100));
        assert!(outbox.push("a:1".into(), fill(50), 2, 100), "it takes the place of the older one");
        assert!(outbox.push("a:2".into(), fill(50), 2, 100));
        assert!(!outbox.push("a:3".into(), fill(0), 2, 100));
        assert_eq!(outbox.sizes(), (2, 100, 0));
        assert_eq!(outbox.take(10, 100).len(), 2);
        assert_eq!(outbox.sizes(), (2, 0, 0));
        outbox.settle(2);
        assert!(outbox.is_idle());
        for at in 0..4 {
            assert!(outbox.push(format!("a:{at}").into(), fill(60), 10, 1000));
        }
        let taken = [150, 10, 1000].map(|most_bytes| outbox.take(10, most_bytes).len());
        assert_eq!(taken, [2, 1, 1], "as many as have so many bytes together, and one at least");
    }

    #[test]
    fn an_invalidation_is_remembered_until_it_is_done() {
        let outbox = Outbox::default();
        let key: Name = "a:1".into();
        outbox.push(key.clone(), fill(1), 10, 100);
        let (first, second) = (notice(Invalidation::Key(key.clone()), 1), notice(Invalidation::Key(key.clone()), 2));
        outbox.begin(std::slice::from_ref(&first));
        assert_eq!(outbox.sizes(), (0, 0, 1), "what was loaded before is not sent");
        outbox.begin(std::slice::from_ref(&second));
        outbox.done(&[first]);
        assert!(outbox.covers(&key) && !outbox.covers(&"a:2".into()) && outbox.due(Notice::clone).is_empty());
        outbox.put_off(std::slice::from_ref(&second));
        assert_eq!(outbox.due(Notice::clone).len(), 1);
        outbox.done(&[second]);
        assert!(!outbox.covers(&key) && outbox.is_idle());
    }

    #[test]
    fn a_tag_covers_its_namespace_and_many_widen_to_namespaces() {
        let outbox = Outbox::default();
        let notices = [notice(Invalidation::Tag(names::tag("a", "t")), 1), notice(Invalidation::Key("b:1".into()), 2)];
        outbox.begin(&notices);
        outbox.begin(&[notice(Invalidation::Key("c:1".into()), 4)]);
        assert!(outbox.covers(&"a:9".into()) && !outbox.covers(&"b:9".into()) && !outbox.covers(&"ab:9".into()));
        assert_eq!(outbox.put_off(&notices), 2);
        let wide = outbox.widen(|name| Ok(notice(Invalidation::Clear(name), 3))).unwrap();
        let wide: Vec<_> = wide.iter().map(|notice| &*notice.instead.name).collect();
        assert_eq!(wide, ["a!all", "b!all"]);
        assert!(outbox.covers(&"b:9".into()) && outbox.due(Notice::clone).len() == 2);
        assert!(outbox.covers(&"c:1".into()) && !outbox.covers(&"c:2".into()), "what is under way stays what it is");
    }
}
