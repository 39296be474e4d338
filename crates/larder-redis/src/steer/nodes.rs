//! The servers that are steered: one, or the primaries of a cluster, each with a directory, a limit and a guard of its own.
//!
//! A key is its slot's primary's. `CLUSTER SLOTS` is asked for now and then, for the driver keeps its map to itself. Names of slots that moved
//! leave one directory, and a scan finds them for the other; a replica that takes over takes over the directory too.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use ahash::HashMap;
use parking_lot::Mutex;
use redis::Value;
use redis::cluster_routing::Slot;
use tokio::sync::Notify;

use super::SteeringState;
use super::directory::hash;
use super::pilot::Pilot;

/// How a primary is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Which primary serves which slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// In their order, so that it does not matter who was asked.
    places: Vec<Place>,
    /// Which of the places; no entry for a slot that nobody serves.
    of: HashMap<Slot, usize>,
}

/// A server, and how it is steered.
pub(super) struct Node {
    /// Where it is; `None` for the only one.
    place: Mutex<Option<Place>>,
    pilot: Mutex<Pilot>,
    /// There is something to send, or to ask.
    pub(super) wake: Notify,
}

pub(super) struct Nodes {
    /// In the order of the map's places.
    pub(super) all: Vec<Arc<Node>>,
    /// `None` for one server that has all keys.
    map: Option<SlotMap>,
    on: bool,
    /// What was counted at primaries that are none any more.
    past: SteeringState,
}

impl Place {
    /// What the peers know it by.
    fn tag(&self) -> u64 {
        hash(&format!("{}:{}", self.host, self.port)).0
    }
}

impl SlotMap {
    /// What `CLUSTER SLOTS` answers; `None` for anything else, and for a node that belongs to no cluster. A primary that does not know how it
    /// is reached is left out.
    pub(super) fn parse(answer: &Value) -> Option<Self> {
        let Value::Array(rows) = answer else { return None };
        let rows: Vec<_> = rows.iter().map(row).collect::<Option<_>>()?;
        let rows: Vec<_> = rows.into_iter().filter(|(_, place)| !matches!(&*place.host, "" | "?")).collect();
        let places: Vec<_> =
            rows.iter().map(|(_, place)| place).collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let mut of = HashMap::default();
        for (slots, place) in &rows {
            let at = places.binary_search(place).ok()?;
            of.extend(slots.clone().filter_map(Slot::new).map(|slot| (slot, at)));
        }
        (!of.is_empty()).then_some(Self { places, of })
    }

    fn at(&self, name: &str) -> Option<usize> {
        self.of.get(&Slot::for_key(name)).copied()
    }

    fn slots(&self, at: usize) -> HashSet<Slot> {
        self.of.iter().filter(|&(_, &of)| of == at).map(|(slot, _)| *slot).collect()
    }
}

/// First and last slot, then the primary: host, port, and more.
fn row(row: &Value) -> Option<(std::ops::RangeInclusive<u16>, Place)> {
    let Value::Array(row) = row else { return None };
    let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = &row[..] else { return None };
    let [host, Value::Int(port), ..] = &primary[..] else { return None };
    let host = match host {
        Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
        _ => String::new(),
    };
    let place = Place { host, port: u16::try_from(*port).ok()? };
    Some((u16::try_from(*from).ok()?..=u16::try_from(*to).ok()?, place))
}

impl Node {
    fn new(place: Option<Place>, pilot: Pilot) -> Arc<Self> {
        Arc::new(Self { place: Mutex::new(place), pilot: Mutex::new(pilot), wake: Notify::new() })
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.place.lock().clone()
    }

    pub(super) fn tag(&self) -> Option<u64> {
        self.place.lock().as_ref().map(Place::tag)
    }

    /// Acts on the pilot, for the keeper itself.
    pub(super) fn quietly<T>(&self, act: impl FnOnce(&mut Pilot) -> T) -> T {
        act(&mut self.pilot.lock())
    }

    /// Acts on the pilot, and wakes the keeper if it then has something to do.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Pilot) -> T) -> T {
        let mut pilot = self.pilot.lock();
        let answer = act(&mut pilot);
        if pilot.is_due() {
            self.wake.notify_one();
        }
        answer
    }
}

impl Nodes {
    /// One server.
    pub(super) fn one(pilot: Pilot) -> Self {
        Self { all: vec![Node::new(None, pilot)], map: None, on: true, past: SteeringState::default() }
    }

    /// A cluster that is not known yet.
    pub(super) fn cluster() -> Self {
        Self { all: Vec::new(), map: Some(SlotMap::default()), on: true, past: SteeringState::default() }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.map.is_some()
    }

