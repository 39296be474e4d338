//! The processes that steer one Redis: each key belongs to one of them, and the others tell that one what they see.
//!
//! ```text
//! CHANNEL!steer       'N' id 8 | bytes in the directory 8 | names in it 8 | flags 1: 1 steers, 2 names a node, 4 knows all its keys
//!                     | in a cluster, of which node 8 | what is served, 8 each: a hash of database and namespace
//!                     each second, and who hears nothing for 3.5 s forgets
//! CHANNEL!steer:ID    { kind 1 | weight 4 | seconds to live 4, 0 unknown | length of the name 2 | name } …
//! ```
//! Integers are little-endian. The owner is found by rendezvous hashing (Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit
//! Rates", 1998), so a process that comes or goes moves only the keys it gets or had. Only who serves a key's namespace owns it: nobody else would look for it.
//! A hello that does not say what is served ('H') is nobody's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use larder::remote::{Name, names};
use larder_policy::{KeyHash, Time};

use super::directory::hash;

/// How long a silent process counts.
const SILENT: Duration = Duration::from_millis(3500);
const HELLO: u8 = b'N';
const HELLO_BYTES: usize = 26;
const STEERS: u8 = 1;
const WITH_NODE: u8 = 2;
const KNOWS_ALL: u8 = 4;
const HEAD: usize = 11;

/// What a process saw of a key it does not own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The Redis had it.
    Hit = b'h',
    /// It did not, and was given it.
    Fill = b'f',
    /// It was written or invalidated: what is kept now is another matter.
    Gone = b'g',
}

/// One message of what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) weight: u32,
    pub(super) ttl: Option<Duration>,
    pub(super) name: Name,
}

impl Event {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        // A name is at most 512 bytes.
        let Ok(length) = u16::try_from(self.name.len()) else { return };
        let seconds = self.ttl.map_or(0, |ttl| u32::try_from(ttl.as_secs().max(1)).unwrap_or(u32::MAX));
        out.push(self.kind as u8);
        out.extend(self.weight.to_le_bytes());
        out.extend(seconds.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(self.name.as_bytes());
    }

    /// The events of a message, up to the first that cannot be read.
    pub(super) fn decode(mut message: &[u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (head, rest) = message.split_at_checked(HEAD)?;
            let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let length = usize::from(u16::from_le_bytes([head[9], head[10]]));
            let (name, rest) = rest.split_at_checked(length).filter(|_| length <= names::MAX_BYTES)?;
            message = rest;
            let kind = match head[0] {
                b'h' => Kind::Hit,
                b'f' => Kind::Fill,
                b'g' => Kind::Gone,
                _ => return None,
            };
            let ttl = Some(number(5)).filter(|&seconds| seconds > 0).map(|seconds| Duration::from_secs(seconds.into()));
            Some(Self { kind, weight: number(1), ttl, name: std::str::from_utf8(name).ok()?.into() })
        })
    }
}

/// What is said each second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) id: u64,
    /// What the sender's directory holds, in bytes.
    pub(super) used: u64,
    /// And how many names.
    pub(super) keys: u64,
    /// Whether it steers, or leaves the server alone.
    pub(super) steers: bool,
    /// Whether what it holds is all that it owns.
    pub(super) knows_all: bool,
    /// Which node of a cluster that is about.
    pub(super) node: Option<u64>,
    /// Which namespaces it serves: [`served`] of each.
    pub(super) serves: BTreeSet<u64>,
}

/// What a namespace of a database is called in a hello.
pub(super) fn served(db: i64, namespace: &str) -> u64 {
    hash(&format!("{db}/{namespace}")).0
}

impl Hello {
    pub(super) fn encode(&self) -> Vec<u8> {
        let flags = [(self.steers, STEERS), (self.node.is_some(), WITH_NODE), (self.knows_all, KNOWS_ALL)];
        let flags = flags.into_iter().map(|(is_set, flag)| u8::from(is_set) * flag).sum();
        let mut out = vec![HELLO];
        [self.id, self.used, self.keys].iter().for_each(|number| out.extend(number.to_le_bytes()));
        out.push(flags);
        self.node.iter().chain(&self.serves).for_each(|number| out.extend(number.to_le_bytes()));
        out
    }

