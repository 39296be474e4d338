//! What a shard does around its policy, by hand.

use super::*;
use crate::PolicySpec;
use crate::testing::{Cache, key};

const SECOND: u64 = 1_000_000;

fn shard(policy: &str, capacity: Capacity) -> Shard<char> {
    let mut policy = policy.parse::<PolicySpec>().unwrap().build(capacity, 1);
    policy.ttl = Some(Box::new(crate::ttl::Given));
    Shard::new(capacity, policy)
}

fn access(letter: char, at: u64, size: u32) -> Access {
    Access { size, ..Access::get(key(letter), Time(at)) }
}

/// Writes `value` under the key `letter`; returns what became of it and who left.
fn set(
    shard: &mut Shard<char>,
    access: &Access,
    value: char,
    ttl: Option<Duration>,
) -> (Inserted<char>, Vec<Evicted<char>>) {
    let miss = match shard.lookup(access) {
        Lookup::Hit(_) => Miss { reuse: Reuse::UNKNOWN, expired: false },
        Lookup::Miss(miss) => miss,
    };
    let plan = shard.plan(access, miss, ttl);
    let mut evicted = Vec::new();
    let inserted = shard.insert(access, value, &plan, &mut evicted);
    shard.validate();
    (inserted, evicted)
}

fn letters(evicted: &[Evicted<char>]) -> String {
    evicted.iter().map(|gone| gone.value).collect()
}

#[test]
fn the_expired_are_not_served_and_leave_by_lookup_or_tick() {
    let mut shard = shard("lru", Capacity::objects(10));
    for (letter, seconds) in [('a', 10), ('b', 20), ('c', 1000)] {
        set(&mut shard, &access(letter, 0, 1), letter, Some(Duration::from_secs(seconds)));
    }
    assert!(shard.lookup(&access('a', 10 * SECOND - 1, 1)).is_hit());
    let found = shard.lookup(&access('a', 10 * SECOND, 1));
    assert!(matches!(found, Lookup::Miss(Miss { expired: true, .. })), "{found:?}");
    assert_eq!((shard.len(), shard.used()), (2, 2));
    let mut work = Work::default();
    shard.tick(Time(30 * SECOND), &mut work);
    assert_eq!(letters(&work.expired), "ab", "a left at the lookup and is handed out now");
    assert!(work.expired.iter().all(|gone| gone.why == Removal::Expired));
    shard.validate();
}

#[test]
fn the_end_of_a_life_moves() {
    let mut shard = shard("lru", Capacity::objects(10));
    set(&mut shard, &access('a', 0, 1), 'a', Some(Duration::from_secs(10)));
    set(&mut shard, &access('b', 0, 1), 'b', None);
    assert!(shard.expire_at(key('a'), Time(30 * SECOND)) && shard.expire_at(key('b'), Time(5 * SECOND)));
    assert!(!shard.expire_at(key('c'), Time(5 * SECOND)), "not resident");
    assert!(shard.lookup(&access('a', 20 * SECOND, 1)).is_hit());
    let mut work = Work::default();
    shard.tick(Time(20 * SECOND), &mut work);
    assert_eq!(letters(&work.expired), "b");
    assert!(!shard.lookup(&access('a', 30 * SECOND, 1)).is_hit());
    shard.validate();
}

#[test]
fn extremes_of_time() {
    let mut shard = shard("lru", Capacity::objects(10));
    set(&mut shard, &access('a', 5, 1), 'a', Some(Duration::ZERO));
    assert!(!shard.lookup(&access('a', 5, 1)).is_hit(), "no lifetime is over at once");
    set(&mut shard, &access('b', u64::MAX - 1, 1), 'b', Some(Duration::MAX));
    assert!(shard.lookup(&access('b', 0, 1)).is_hit(), "a clock that goes back");
    assert!(shard.lookup(&access('b', u64::MAX - 1, 1)).is_hit());
    assert!(!shard.lookup(&access('b', u64::MAX, 1)).is_hit(), "the end of time is the end of every lifetime");
    let mut work = Work::default();
    shard.tick(Time(u64::MAX), &mut work);
    shard.tick(Time(0), &mut work);
    assert_eq!(letters(&work.expired), "b", "a was handed out by the insert of b");
    shard.validate();
}

#[test]
fn a_heavier_value_makes_the_others_leave() {
    let mut shard = shard("lru", Capacity::bytes(10));
    for letter in ['a', 'b', 'c'] {
        set(&mut shard, &access(letter, 0, 3), letter, None);
    }
    let (inserted, evicted) = set(&mut shard, &access('a', 1, 7), 'A', None);
    assert_eq!((inserted, letters(&evicted)), (Inserted::Replaced('a'), "b".to_owned()));
    assert_eq!((shard.used(), shard.peek(key('a'))), (10, Some(&'A')));
}

