//! All that is known and decided, under one lock; nothing here waits.

use std::collections::BTreeMap;
use std::time::Duration;

use ahash::HashMap;
use bytes::Bytes;
use larder::remote::{Item, Name, envelope, names};
use larder_policy::{Op, PolicySpec, Time};

use super::directory::{Directory, Filled, Room, access, hash, namespace_of_key, weight};
use super::guard::{Guard, Seen};
use super::limit::{Limit, Verdict};
use super::peers::{Event, Hello, Kind, Peers, served};
use super::{Steering, SteeringState};
use crate::info::ServerInfo;

/// Without a limit on the server, names are counted but nobody leaves; more than this is not remembered.
const UNLIMITED: u64 = 1 << 40;
/// The memory is asked for again once this share of the limit has been filled.
const ASK_AGAIN: u64 = 16;
/// So many events wait for each other.
const BATCH: usize = 32;
/// At most so many bytes of events wait: without a connection they are dropped, and keys are adopted later.
const MOST_WAITING: usize = 1 << 20;
/// So many more keys than known ones are worth a look at all of them.
const MORE: u64 = 100;
/// A change of the limit below this share of it is not worth a change of the directory.
const STEADY: f64 = 0.002;

pub(super) struct Pilot {
    config: Steering,
    id: u64,
    db: i64,
    directory: Option<Directory>,
    limit: Limit,
    guard: Option<Guard>,
    /// What the guard's ghost runs.
    control: PolicySpec,
    peers: Peers,
    on: bool,
    /// Whether the server has a limit, and which.
    limited: bool,
    maxmemory: u64,
    /// Keys it had when last asked.
    keys: u64,
    /// Keys of the server that are in no directory: others', and none of ours as long as there are not many more of them.
    strangers: u64,
    /// Those that have to leave.
    evicted: Vec<Name>,
    /// Fills under way, and whether they have to leave as soon as they have arrived: told earlier, the server would find nothing to take
    /// out, and keep what comes then for ever.
    filling: HashMap<Name, bool>,
    /// What to tell whom.
    events: BTreeMap<u64, Vec<u8>>,
    waiting: usize,
    /// Bytes filled since the memory was asked for.
    filled: u64,
    asked: Option<Time>,
    /// The namespaces we serve, and what the peers call them; no name outside them is ever touched.
    namespaces: BTreeMap<String, u64>,
    /// Whether keys of ours may be unknown, and whether many of the directory's may be gone.
    pub(super) sweep: bool,
    pub(super) verify: bool,
    /// Whether we steered at the last reading.
    steered: bool,
    /// Whether keys have come from another process that came or went, and are not all known yet.
    moving: bool,
    /// Whether so many may be unknown that the directory cannot judge: until then nobody leaves and nobody is refused.
    learning: bool,
    /// Bytes filled since then.
    learned: u64,
    /// Whether others press so much that the server is left alone.
    alone: bool,
    counts: SteeringState,
}

impl Pilot {
    pub(super) fn new(config: Steering, id: u64, db: i64) -> Self {
        let control = config.policy.clone();
        Self {
            config,
            id,
            db,
            directory: None,
            limit: Limit::default(),
            guard: None,
            control,
            peers: Peers::new(id),
            on: true,
            limited: false,
            maxmemory: 0,
            keys: 0,
            strangers: 0,
            evicted: Vec::new(),
            filling: HashMap::default(),
            events: BTreeMap::new(),
            waiting: 0,
            filled: 0,
            asked: None,
            namespaces: BTreeMap::new(),
            sweep: true,
            verify: false,
            steered: false,
            moving: false,
            learning: true,
            learned: 0,
            alone: false,
            counts: SteeringState::default(),
        }
    }

    /// Whether we would steer if nobody objects.
    fn wants(&self) -> bool {
        self.on && self.limited && self.has_limit() && !self.guard.as_ref().is_some_and(Guard::retreats)
    }

    /// Whether the directory's limit is one to steer by, and to compare with.
    fn has_limit(&self) -> bool {
        !self.learning && !self.alone
    }

    fn steers(&self) -> bool {
        self.wants() && self.directory.is_some() && !self.peers.objects()
    }

    /// Whether the task that sends and asks has something to do now.
    pub(super) fn is_due(&self) -> bool {
        self.waiting >= BATCH || !self.evicted.is_empty() || self.verify || self.wants_reading()
    }

