//! The kernel's [`Shard`] over names: which keys are in the Redis as far as we know, and which of them would leave first.

use std::time::Duration;

use larder::remote::{Name, envelope, names};
use larder_policy::eviction::Removal;
use larder_policy::learned::Standing;
use larder_policy::{Access, Capacity, Evicted, Inserted, KeyHash, Lookup, Op, PolicySpec, Shard, Slot, Time, Work};

/// What a key takes in a Redis beside its name and value: entries in two hash tables, the object, headers of strings.
const OVERHEAD: usize = 112;

/// What an entry weighs: about the bytes it takes in the Redis. The limit is steered by what the server says it uses, so only the
/// proportions matter.
pub(super) fn weight(name: &str, bytes: usize) -> u32 {
    u32::try_from(name.len() + bytes + OVERHEAD).unwrap_or(u32::MAX)
}

/// The hash of a name that every process computes alike.
pub(super) fn hash(name: &str) -> KeyHash {
    KeyHash::mix(envelope::fingerprint(name))
}

/// Names of keys have a namespace and a colon; marks and leases are none of our business.
pub(super) fn namespace_of_key(name: &str) -> Option<&str> {
    let namespace = names::namespace(name);
    (name.as_bytes().get(namespace.len()) == Some(&b':')).then_some(namespace)
}

/// What became of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// It is in the directory.
    Stored,
    /// It is worth less than what it would push out.
    Refused,
    /// Another name has its hash: it is none of the directory's business.
    Unknown,
}

/// What becomes of the limit when a key is adopted, whose bytes are taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It grows by them: nobody has to leave for what has been there all the time. For times when many keys are unknown.
    Grows,
    /// It stays: a key may be on its way out, and the limit is set anew soon.
    Stays,
}

/// A name, and when its life in the Redis ends, if that is known.
#[derive(Debug)]
struct Known {
    name: Name,
    end: Option<Time>,
}

pub(super) struct Directory {
    shard: Shard<Known>,
    evicted: Vec<Evicted<Known>>,
    /// Slots a resident may lie in.
    slots: usize,
}

impl Directory {
    /// An empty one that may hold names of so many bytes in the Redis.
    pub(super) fn new(policy: &PolicySpec, limit: u64, seed: u64) -> Self {
        let capacity = Capacity::bytes(limit);
        Self { shard: Shard::new(capacity, policy.build(capacity, seed)), evicted: Vec::new(), slots: 0 }
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.shard.peek(hash(name)).is_some_and(|known| *known.name == *name)
    }

    /// When the life of `name` ends, if it is here and that is known.
    pub(super) fn end(&self, name: &str) -> Option<Time> {
        self.shard.peek(hash(name)).filter(|known| *known.name == *name)?.end
    }

    /// The life of `name` ends then, if it is here.
    pub(super) fn ends(&mut self, name: &str, end: Time) {
        if let Some(known) = self.shard.peek_mut(hash(name)).filter(|known| *known.name == *name) {
            known.end = Some(end);
            self.shard.expire_at(hash(name), end);
        }
    }

    /// The Redis has `name`, which was read. Whether it was unknown until now and is adopted.
    pub(super) fn hit(&mut self, name: &Name, weight: u32, at: Time, room: Room) -> bool {
        if self.holds(name) {
            self.store(name, &access(name, weight, at, Op::Get), None);
            return false;
        }
        self.adopt(name, weight, None, at, room)
    }

    /// The Redis has `name`; whether that was unknown until now.
    pub(super) fn adopt(&mut self, name: &Name, weight: u32, ttl: Option<Duration>, at: Time, room: Room) -> bool {
        if self.holds(name) {
            return false;
        }
        if room == Room::Grows {
            self.resize(self.limit() + u64::from(weight));
        }
        self.store(name, &access(name, weight, at, Op::Get), ttl) == Filled::Stored
    }

    /// The Redis did not have `name`, and is given it.
    pub(super) fn fill(&mut self, name: &Name, weight: u32, ttl: Option<Duration>, at: Time) -> Filled {
        self.store(name, &access(name, weight, at, Op::Get), ttl)
    }