    pub(super) fn decode(message: &[u8]) -> Option<Self> {
        let (head, rest) = message.split_at_checked(HELLO_BYTES)?;
        let (numbers, []) = rest.as_chunks::<8>() else { return None };
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        if head[0] != HELLO || head[25] > STEERS | WITH_NODE | KNOWS_ALL {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let node = if head[25] & WITH_NODE > 0 { Some(numbers.next()?) } else { None };
        let [steers, knows_all] = [STEERS, KNOWS_ALL].map(|flag| head[25] & flag > 0);
        let (id, used, keys) = (number(1)?, number(9)?, number(17)?);
        Some(Self { id, used, keys, steers, knows_all, node, serves: numbers.collect() })
    }
}

/// The others, as far as they were heard of lately.
#[derive(Debug)]
pub(super) struct Peers {
    me: u64,
    others: BTreeMap<u64, (Hello, Time)>,
}

impl Peers {
    pub(super) fn new(me: u64) -> Self {
        Self { me, others: BTreeMap::new() }
    }

    /// Whether that was somebody new, or says that more is served than before.
    pub(super) fn heard(&mut self, hello: Hello, now: Time) -> bool {
        if hello.id == self.me {
            return false;
        }
        let is_known = self.others.get(&hello.id).is_some_and(|(known, _)| known.serves == hello.serves);
        self.others.insert(hello.id, (hello, now));
        !is_known
    }

    /// Forgets who is silent; whether anybody was.
    pub(super) fn forget(&mut self, now: Time) -> bool {
        let before = self.others.len();
        self.others.retain(|_, (_, heard)| now.since(*heard) <= SILENT);
        self.others.len() < before
    }

    /// Whose key it is, of those who serve its namespace: `None` for ours.
    pub(super) fn owner(&self, served: u64, key: KeyHash) -> Option<u64> {
        let score = |id: u64| (KeyHash::mix(id ^ key.0).0, id);
        let serving = self.others.values().filter(|(hello, _)| hello.serves.contains(&served));
        let best = serving.map(|(hello, _)| hello.id).max_by_key(|&id| score(id))?;
        (score(best) > score(self.me)).then_some(best)
    }

    /// How many there are, with us.
    pub(super) fn count(&self) -> u64 {
        self.others.len() as u64 + 1
    }

    /// What the others' directories hold.
    pub(super) fn used(&self) -> u64 {
        self.others.values().fold(0, |used, (hello, _)| used.saturating_add(hello.used))
    }

    /// How many names are in them.
    pub(super) fn keys(&self) -> u64 {
        self.others.values().fold(0, |keys, (hello, _)| keys.saturating_add(hello.keys))
    }

    /// What we may have of `limit` bytes for all, having `used`: as much as everybody may, and what the others leave. Those that serve
    /// different namespaces want different amounts.
    pub(super) fn share(&self, limit: u64, used: u64) -> u64 {
        let (even, all) = (limit / self.count(), used.saturating_add(self.used()));
        let above = self.others.values().filter(|(hello, _)| hello.used > even).count() as u64 + u64::from(used > even);
        let share = match limit.checked_sub(all) {
            Some(free) => used + free / self.count(),
            None => used.saturating_sub((all - limit) / above.max(1)),
        };
        share.max(even)
    }

    /// Whether one of the others leaves the server alone: the room it no longer frees must not be taken from those that do.
    pub(super) fn objects(&self) -> bool {
        self.others.values().any(|(hello, _)| !hello.steers)
    }