    /// Whether the server's memory should be asked for before its time.
    pub(super) fn wants_reading(&self) -> bool {
        let Some(directory) = self.directory.as_ref().filter(|_| self.limited) else { return false };
        self.filled > directory.limit().min(self.maxmemory / self.peers.count()) / ASK_AGAIN
    }

    pub(super) fn has_peers(&self) -> bool {
        self.peers.count() > 1
    }

    fn concerns(&mut self, name: &str) -> bool {
        let Some(namespace) = namespace_of_key(name) else { return false };
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.to_owned(), served(self.db, namespace));
            self.met_namespace();
        }
        true
    }

    /// What the server has of a new namespace is unknown. The others' keys are steered meanwhile, unless they may be the few.
    fn met_namespace(&mut self) {
        if self.keys > 0 {
            (self.sweep, self.moving) = (true, true);
        }
        if self.is_mostly_unknown() {
            (self.learning, self.learned) = (true, 0);
        }
    }

    /// Whether the server had more keys that are in no directory than keys that are.
    fn is_mostly_unknown(&self) -> bool {
        self.strangers() > self.known()
    }

    fn strangers(&self) -> u64 {
        self.keys.saturating_sub(self.known())
    }

    /// Names in the directories of all processes.
    fn known(&self) -> u64 {
        self.peers.keys().saturating_add(self.directory.as_ref().map_or(0, Directory::len) as u64)
    }

    /// Which of the peers owns `name`, of a namespace that we serve; `None` if we do.
    fn owner(&self, name: &str) -> Option<u64> {
        owner(&self.namespaces, &self.peers, name)
    }

    /// What the Redis had under `name`.
    pub(super) fn seen(&mut self, name: &Name, bytes: Option<&Bytes>, now: Time) {
        if !self.concerns(name) {
            return;
        }
        // A mark in a value's place, or somebody else's value, is not to be steered; whoever put it there took the value out.
        let is_other = bytes.is_some();
        let Some(bytes) = bytes.filter(|bytes| envelope::holds_value(bytes)) else {
            // Somebody else's fill of it may just be on its way.
            if self.filling.contains_key(name) {
                return;
            }
            if let Some(directory) = &mut self.directory
                && directory.lost(name)
            {
                self.counts.lost += 1;
            }
            if is_other {
                self.gone(name);
            }
            return;
        };
        let weight = weight(name, bytes.len());
        match self.owner(name) {
            None => self.hit(name, weight, now),
            Some(owner) => self.tell(owner, &Event { kind: Kind::Hit, weight, ttl: None, name: name.clone() }),
        }
    }

    fn hit(&mut self, name: &Name, weight: u32, now: Time) {
        let (room, steers) = (self.room(), self.steers());
        let Some(directory) = &mut self.directory else { return };
        let (seen, end) = (if directory.holds(name) { Seen::Hit } else { Seen::Adopted }, directory.end(name));
        self.counts.adopted += u64::from(directory.hit(name, weight, now, room));
        self.take_victims(steers);
        self.note(name, weight, end, seen, now);
    }

    /// What to do about a fill: whether to send it.
    pub(super) fn fill(&mut self, Item { name, bytes, ttl }: &Item, now: Time) -> bool {
        if !self.concerns(name) {
            return true;
        }
        let weight = weight(name, bytes.len());
        self.filled += u64::from(weight);
        if self.owner(name).is_some() {
            return true;
        }
        self.filling.insert(name.clone(), false);
        let kept = self.filled(name, weight, Some(*ttl), now) != Filled::Refused;
        if !kept {
            self.filling.remove(name);
        }
        kept
    }

    /// A fill has arrived, or may have; `kept` says whether the server keeps it.
    pub(super) fn settled(&mut self, Item { name, bytes, ttl }: &Item, kept: bool) {
        let leaves = self.filling.remove(name).unwrap_or(false);
        match self.owner(name) {
            _ if !kept => self.gone(name),
            None if leaves => {
                self.counts.evicted += 1;
                self.evicted.push(name.clone());
            }
            None => {}
            Some(owner) if self.concerns(name) => {
                let weight = weight(name, bytes.len());
                self.tell(owner, &Event { kind: Kind::Fill, weight, ttl: Some(*ttl), name: name.clone() });
            }
            Some(_) => {}
        }
    }

    fn filled(&mut self, name: &Name, weight: u32, ttl: Option<Duration>, now: Time) -> Filled {
        let (steers, end) = (self.steers(), ttl.map(|ttl| now.plus(ttl)));
        let Some(directory) = &mut self.directory else { return Filled::Unknown };
        // What was missed is not there any more: this is a second fill of the same miss, or it is loaded before its end.
        if directory.holds(name) {
            directory.hit(name, weight, now, Room::Stays);
            if let Some(end) = end {
                directory.ends(name, end);
                self.guard.iter_mut().for_each(|guard| guard.ends(hash(name), end));
            }
            return Filled::Stored;
        }
        let filled = directory.fill(name, weight, ttl, now);
        self.counts.refused += u64::from(steers && filled == Filled::Refused);
        let full = self.take_victims(steers);
        self.note(name, weight, end, Seen::Miss, now);
        if full {
            self.mind_guard(now);
        }
        if steers { filled } else { Filled::Unknown }
    }

    /// Victims of the directory; whether there were any. Those of a server that is left alone are only forgotten.
    fn take_victims(&mut self, steers: bool) -> bool {
        let Some(directory) = &mut self.directory else { return false };
        let before = self.evicted.len();
        let mut any = false;
        for name in directory.victims() {
            any = true;
            match self.filling.get_mut(&name) {
                _ if !steers => {}
                Some(leaves) => *leaves = true,
                None => self.evicted.push(name),
            }
        }
        self.counts.evicted += (self.evicted.len() - before) as u64;
        any
    }

    /// Whether what the server answers says how we steer, or how long a retreat lasts yet.
    fn is_judged(&self) -> bool {
        let retreats = self.guard.as_ref().is_some_and(Guard::retreats);
        self.has_limit() && self.on && (retreats || !self.peers.objects())
    }

    /// What the server evicts while we do not steer is none of our doing.
    fn note(&mut self, name: &Name, weight: u32, end: Option<Time>, seen: Seen, now: Time) {
        let is_judged = self.is_judged();
        if let Some(guard) = self.guard.as_mut().filter(|_| is_judged) {
            guard.note(&access(name, weight, now, Op::Get), end, seen);
        }
    }

    /// A guard from the first eviction on, and another one where the size has changed much.
    fn mind_guard(&mut self, now: Time) {
        let Some(directory) = self.directory.as_ref().filter(|_| self.config.guard && self.limited && self.has_limit())
        else {
            return;
        };
        let (limit, objects) = (directory.limit(), directory.len());
        if self.guard.as_ref().is_none_or(|guard| guard.is_outgrown(objects)) {
            self.counts.retreats += self.guard.as_ref().map_or(0, Guard::count);
            self.guard = Guard::new(&self.control, limit, objects, self.id, directory.lives(), now);
        }
    }

    /// The Redis does not keep `name`, or keeps something that is not to be steered.
    pub(super) fn gone(&mut self, name: &Name) {
        if !self.concerns(name) {
            return;
        }
        match self.owner(name) {
            None => self.forget(name),
            Some(owner) => self.tell(owner, &Event { kind: Kind::Gone, weight: 0, ttl: None, name: name.clone() }),
        }
    }

    fn forget(&mut self, name: &Name) {
        self.directory.iter_mut().for_each(|directory| _ = directory.gone(name));
        self.guard.iter_mut().for_each(|guard| guard.gone(hash(name)));
    }

    fn tell(&mut self, owner: u64, event: &Event) {
        let out = self.events.entry(owner).or_default();
        if out.len() < MOST_WAITING {
            event.encode(out);
            self.waiting += 1;
        }
    }

    /// A peer says that it is there.
    pub(super) fn greeted(&mut self, hello: Hello, now: Time) {
        if !self.peers.heard(hello, now) {
            return;
        }
        if let Some(directory) = &mut self.directory {
            let before = directory.len();
            directory.retain(|_, name| owner(&self.namespaces, &self.peers, name).is_none());
            if directory.len() < before {
                (self.sweep, self.moving) = (true, true);
            }
        }
    }

    /// What a peer saw of a key that is ours.
    pub(super) fn told(&mut self, Event { kind, weight, ttl, name }: &Event, now: Time) {
        // Only of namespaces that are ours too, and no longer ours if owners have just changed.
        let known = self.namespaces.contains_key(names::namespace(name)) && self.concerns(name);
        if !known || self.owner(name).is_some() {
            return;
        }
        match kind {
            Kind::Hit => self.hit(name, *weight, now),
            Kind::Fill => {
                self.filled += u64::from(*weight);
                // It is there already.
                if self.filled(name, *weight, *ttl, now) == Filled::Refused {
                    self.counts.evicted += 1;
                    self.evicted.push(name.clone());
                }
            }
            Kind::Gone => self.forget(name),
        }
    }

    /// Other slots than before are served here: of the names known, those of which `is_ours` says so.
    pub(super) fn owns(&mut self, is_ours: impl Fn(&Name) -> bool) {
        if let Some(directory) = &mut self.directory {
            directory.retain(|_, name| is_ours(name));
        }
        self.evicted.retain(&is_ours);
        self.filling.retain(|name, _| is_ours(name));
        (self.sweep, self.moving) = (true, true);
    }

    /// A replica is the primary now. It counts evictions anew, may lack what was written last, and may have what left last.
    pub(super) fn taken_over(&mut self) {
        self.limit.forget_evictions();
        (self.verify, self.sweep, self.moving) = (true, true, true);
    }

    pub(super) fn switch(&mut self, on: bool) {
        self.on = on;
        self.steered &= on;
    }

    /// Whether all that is ours is in our directory. Without a scan nobody finds what moved but who reads it.
    fn knows_all(&self) -> bool {
        !(self.learning || self.namespaces.is_empty() || self.moving && self.config.scan > 0)
    }

    /// What the server says of its memory.
    pub(super) fn read(&mut self, info: &ServerInfo, now: Time) {
        if self.peers.forget(now) {
            (self.sweep, self.moving) = (true, true);
        }
        let used = self.directory.as_ref().map_or(0, Directory::used);
        let ours = used.saturating_add(self.peers.used());
        let since = now.since(self.asked.replace(now).unwrap_or(now));
        self.learned += std::mem::take(&mut self.filled);
        // Of a server that is left alone for another reason, if only since a moment ago, what we have says nothing.
        let known = self.knows_all() && self.peers.know_all() && (self.steered && self.steers() || self.alone);
        let Verdict { limit, evicted, alone } = self.limit.read(info, ours, known, since);
        (self.limited, self.alone) = (limit.is_some(), alone);
        (self.maxmemory, self.keys) = (info.maxmemory, info.keys);
        self.counts.evicted_by_server += evicted;
        self.learn(info);
        let limit = limit.filter(|_| !self.learning).map_or(UNLIMITED, |limit| self.peers.share(limit, used).max(1));
        let control = if info.evicts_by_use { "redis-lfu" } else { "lru" };
        if self.control.as_str() != control
            && let Ok(control) = control.parse()
        {
            (self.control, self.guard) = (control, None);
        }
        let (known, strangers) = (self.known(), self.strangers());
        // While we learn, a scan is under way; names that the server has evicted meanwhile hide strangers until they are found to be gone, and
        // a scan for those would begin again and again.
        self.sweep |= !self.learning && strangers > self.strangers.saturating_add((known / 20).max(MORE));
        if self.sweep || self.learning || strangers < self.strangers {
            self.strangers = strangers;
        }
        let is_judged = self.is_judged();
        match &mut self.directory {
            Some(directory) => {
                directory.tick(now);
                // Many keys at once were taken out: by a smaller `maxmemory`, or a flush.
                let few = (directory.len() as u64).min(info.keys);
                self.verify |= evicted > (few / 50).max(100) || info.keys < directory.len() as u64 / 2;
                if limit.abs_diff(directory.limit()) as f64 > STEADY * directory.limit() as f64 {
                    directory.resize(limit);
                }
                match &mut self.guard {
                    Some(guard) if is_judged => guard.pass(directory.limit(), now),
                    Some(guard) => guard.rest(),
                    None => {}
                }
            }
            None => self.directory = Some(Directory::new(&self.config.policy, limit, self.id)),
        }
        let steers = self.steers();
        self.take_victims(steers);
        // While the server was left alone, it kept others than the directory would have.
        if steers && !self.steered {
            (self.sweep, self.moving) = (true, true);
        }
        self.steered = steers;
    }

    /// Without a scan, most keys are known once we have filled the whole server, or as many as it has.
    fn learn(&mut self, info: &ServerInfo) {
        if self.config.scan == 0 && (self.learned >= info.maxmemory || self.strangers() == 0) {
            self.learning = false;
        }
    }

    /// Names that are asked for to see whether they are still there.
    pub(super) fn sample(&self, many: usize) -> Vec<Name> {
        self.directory.as_ref().map_or_else(Vec::new, |directory| directory.sample(many))
    }

    pub(super) fn names(&self) -> Vec<Name> {
        self.directory.as_ref().map_or_else(Vec::new, Directory::names)
    }

    /// These names were asked for and are not there.
    pub(super) fn missing(&mut self, names: &[Name]) {
        let Some(directory) = &mut self.directory else { return };
        let missing = names.iter().filter(|name| directory.lost(name)).count();
        self.counts.lost += missing as u64;
    }

    /// Of names the server has, those that are ours and unknown.
    pub(super) fn unknown<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Name> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let is_ours = |name: &&str| {
            namespace_of_key(name).is_some_and(|namespace| self.namespaces.contains_key(namespace))
                && self.owner(name).is_none()
                && !directory.holds(name)
        };
        names.filter(is_ours).map(Name::from).collect()
    }

    /// A value of ours that was found on the server.
    pub(super) fn found(&mut self, name: &Name, bytes: usize, ttl: Option<Duration>, now: Time) {
        // Whose it is may have changed since it was asked for.
        if self.owner(name).is_some() {
            return;
        }
        let (room, steers) = (self.room(), self.steers());
        let Some(directory) = &mut self.directory else { return };
        self.counts.adopted += u64::from(directory.adopt(name, weight(name, bytes), ttl, now, room));
        self.take_victims(steers);
    }

    /// Whether to look at all the server's keys now: some of ours may be unknown.
    pub(super) fn begins_sweep(&mut self) -> bool {
        std::mem::take(&mut self.sweep) && !self.namespaces.is_empty()
    }

    /// All the server's keys have been looked at, but for some of what another sweep is wanted for by now. Whether that was waited for.
    pub(super) fn swept(&mut self) -> bool {
        self.moving &= self.sweep;
        let learning = self.learning && self.sweep && self.is_mostly_unknown();
        std::mem::replace(&mut self.learning, learning) && !learning
    }

    fn room(&self) -> Room {
        if self.moving || self.learning { Room::Grows } else { Room::Stays }
    }

    pub(super) fn take_evicted(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.evicted)
    }

    /// So many victims were not there.
    pub(super) fn not_there(&mut self, many: u64) {
        if many > 0
            && let Some(directory) = &mut self.directory
        {
            directory.lost_victims(many);
            self.counts.lost += many;
            let steers = self.steers();
            self.take_victims(steers);
        }
    }

    /// A victim that is still there.
    pub(super) fn again(&mut self, name: Name) {
        self.evicted.push(name);
    }

    pub(super) fn take_events(&mut self) -> BTreeMap<u64, Vec<u8>> {
        self.waiting = 0;
        std::mem::take(&mut self.events)
    }

    /// What the peers hear of us, at `node` of a cluster.
    pub(super) fn hello(&self, node: Option<u64>) -> Hello {
        let (used, keys) = self.directory.as_ref().map_or((0, 0), |known| (known.used(), known.len() as u64));
        let serves = self.namespaces.values().copied().collect();
        // Without a limit on the server there is nothing to object to.
        // Nor is anything amiss with the keys of who serves none.
        let knows_all = self.knows_all() || self.namespaces.is_empty();
        Hello { id: self.id, used, keys, steers: self.wants() || !self.limited, knows_all, node, serves }
    }

    pub(super) fn state(&mut self) -> SteeringState {
        let standing = self.directory.as_mut().and_then(Directory::standing);
        let directory = self.directory.as_ref();
        SteeringState {
            steers: self.steers(),
            keys: directory.map_or(0, Directory::len),
            used: directory.map_or(0, Directory::used),
            limit: directory.map_or(0, Directory::limit),
            metadata: directory.map_or(0, Directory::bytes),
            processes: self.peers.count(),
            retreats: self.counts.retreats + self.guard.as_ref().map_or(0, Guard::count),
            standing,
            ..self.counts
        }
    }
}

fn owner(namespaces: &BTreeMap<String, u64>, peers: &Peers, name: &str) -> Option<u64> {
    peers.owner(*namespaces.get(names::namespace(name))?, hash(name))
}

#[cfg(test)]
mod tests;