#[test]
fn a_refused_write_takes_the_old_value_with_it() {
    let mut shard = shard("lru", Capacity::bytes(10));
    set(&mut shard, &access('a', 0, 3), 'a', None);
    let (inserted, evicted) = set(&mut shard, &access('a', 1, 11), 'A', None);
    assert_eq!(inserted, Inserted::Refused('A', Refusal::TooHeavy));
    assert_eq!((letters(&evicted), evicted[0].why), ("a".to_owned(), Removal::Removed));
    assert_eq!((shard.used(), shard.peek(key('a'))), (0, None));
}

#[test]
fn a_replacement_takes_the_new_lifetime() {
    let mut shard = shard("lru", Capacity::objects(10));
    set(&mut shard, &access('a', 0, 1), 'a', Some(Duration::from_secs(10)));
    set(&mut shard, &access('a', 0, 1), 'A', None);
    assert!(shard.lookup(&access('a', 1000 * SECOND, 1)).is_hit());
}

#[test]
fn a_plan_older_than_a_resize_evicts_nobody_in_vain() {
    for entry in crate::eviction::REGISTRY {
        let mut shard = shard(entry.name, Capacity::bytes(100));
        let heavy = access('Z', 0, 50);
        let Lookup::Miss(miss) = shard.lookup(&heavy) else { panic!("nothing is resident") };
        let plan = shard.plan(&heavy, miss, None);
        assert_eq!(plan.verdict, Verdict::Store);
        let mut evicted = Vec::new();
        shard.resize(10, &mut evicted);
        set(&mut shard, &access('a', 0, 5), 'a', None);
        let inserted = shard.insert(&heavy, 'Z', &plan, &mut evicted);
        assert_eq!(inserted, Inserted::Refused('Z', Refusal::TooHeavy), "{}", entry.name);
        assert_eq!((letters(&evicted), shard.len()), (String::new(), 1), "{}", entry.name);
    }
}

#[test]
fn lookups_and_inserts_may_interleave() {
    let mut shard = shard("lru", Capacity::objects(10));
    let [a, b] = ['a', 'b'].map(|letter| access(letter, 0, 1));
    let Lookup::Miss(miss) = shard.lookup(&a) else { panic!("nothing is resident") };
    let plan = shard.plan(&a, miss, None);
    assert!(!shard.lookup(&b).is_hit());
    let mut evicted = Vec::new();
    // Two loaders of a, while b was missed last; then b, twice.
    assert_eq!(shard.insert(&a, '1', &plan, &mut evicted), Inserted::Stored);
    assert_eq!(shard.insert(&a, '2', &plan, &mut evicted), Inserted::Replaced('1'));
    assert_eq!(shard.insert(&b, '3', &plan, &mut evicted), Inserted::Stored);
    assert_eq!(shard.insert(&b, '4', &plan, &mut evicted), Inserted::Replaced('3'));
    shard.validate();
}

#[test]
fn a_resize_evicts_what_no_longer_fits_and_hands_out_who_left_before() {
    let mut cache = Cache::objects("lru", 4);
    cache.shard.policy.ttl = Some(Box::new(crate::ttl::Fixed(Duration::from_secs(4))));
    assert_eq!(cache.read("abcd"), "");
    // A second a read: a has expired by the fifth.
    assert!(!cache.shard.lookup(&access('a', 5 * SECOND, 1)).is_hit());
    let mut evicted = Vec::new();
    cache.shard.resize(1, &mut evicted);
    assert_eq!(letters(&evicted), "abc");
    cache.shard.resize(0, &mut evicted);
    assert_eq!((letters(&evicted), cache.shard.used()), ("abcd".to_owned(), 0));
    assert_eq!(cache.read("e"), "!e");
    cache.shard.resize(2, &mut evicted);
    assert_eq!(cache.read("efg"), "e");
}

#[test]
fn a_cache_raised_a_thousandfold_holds_little_spare_room() {
    for entry in crate::eviction::REGISTRY.iter().filter(|entry| !entry.needs_oracle) {
        let mut shard = shard(entry.name, Capacity::objects(8));
        let fill = |shard: &mut Shard<char>, count: u64| {
            for number in 0..count {
                let access = Access::get(KeyHash::mix(number), Time(number));
                let mut evicted = Vec::new();
                if let Lookup::Miss(miss) = shard.lookup(&access) {
                    let plan = shard.plan(&access, miss, None);
                    shard.insert(&access, 'x', &plan, &mut evicted);
                }
            }
        };
        fill(&mut shard, 100);
        shard.resize(8000, &mut Vec::new());
        // More keys than fit, so that there are as many ghosts as there will be.
        fill(&mut shard, 24_000);
        let raised = shard.metadata_bytes();
        let mut fresh = self::shard(entry.name, Capacity::objects(8000));
        fill(&mut fresh, 24_000);
        let (raised, fresh) = (raised as f64, fresh.metadata_bytes() as f64);
        assert!(raised < 1.05 * fresh + 8192.0, "{}: {raised} bytes, from the start {fresh}", entry.name);
    }
}