    fn store(&mut self, name: &Name, access: &Access, ttl: Option<Duration>) -> Filled {
        if self.shard.peek(access.key).is_some_and(|known| known.name != *name) {
            return Filled::Unknown;
        }
        let Lookup::Miss(miss) = self.shard.lookup(access) else { return Filled::Stored };
        let mut plan = self.shard.plan(access, miss, ttl);
        plan.ttl = plan.ttl.or(ttl);
        let known = Known { name: name.clone(), end: plan.ttl.map(|ttl| access.at.plus(ttl)) };
        let inserted = self.shard.insert(access, known, &plan, &mut self.evicted);
        self.slots = self.slots.max(self.shard.len());
        match inserted {
            Inserted::Refused(..) => Filled::Refused,
            Inserted::Stored | Inserted::Replaced(_) => Filled::Stored,
        }
    }

    /// The Redis has it no longer, or something else under its name. Whether it was in the directory.
    pub(super) fn gone(&mut self, name: &str) -> bool {
        self.holds(name) && self.shard.remove(hash(name)).is_some()
    }

    /// The Redis turned out not to have `name`: its bytes were free already, or somebody else's, so the limit shrinks by them. Whether it was
    /// in the directory.
    pub(super) fn lost(&mut self, name: &str) -> bool {
        let before = self.used();
        let known = self.gone(name);
        self.resize(self.limit().saturating_sub(before - self.used()).max(1));
        known
    }

    /// So many victims were not there to be taken out: as [`lost`](Self::lost), once it is too late to say who.
    pub(super) fn lost_victims(&mut self, many: u64) {
        let each = self.used() / self.len().max(1) as u64;
        self.resize(self.limit().saturating_sub(many * each).max(1));
    }

    /// Keeps only names that are wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(KeyHash, &Name) -> bool) {
        let unwanted: Vec<_> =
            self.shard.iter().filter(|&(key, known)| !wanted(key, &known.name)).map(|(key, _)| key).collect();
        for key in unwanted {
            self.shard.remove(key);
        }
    }

    pub(super) fn resize(&mut self, limit: u64) {
        if limit != self.limit() {
            self.shard.resize(limit, &mut self.evicted);
        }
    }

    /// Forgets what has expired.
    pub(super) fn tick(&mut self, at: Time) {
        self.shard.tick(at, &mut Work::default());
    }

    /// Those that have to leave the Redis, since the last call. What has expired leaves by itself, if the server agrees.
    pub(super) fn victims(&mut self) -> impl Iterator<Item = Name> {
        self.evicted.drain(..).filter(|evicted| evicted.why == Removal::Evicted).map(|evicted| evicted.value.name)
    }

    /// Up to `many` names at random.
    pub(super) fn sample(&self, many: usize) -> Vec<Name> {
        let tries = (0..4 * many).map(|_| fastrand::usize(..self.slots.max(1)) as u32);
        let keys = tries.filter_map(|slot| self.shard.resident_at(Slot(slot)));
        keys.filter_map(|key| Some(self.shard.peek(key)?.name.clone())).take(many).collect()
    }

    /// Every name, in no order that means anything.
    pub(super) fn names(&self) -> Vec<Name> {
        self.shard.iter().map(|(_, known)| known.name.clone()).collect()
    }

    /// Every key, and when its life ends, if that is known.
    pub(super) fn lives(&self) -> impl Iterator<Item = (KeyHash, Option<Time>)> {
        self.shard.iter().map(|(key, known)| (key, known.end))
    }

    pub(super) fn len(&self) -> usize {
        self.shard.len()
    }

    pub(super) fn used(&self) -> u64 {
        self.shard.used()
    }

    pub(super) fn limit(&self) -> u64 {
        self.shard.capacity().limit
    }

    pub(super) fn standing(&mut self) -> Option<Standing> {
        self.shard.standing()
    }

    /// Bytes the directory takes in this process, beside the names.
    pub(super) fn bytes(&self) -> usize {
        self.shard.metadata_bytes()
    }
}