    /// Who has `name`; `None` while that is not known.
    pub(super) fn of(&self, name: &str) -> Option<&Arc<Node>> {
        self.all.get(self.map.as_ref().map_or(Some(0), |map| map.at(name))?)
    }

    pub(super) fn has(&self, node: &Arc<Node>, name: &str) -> bool {
        self.of(name).is_some_and(|of| Arc::ptr_eq(of, node))
    }

    /// Acts on the pilot of `name`, if there is one.
    pub(super) fn with<T>(&self, name: &str, act: impl FnOnce(&mut Pilot) -> T) -> Option<T> {
        self.of(name).map(|node| node.with(act))
    }

    pub(super) fn switch(&mut self, on: bool) {
        self.on = on;
        self.all.iter().for_each(|node| node.with(|pilot| pilot.switch(on)));
    }

    /// Follows a cluster whose slots lie like this; `new` makes the pilot of a primary that was none. Answers those that were, and now have
    /// other slots: their pilots have to hear of it.
    pub(super) fn locate(&mut self, map: SlotMap, new: impl Fn() -> Pilot) -> Vec<Arc<Node>> {
        let Some(before) = self.map.as_ref().filter(|before| **before != map) else { return Vec::new() };
        let had: Vec<_> = (0..self.all.len()).map(|at| before.slots(at)).collect();
        // Those whose place is no primary's any more; who has most of a one's slots now has taken over from it.
        let mut left: Vec<_> = (0..had.len()).filter(|&at| !map.places.contains(&before.places[at])).collect();
        let (mut all, mut changed) = (Vec::new(), Vec::new());
        for (at, place) in map.places.iter().enumerate() {
            let has = map.slots(at);
            let same = before.places.iter().position(|known| known == place);
            let common = |was: usize| had[was].intersection(&has).count();
            let heir = || left.iter().copied().max_by_key(|&was| common(was)).filter(|&was| common(was) > 0);
            let Some(was) = same.or_else(heir) else {
                let mut pilot = new();
                pilot.switch(self.on);
                all.push(Node::new(Some(place.clone()), pilot));
                continue;
            };
            left.retain(|&other| other != was);
            let node = &self.all[was];
            if same.is_none() {
                *node.place.lock() = Some(place.clone());
                node.with(Pilot::taken_over);
            }
            if had[was] != has {
                changed.push(node.clone());
            }
            all.push(node.clone());
        }
        for at in left {
            self.past = self.past.with(&self.all[at].with(Pilot::state)).counts();
        }
        (self.all, self.map) = (all, Some(map));
        changed
    }

    pub(super) fn state(&self) -> SteeringState {
        let states = self.all.iter().map(|node| node.with(Pilot::state));
        let state = states.reduce(|sum, state| sum.with(&state)).unwrap_or_default();
        // The past has nothing to say of whether the present steers.
        SteeringState { steers: state.steers, ..state.with(&self.past) }
    }