#[test]
fn what_lies_there_can_be_listed_and_changed() {
    let mut shard = shard("lru", Capacity::objects(2));
    for letter in ['a', 'b', 'c'] {
        set(&mut shard, &access(letter, 0, 1), letter, None);
    }
    *shard.peek_mut(key('b')).unwrap() = 'B';
    assert_eq!(shard.peek_mut(key('a')), None);
    let mut listed: Vec<_> = shard.iter().map(|(key, &value)| (key, value)).collect();
    listed.sort_by_key(|&(_, value)| value);
    assert_eq!(listed, [(key('b'), 'B'), (key('c'), 'c')]);
}

/// Whether values are asked changes nothing but what it costs.
#[test]
fn values_that_know_their_keys_are_found_as_by_the_hash() {
    for entry in crate::eviction::REGISTRY.iter().filter(|entry| !entry.needs_oracle) {
        let [mut plain, mut asked] = [(); 2].map(|()| shard(entry.name, Capacity::objects(30)));
        let mut rng = crate::Rng::new(3);
        for at in 0..3000 {
            let letter = char::from(b'a' + (60.0 * rng.unit().powi(2)) as u8);
            // Every other letter ends, which only the shard knows.
            let ends = u32::from(letter).is_multiple_of(2);
            let claim = |&value: &char| match value == letter {
                true if ends => Claim::Unsure,
                true => Claim::Alive,
                false => Claim::Other,
            };
            let access = access(letter, at * SECOND / 10, 1);
            let found = asked.lookup_by(&access, claim).is_hit();
            assert_eq!(found, plain.lookup(&access).is_hit(), "{} at {at}", entry.name);
            if found {
                continue;
            }
            let plan =
                Plan { verdict: Verdict::Store, ttl: ends.then_some(Duration::from_secs(5)), reuse: Reuse::UNKNOWN };
            let [mut left, mut also_left] = [Vec::new(), Vec::new()];
            let inserted = asked.insert(&access, letter, &plan, &mut left);
            assert_eq!(inserted, plain.insert(&access, letter, &plan, &mut also_left), "{} at {at}", entry.name);
            assert_eq!(left, also_left, "{} at {at}", entry.name);
            asked.validate();
        }
    }
}

#[test]
fn another_key_of_the_same_hash_is_a_miss_until_it_is_replaced() {
    for policy in ["sieve", "s3fifo", "learned"] {
        let mut shard = shard(policy, Capacity::objects(3));
        set(&mut shard, &access('a', 0, 1), 'a', None);
        let found = shard.lookup_by(&access('a', 1, 1), |_| Claim::Other);
        assert!(matches!(found, Lookup::Miss(Miss { expired: false, .. })), "{policy}: {found:?}");
        shard.validate();
        let plan = Plan { verdict: Verdict::Store, ttl: None, reuse: Reuse::UNKNOWN };
        let inserted = shard.insert(&access('a', 1, 1), 'A', &plan, &mut Vec::new());
        assert_eq!((inserted, shard.len()), (Inserted::Replaced('a'), 1), "{policy}");
        shard.validate();
    }
}

/// FIFO that counts each key's arrivals, for as long as it is resident or one of the last three to leave.
#[derive(Default)]
struct Counting {
    arrivals: Vec<u32>,
    residents: Vec<Slot>,
    ghosts: Vec<Slot>,
    returned: Vec<(Slot, u32)>,
}

impl Eviction for Counting {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        self.returned.extend(newcomer.ghost.map(|slot| (slot, self.arrivals[slot.0 as usize])));
    }

    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        self.residents.first().copied()
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        self.arrivals.resize(self.arrivals.len().max(slot.0 as usize + 1), 0);
        let arrivals = &mut self.arrivals[slot.0 as usize];
        *arrivals = 1 + if newcomer.ghost == Some(slot) { *arrivals } else { 0 };
        self.ghosts.retain(|&ghost| ghost != slot);
        self.residents.push(slot);
    }

    fn on_hit(&mut self, _: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        None
    }

    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        self.residents.retain(|&resident| resident != slot);
        if why == Removal::Removed {
            return Fate::Gone;
        }
        self.ghosts.push(slot);
        Fate::Ghost
    }

    fn forget(&mut self) -> Option<Slot> {
        (self.ghosts.len() > 3).then(|| self.ghosts.remove(0))
    }

    fn bytes(&self) -> usize {
        0
    }

    fn validate(&self, residents: usize, ghosts: usize) {
        assert_eq!((self.residents.len(), self.ghosts.len()), (residents, ghosts));
    }
}

