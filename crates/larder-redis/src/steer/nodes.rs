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
        let places: Vec<_> = rows.iter().map(|(_, place)| place).collect::<BTreeSet<_>>().into_iter().cloned().collect();
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
        let address = |node: &Node| node.place().map_or_else(String::new, |Place { host, port }| format!("{host}:{port}"));
        self.all.iter().map(|node| (address(node), node.with(Pilot::state))).collect()
    }
}