    /// Whether none of the others still looks for keys of its own.
    pub(super) fn know_all(&self) -> bool {
        self.others.values().all(|(hello, _)| hello.knows_all)
    }
}

/// The channel of all, and that of one.
pub(crate) fn channels(channel: &str, id: u64) -> [String; 2] {
    [format!("{channel}!steer"), format!("{channel}!steer:{id:016x}")]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(id: u64) -> Hello {
        Hello { id, used: id * 10, keys: id, steers: true, knows_all: true, node: None, serves: [1].into() }
    }

    #[test]
    fn every_key_has_one_owner_and_few_move() {
        let ids = [11, 22, 33, 44];
        let peers = |ids: &[u64], me| {
            let mut peers = Peers::new(me);
            ids.iter().for_each(|&id| _ = peers.heard(hello(id), Time(0)));
            peers
        };
        let all = ids.map(|me| peers(&ids, me));
        let three = peers(&ids[..3], 11);
        let (mut owned, mut moved) = ([0; 4], 0);
        for key in (0..4_000).map(KeyHash::mix) {
            let owners: Vec<_> = (0..4).filter(|&at| all[at].owner(1, key).is_none()).collect();
            let [owner] = owners[..] else { panic!("{key:?} has the owners {owners:?}") };
            owned[owner] += 1;
            assert!((0..4).all(|at| at == owner || all[at].owner(1, key) == Some(ids[owner])));
            moved += u32::from(owner != 3 && three.owner(1, key) != all[0].owner(1, key));
        }
        // Five standard deviations of a binomial(4000, 1/4) are 137.
        assert!(owned.iter().all(|&count: &i32| count.abs_diff(1000) < 137), "{owned:?}");
        assert_eq!(moved, 0, "only the fourth's own keys move when it goes");
    }

    #[test]
    fn who_is_silent_is_forgotten() {
        let mut peers = Peers::new(1);
        assert!(peers.heard(hello(2), Time(0)) && !peers.heard(hello(2), Time(0)) && !peers.heard(hello(1), Time(0)));
        assert!(peers.heard(Hello { steers: false, ..hello(3) }, Time(3_000_000)));
        assert_eq!((peers.count(), peers.used(), peers.keys(), peers.objects()), (3, 50, 5, true));
        assert!(!peers.forget(Time(3_500_000)) && peers.forget(Time(4_000_000)));
        assert_eq!((peers.count(), peers.used()), (2, 30));
    }

    #[test]
    fn only_who_serves_it_owns_a_key() {
        assert!(served(0, "users") != served(1, "users") && served(0, "users") != served(0, "orders"));
        let mut peers = Peers::new(1);
        assert!(peers.heard(Hello { serves: BTreeSet::new(), ..hello(2) }, Time(0)));
        let owned = |peers: &Peers, served| (0..100).filter(|&key| peers.owner(served, KeyHash(key)).is_none()).count();
        assert_eq!((owned(&peers, 1), owned(&peers, 5)), (100, 100));
        assert!(peers.heard(hello(2), Time(1)), "it has met a namespace");
        assert!((1..100).contains(&owned(&peers, 1)) && owned(&peers, 5) == 100);
    }

    #[test]
    fn who_wants_little_leaves_the_rest_and_gets_more_when_it_wants_more() {
        let share = |used: u64, other: u64| {
            let mut peers = Peers::new(1);
            peers.heard(Hello { used: other, ..hello(2) }, Time(0));
            peers.share(1_000, used)
        };
        assert_eq!(Peers::new(1).share(1_000, 2_000), 1_000);
        assert_eq!((share(0, 0), share(500, 500), share(900, 900)), (500, 500, 500));
        // Both fill what they may, the other up to what it wants.
        for (wanted, expected) in [(100, 900), (400, 600), (2_000, 500)] {
            let (mut ours, mut others) = (0_u64, 0_u64);
            for _ in 0..100 {
                (ours, others) = (share(ours, others), share(others, ours).min(wanted));
            }
            assert!(ours.abs_diff(expected) < 10, "{wanted}: {ours} and {others}");
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(
            events in proptest::collection::vec((0..3_u8, any::<u32>(), 0..1_000_000_u64, "[a-z:!é]{0,40}"), 0..20),
            noise in proptest::collection::vec(any::<u8>(), 0..10),
        ) {
            let events: Vec<_> = events
                .into_iter()
                .map(|(kind, weight, ttl, name)| Event {
                    kind: [Kind::Hit, Kind::Fill, Kind::Gone][usize::from(kind)],
                    weight,
                    ttl: (ttl > 0).then(|| Duration::from_secs(ttl)),
                    name: name.into(),
                })
                .collect();
            let mut message = Vec::new();
            events.iter().for_each(|event| event.encode(&mut message));
            message.extend(&noise);
            prop_assert_eq!(&Event::decode(&message).collect::<Vec<_>>(), &events);
            let _ = Event::decode(&noise).count();
        }
    }

    #[test]
    fn a_hello_is_heard_and_noise_is_not() {
        for node in [None, Some(u64::MAX - 8)] {
            let said =
                Hello { steers: node.is_some(), knows_all: node.is_none(), node, serves: (1..4).collect(), ..hello(7) };
            let message = said.encode();
            assert_eq!(Hello::decode(&message), Some(said));
            assert_eq!(Hello::decode(&message[1..]), None);
            assert_eq!(Hello::decode(&message[..message.len() - 1]), None);
        }
        assert_eq!(Hello::decode(&[0; HELLO_BYTES]), None);
        // Of a release that did not say what it serves, in a cluster or not.
        for length in [18, 26] {
            let mut old = vec![1; length];
            old[0] = b'H';
            assert!(Hello::decode(&old).is_none() && Event::decode(&old).count() == 0);
        }
    }
}