/// Reads letters; each lives ten seconds.
fn read(shard: &mut Shard<char, Counting>, letters: &str, at: u64) -> Vec<(Slot, u32)> {
    for letter in letters.chars() {
        let access = access(letter, at * SECOND, 1);
        if let Lookup::Miss(miss) = shard.lookup(&access) {
            let plan = shard.plan(&access, miss, Some(Duration::from_secs(10)));
            let inserted = shard.insert(&access, letter, &plan, &mut Vec::new());
            assert_eq!(inserted, Inserted::Stored);
        }
        shard.validate();
    }
    std::mem::take(&mut shard.policy.eviction.returned)
}

#[test]
fn a_ghost_keeps_its_slot_until_it_returns_or_is_forgotten() {
    let mut policy = Policy::new(Box::<Counting>::default());
    policy.ttl = Some(Box::new(crate::ttl::Given));
    let mut shard = Shard::new(Capacity::objects(2), policy);
    assert_eq!(read(&mut shard, "abcd", 0), []);
    assert_eq!((shard.remove(key('a')), shard.peek(key('a')), shard.len()), (None, None, 2), "a ghost has no value");
    assert_eq!(read(&mut shard, "ab", 0), [(Slot(0), 1), (Slot(1), 1)], "history lies where it lay");
    assert_eq!(read(&mut shard, "ca", 0), [(Slot(2), 1), (Slot(0), 2)]);
    assert_eq!(read(&mut shard, "efg", 0), [], "e, f and g are new");
    assert_eq!(read(&mut shard, "bd", 0), [], "too many left since");
    assert!(shard.entries.len() <= 2 + 3 + 1, "slots are used again");
    // Both expire: one by lookup, the other by tick. They are remembered as any other.
    assert_eq!(read(&mut shard, "b", 10).len(), 1);
    shard.tick(Time(20 * SECOND), &mut Work::default());
    shard.validate();
    assert_eq!(read(&mut shard, "d", 20).len(), 1);
    // What was removed is gone.
    assert_eq!(shard.remove(key('d')), Some('d'));
    assert_eq!(read(&mut shard, "d", 20), []);
}

#[test]
fn a_ghost_may_go_while_its_value_is_loaded() {
    let mut shard = Shard::new(Capacity::objects(2), Policy::new(Box::<Counting>::default()));
    read(&mut shard, "abc", 0);
    let access = access('a', 0, 1);
    let Lookup::Miss(miss) = shard.lookup(&access) else { panic!("a is a ghost") };
    let plan = shard.plan(&access, miss, None);
    shard.resize(0, &mut Vec::new());
    shard.resize(2, &mut Vec::new());
    shard.validate();
    shard.lookup(&access);
    for letter in ['d', 'e', 'f', 'g', 'h'] {
        let other = self::access(letter, 0, 1);
        // Stored without a lookup: what is known of a must not outlive it.
        assert_eq!(shard.insert(&other, letter, &plan, &mut Vec::new()), Inserted::Stored);
        shard.validate();
    }
    assert_eq!(shard.insert(&access, 'a', &plan, &mut Vec::new()), Inserted::Stored);
    assert_eq!(shard.policy.eviction.returned, []);
    shard.validate();
}

#[test]
fn who_stays_is_met_once_by_who_goes_through_in_steps() {
    for policy in ["lru", "s3fifo", "lirs", "learned"] {
        let mut cache = Cache::objects(policy, 8);
        cache.read("abcdefgh");
        let (mut next, mut met) = (Slot(0), String::new());
        loop {
            let two: Vec<(Slot, char)> =
                cache.shard.iter_from(next).take(2).map(|(slot, &value)| (slot, value)).collect();
            let Some(&(last, _)) = two.last() else { break };
            next = Slot(last.0 + 1);
            met.extend(two.iter().map(|(_, value)| value));
            // One that was met and one that was not leave and come back.
            for letter in "ah".chars() {
                cache.shard.remove(key(letter));
            }
            cache.read("ha");
        }
        for letter in "bcdefg".chars() {
            let stays = cache.shard.peek(key(letter)).is_some();
            assert!(!stays || met.matches(letter).count() == 1, "{policy}: {letter} in {met}");
        }
    }
}