    /// Each primary's address and state.
    pub(super) fn states(&self) -> Vec<(String, SteeringState)> {
        let address =
            |node: &Node| node.place().map_or_else(String::new, |Place { host, port }| format!("{host}:{port}"));
        self.all.iter().map(|node| (address(node), node.with(Pilot::state))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use larder::remote::names;
    use larder_policy::Time;

    use super::*;
    use crate::ServerInfo;
    use crate::steer::Steering;

    /// What `CLUSTER SLOTS` answers, with a replica behind each primary.
    fn answer(rows: &[(RangeInclusive<i64>, &str, i64)]) -> Value {
        let node = |host: &str, port| {
            let id = Value::BulkString(b"0123".to_vec());
            Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), id, Value::Array(Vec::new())])
        };
        let row = |(slots, host, port): &(RangeInclusive<i64>, &str, i64)| {
            let ends = [Value::Int(*slots.start()), Value::Int(*slots.end())];
            Value::Array([&ends[..], &[node(host, *port), node(host, port + 100)]].concat())
        };
        Value::Array(rows.iter().map(row).collect())
    }

    fn map(rows: &[(RangeInclusive<i64>, &str, i64)]) -> SlotMap {
        SlotMap::parse(&answer(rows)).unwrap()
    }

    fn pilot() -> Pilot {
        let mut pilot = Pilot::new(Steering::default(), 1, 0);
        pilot.read(&ServerInfo { maxmemory: 1 << 30, ..ServerInfo::default() }, Time(0));
        pilot
    }

    /// A cluster of two whose directories know 1000 names.
    fn cluster() -> Nodes {
        let mut nodes = Nodes::cluster();
        assert!(nodes.locate(map(&[(0..=8_191, "a", 1), (8_192..=16_383, "b", 1)]), pilot).is_empty());
        for key in 0..1_000 {
            let name = names::key("test", &key.to_string());
            nodes.with(&name, |pilot| pilot.found(&name, 100, None, Time(0))).unwrap();
        }
        assert_eq!(known(&nodes).iter().sum::<usize>(), 1_000);
        nodes
    }

    fn known(nodes: &Nodes) -> Vec<usize> {
        nodes.states().iter().map(|(_, state)| state.keys).collect()
    }

    fn follow(nodes: &mut Nodes, map: SlotMap) -> usize {
        let changed = nodes.locate(map, pilot);
        for node in &changed {
            node.quietly(|pilot| pilot.owns(|name| nodes.has(node, name)));
        }
        changed.len()
    }

    #[test]
    fn a_map_is_read_whoever_answers() {
        let rows = [(0..=100, "a", 1), (200..=300, "b", 2), (101..=199, "a", 1)];
        let mut turned = rows.clone();
        turned.reverse();
        assert_eq!(map(&rows), map(&turned));
        // The slots of these two, by `CLUSTER KEYSLOT`.
        let map = map(&[(12_182..=12_182, "a", 1), (5_061..=5_061, "b", 2)]);
        assert_eq!(map.at("foo").map(|at| &*map.places[at].host), Some("a"));
        assert_eq!(map.at("x{bar}y").map(|at| &*map.places[at].host), Some("b"));
        assert_eq!(map.at("elsewhere"), None);
    }

    #[test]
    fn what_is_no_map_is_none() {
        let odd = [(-1..=5, "a", 1), (0..=70_000, "a", 1), (0..=5, "a", 70_000), (0..=5, "", 1), (0..=5, "?", 1)];
        for row in odd {
            assert_eq!(SlotMap::parse(&answer(&[row])), None);
        }
        let hollow = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1), Value::Array(Vec::new())])]);
        for answer in [Value::Nil, Value::Array(Vec::new()), Value::Array(vec![Value::Int(1)]), hollow] {
            assert_eq!(SlotMap::parse(&answer), None);
        }
    }

    #[test]
    fn names_leave_with_their_slots_and_a_map_that_says_the_same_changes_nothing() {
        let mut nodes = cluster();
        let before = known(&nodes);
        assert_eq!(follow(&mut nodes, map(&[(8_192..=16_383, "b", 1), (0..=8_191, "a", 1)])), 0);
        assert_eq!(follow(&mut nodes, map(&[(0..=4_095, "a", 1), (4_096..=16_383, "b", 1)])), 2);
        let after = known(&nodes);
        // About half of the one's; the other finds them with a scan.
        assert!(after[0] > before[0] / 3 && after[0] < before[0] * 2 / 3, "{before:?} {after:?}");
        assert_eq!(after[1], before[1]);
        assert!(nodes.all.iter().all(|node| node.quietly(|pilot| pilot.sweep)));
    }

    #[test]
    fn a_replica_takes_over_the_directory() {
        let mut nodes = cluster();
        let before = known(&nodes);
        assert_eq!(follow(&mut nodes, map(&[(8_192..=16_383, "b", 1), (0..=8_191, "c", 1)])), 0);
        let states = nodes.states();
        assert_eq!(states.iter().map(|(address, _)| &**address).collect::<Vec<_>>(), ["b:1", "c:1"]);
        assert_eq!(known(&nodes), [before[1], before[0]]);
        assert!(nodes.all[1].quietly(|pilot| pilot.sweep && pilot.verify));
    }

    #[test]
    fn a_primary_more_or_less_takes_nobody_elses_directory() {
        let mut nodes = cluster();
        let before = known(&nodes);
        nodes.switch(false);
        follow(&mut nodes, map(&[(0..=8_191, "a", 1), (8_192..=12_000, "b", 1), (12_001..=16_383, "c", 1)]));
        assert_eq!((known(&nodes)[0], known(&nodes)[2]), (before[0], 0));
        let steers = |pilot: &mut Pilot| {
            pilot.sweep = false;
            pilot.swept();
            pilot.hello(None).steers
        };
        assert!(!nodes.all[2].quietly(steers), "the new one is switched off too");
        nodes.switch(true);
        assert!(nodes.all[2].quietly(steers));
        // It leaves again, and what it counted stays.
        let mut names = (0..).map(|key| names::key("more", &key.to_string()));
        let name = names.find(|name| nodes.has(&nodes.all[2], name)).unwrap();
        nodes.with(&name, |pilot| pilot.found(&name, 100, None, Time(0)));
        let adopted = nodes.state().adopted;
        assert_eq!(adopted, 1_001);
        follow(&mut nodes, map(&[(0..=8_191, "a", 1), (8_192..=16_383, "b", 1)]));
        assert_eq!((nodes.all.len(), nodes.state().adopted), (2, adopted));
    }
}
