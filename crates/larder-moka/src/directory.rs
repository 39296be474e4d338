//! Admission: a kernel shard without values that decides whether a loaded value is worth a place.

use std::sync::atomic::{AtomicU64, Ordering};

use larder::{Clock, Time};
use larder_policy::{Access, Capacity, Evicted, Inserted, KeyHash, Lookup, Miss, PolicySpec, Shard, Weigh, ttl};
use parking_lot::Mutex;

use crate::rings::Rings;

/// Hits are learned from for at most one part in so many of a thread's time.
const THRIFT: u32 = 64;

/// What larder would hold in moka's place.
pub(crate) struct Directory {
    inner: Mutex<Inner>,
    /// Not before this are hits learned from on the way.
    next: AtomicU64,
}

struct Inner {
    shard: Shard<()>,
    gone: Vec<Evicted<()>>,
}

impl Directory {
    pub(crate) fn new(capacity: Capacity, policy: &PolicySpec, seed: u64) -> Self {
        let mut policy = policy.build(capacity, seed);
        policy.ttl = Some(Box::new(ttl::Given));
        let inner = Inner { shard: Shard::new(capacity, policy), gone: Vec::new() };
        Self { inner: Mutex::new(inner), next: AtomicU64::new(0) }
    }

    /// Learns from the hits so far, unless somebody else does, or it would take too much of the readers' time.
    pub(crate) fn relieve(&self, rings: &Rings, clock: &Clock, now: Time) {
        if now.0 < self.next.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut inner) = self.inner.try_lock() else { return };
        inner.learn(rings, now);
        let end = clock.now();
        self.next.store(end.plus(end.since(now) * THRIFT).0, Ordering::Relaxed);
    }

    /// Whether the value of a key that was missed is to be kept. The load that it took makes learning from the hits before it cheap.
    pub(crate) fn admit(&self, rings: &Rings, access: &Access) -> bool {
        let mut inner = self.inner.lock();
        inner.learn(rings, access.at);
        match inner.shard.lookup(access) {
            // moka has let it go, which is no reason to do the same.
            Lookup::Hit(()) => true,
            Lookup::Miss(miss) => inner.enter(access, miss),
        }
    }

    /// The service removed it.
    pub(crate) fn forget(&self, key: KeyHash) {
        self.inner.lock().shard.remove(key);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().shard.metadata_bytes()
    }
}

impl Inner {
    fn learn(&mut self, rings: &Rings, now: Time) {
        rings.take(|key| {
            let access = Access::get(key, now);
            if let Lookup::Miss(miss) = self.shard.lookup(&access)
                && self.shard.capacity().weigh == Weigh::Objects
            {
                // moka has kept what the directory had given up: it is worth asking again. Its weight would have to be known.
                self.enter(&access, miss);
            }
        });
    }

    fn enter(&mut self, access: &Access, miss: Miss) -> bool {
        let plan = self.shard.plan(access, miss, None);
        let inserted = self.shard.insert(access, (), &plan, &mut self.gone);
        self.gone.clear();
        !matches!(inserted, Inserted::Refused(..))
    }
}