pub(super) fn access(name: &str, size: u32, at: Time, op: Op) -> Access {
    Access { key: hash(name), at, size, cost: 0, op }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Hit(u8, u16),
        Fill(u8, u16, Option<u8>),
        Gone(u8),
        Resize(u16),
        Tick,
        Keep(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (any::<u8>(), 1..500_u16).prop_map(|(key, size)| Step::Hit(key, size)),
            8 => (any::<u8>(), 1..500_u16, any::<Option<u8>>()).prop_map(|(key, size, ttl)| Step::Fill(key, size, ttl)),
            2 => any::<u8>().prop_map(Step::Gone),
            1 => (200..5_000_u16).prop_map(Step::Resize),
            1 => Just(Step::Tick),
            1 => any::<u8>().prop_map(Step::Keep),
        ];
        proptest::collection::vec(step, 1..300)
    }

    fn name(key: u8) -> Name {
        format!("test:{key}").into()
    }

    proptest! {
        /// Every name that was let in is a resident, a victim handed out once, or was taken out by us; never over the limit.
        #[test]
        fn nothing_is_lost_or_handed_out_twice(
            steps in steps(),
            policy in prop_oneof![Just("learned"), Just("lru"), Just("s3fifo"), Just("lru+tinylfu")],
        ) {
            let mut directory = Directory::new(&policy.parse().unwrap(), 3_000, 1);
            // Who is in the Redis as a client that obeys would leave it, with its end.
            let mut redis: HashMap<Name, Option<Time>> = HashMap::new();
            for (at, step) in steps.iter().enumerate() {
                let now = Time(at as u64 * 1_000_000);
                match *step {
                    Step::Hit(key, size) => {
                        let limit = directory.limit();
                        let room = if size % 2 == 0 { Room::Grows } else { Room::Stays };
                        directory.hit(&name(key), weight(&name(key), size.into()), now, room);
                        // Back from the dead or adopted, it has no end that we know of.
                        let end = redis.get(&name(key)).copied().flatten().filter(|&end| end > now);
                        if directory.holds(&name(key)) {
                            redis.insert(name(key), end);
                        } else if end.is_none() && redis.get(&name(key)).is_some_and(Option::is_some) {
                            // Its time was over, and it is not let in again.
                            redis.remove(&name(key));
                        }
                        prop_assert!(directory.limit() >= limit);
                    }
                    Step::Fill(key, size, ttl) => {
                        let ttl = ttl.map(|ttl| Duration::from_secs(u64::from(ttl) + 1));
                        directory.gone(&name(key));
                        redis.remove(&name(key));
                        if directory.fill(&name(key), weight(&name(key), size.into()), ttl, now) == Filled::Stored {
                            redis.insert(name(key), ttl.map(|ttl| now.plus(ttl)));
                        }
                    }
                    Step::Gone(key) => {
                        let (limit, used) = (directory.limit(), directory.used());
                        prop_assert_eq!(directory.lost(&name(key)), redis.remove(&name(key)).is_some());
                        prop_assert_eq!(limit - directory.limit(), used - directory.used());
                    }
                    Step::Resize(limit) => directory.resize(limit.into()),
                    Step::Tick => {
                        directory.tick(now);
                        redis.retain(|name, end| end.is_none_or(|end| end > now) || directory.holds(name));
                    }
                    Step::Keep(bit) => {
                        let wanted = |key: KeyHash| key.0 >> (bit % 64) & 1 == 0;
                        directory.retain(|key, _| wanted(key));
                        redis.retain(|name, _| wanted(hash(name)));
                    }
                }
                for victim in directory.victims().collect::<Vec<_>>() {
                    prop_assert!(redis.remove(&victim).is_some(), "{victim} left twice, or was never in");
                }
                directory.shard.validate();
                prop_assert!(directory.used() <= directory.limit());
                let names: HashSet<_> = directory.names().into_iter().collect();
                prop_assert_eq!(names, redis.keys().cloned().collect::<HashSet<_>>());
                prop_assert!(directory.sample(8).iter().all(|name| directory.holds(name)));
            }
        }
    }

    #[test]
    fn names_of_one_hash_do_not_answer_for_each_other() {
        let mut directory = Directory::new(&"lru".parse().unwrap(), 10_000, 1);
        assert_eq!(directory.fill(&name(1), 200, None, Time(0)), Filled::Stored);
        assert!(directory.holds("test:1") && !directory.holds("test:2"));
        assert!(!directory.gone("test:2") && directory.gone("test:1") && !directory.gone("test:1"));
    }
}
