//! One trace, one policy: the cache that was not restarted, and those that were.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use larder::prewarm::{Candidate, Limits, Plan, Planner, Usefulness, Warmed};
use larder::snapshot::{Kept, Rate, Snapshots};
use larder_benches::SEED;
use larder_policy::{Access, Capacity, KeyHash, Lookup, PolicySpec, Shard, Time};
use larder_trace::Request;

/// The cache's size, as a share of the distinct keys.
pub(crate) const SHARE: f64 = 0.1;
/// Requests over which hit ratios are compared.
pub(crate) const WINDOW: usize = 1000;
/// What counts as recovered, as a share of the hits of the cache that was not restarted.
pub(crate) const RECOVERED: f64 = 0.95;
/// Requests for each object the cache holds, in which hits lost are lost soon.
pub(crate) const SOON: usize = 4;
/// How much older the older snapshot is, as a share of the trace.
pub(crate) const OLDER: f64 = 0.05;
/// Requests for each load, where the cache is warmed while it serves.
pub(crate) const REQUESTS_A_LOAD: usize = 2;

/// How a cache comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Cold,
    /// From a snapshot of the moment it stopped, before the first request.
    Warmed,
    /// The same, the best loaded first.
    BestFirst,
    /// From an older snapshot, before the first request.
    Older,
    /// Half of its capacity, before the first request.
    Half,
    /// At a bounded rate, while it serves.
    Serving,
}

impl Restart {
    const ALL: [Self; 6] = [Self::Cold, Self::Warmed, Self::BestFirst, Self::Half, Self::Older, Self::Serving];
}

/// What became of one restart.
pub(crate) struct Outcome {
    pub(crate) restart: Restart,
    /// Requests until a window has nearly the hits it would have had; none if no window has.
    pub(crate) until: Option<usize>,
    /// Hits lost beside the cache that was not restarted, soon and over all the rest of the trace; negative where it did
    /// better.
    pub(crate) lost_soon: i64,
    pub(crate) lost: i64,
    pub(crate) warmed: Usefulness,
}

pub(crate) struct Drill {
    pub(crate) trace: &'static str,
    pub(crate) policy: String,
    pub(crate) objects: u64,
    /// Requests after the restart.
    pub(crate) requests: usize,
    /// The hit ratio over them of the cache that was not restarted.
    pub(crate) steady: f64,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Drill {
    pub(crate) fn run(trace: &'static str, policy: &PolicySpec, requests: &[Request]) -> Result<Self> {
        let keys = requests.iter().map(|request| request.key).collect::<HashSet<_>>().len();
        let objects = (keys as f64 * SHARE).round() as u64;
        // A request a second, so that rates and spans are in requests.
        let accesses: Vec<_> = (0..).zip(requests).map(access).collect();
        let half = accesses.len() / 2;
        let earlier = half - (accesses.len() as f64 * OLDER) as usize;
        let folder = tempfile::tempdir()?;
        // About as long as a key stays.
        let span = Duration::from_secs(objects);

        let mut lived = Life::new(policy, objects);
        let mut rates = HashMap::new();
        let mut follow = |lived: &mut Life, range: std::ops::Range<usize>| {
            let end = range.end as u32;
            for (now, access) in range.clone().zip(&accesses[range]) {
                rates.entry(access.key).or_insert(Rate::default()).add(1, now as u32, span);
                lived.serve(access);
            }
            let kept = |key: &KeyHash| {
                let reads = rates.get(key).copied().unwrap_or_default().at(end, span);
                Kept { name: key.0.to_string(), size: 1, cost: 1, reads, ..Kept::default() }
            };
            lived.residents(accesses.iter().map(|access| access.key)).iter().map(kept).collect::<Vec<_>>()
        };
        let older = Snapshots::new(folder.path(), "older", SEED)?;
        older.write(0, follow(&mut lived, 0..earlier))?;
        let newest = Snapshots::new(folder.path(), "newest", SEED)?;
        newest.write(0, follow(&mut lived, earlier..half))?;

        let rest = &accesses[half..];
        let steady: Vec<bool> = rest.iter().map(|access| lived.serve(access)).collect();
        let soon = rest.len().min(objects as usize * SOON);
        let outcome = |restart| -> Result<Outcome> {
            let snapshots = if restart == Restart::Older { &older } else { &newest };
            let capacity = if restart == Restart::Half { objects / 2 } else { objects };
            let plan = match restart {
                Restart::Cold => Vec::new(),
                Restart::Serving | Restart::BestFirst => ordered(&plan(snapshots, limits(capacity, span))?)?,
                _ => ordered(&plan(snapshots, limits(capacity, span))?.best_last())?,
            };
            let mut life = Life::new(policy, objects);
            let hits = life.restart(plan, restart == Restart::Serving, rest);
            Ok(Outcome {
                restart,
                until: recovered(&hits, &steady),
                lost_soon: lost(&hits[..soon], &steady[..soon]),
                lost: lost(&hits, &steady),
                warmed: life.warmed.usefulness(),
            })
        };
        let outcomes = Restart::ALL.into_iter().map(outcome).collect::<Result<_>>()?;
        let steady = count(&steady) as f64 / rest.len() as f64;
        Ok(Self { trace, policy: policy.to_string(), objects, requests: rest.len(), steady, outcomes })
    }
}

fn access((now, request): (u64, &Request)) -> Access {
    Access::get(KeyHash::mix(request.key), Time(now * 1_000_000))
}

fn count(hits: &[bool]) -> i64 {
    hits.iter().filter(|hit| **hit).count() as i64
}

fn lost(hits: &[bool], steady: &[bool]) -> i64 {
    count(steady) - count(hits)
}

/// No bound but the capacity: here the rate is the drill's.
fn limits(capacity: u64, horizon: Duration) -> Limits {
    Limits { capacity, horizon, loads_per_second: 1e9, within: Duration::from_secs(3600), ..Limits::default() }
}

fn plan(snapshots: &Snapshots, limits: Limits) -> Result<Plan> {
    let mut planner = Planner::new(limits)?;
    for kept in snapshots.newest()?.snapshot.context("the snapshot that was just written")? {
        planner.offer(Candidate::from(&kept?));
    }
    Ok(planner.plan())
}

fn ordered(plan: &Plan) -> Result<Vec<KeyHash>> {
    plan.keys.iter().map(|key| Ok(KeyHash(key.name.parse()?))).collect()
}

/// The first window with nearly the hits of the same window without a restart; its last request.
fn recovered(hits: &[bool], steady: &[bool]) -> Option<usize> {
    let windows = hits.windows(WINDOW).zip(steady.windows(WINDOW));
    let (mut ours, mut theirs) = (0, 0);
    windows.enumerate().find_map(|(at, (hits, steady))| {
        if at == 0 {
            (ours, theirs) = (count(hits), count(steady));
        } else {
            ours += i64::from(hits[WINDOW - 1]);
            theirs += i64::from(steady[WINDOW - 1]);
        }
        let done = ours as f64 >= RECOVERED * theirs as f64;
        ours -= i64::from(hits[0]);
        theirs -= i64::from(steady[0]);
        done.then_some(at + WINDOW)
    })
}

/// A cache from its start to its end.
struct Life {
    shard: Shard<()>,
    evicted: Vec<larder_policy::Evicted<()>>,
    warmed: Warmed,
}

impl Life {
    fn new(policy: &PolicySpec, objects: u64) -> Self {
        let capacity = Capacity::objects(objects);
        let shard = Shard::new(capacity, policy.build(capacity, SEED));
        Self { shard, evicted: Vec::new(), warmed: Warmed::new(objects as usize) }
    }

    /// Whether it hit.
    fn serve(&mut self, access: &Access) -> bool {
        let Lookup::Miss(miss) = self.shard.lookup(access) else {
            self.warmed.hit(access.key.0);
            return true;
        };
        let plan = self.shard.plan(access, miss, None);
        self.shard.insert(access, (), &plan, &mut self.evicted);
        for entry in self.evicted.drain(..) {
            self.warmed.left(entry.key.0);
        }
        false
    }

    /// Serves the rest of the trace, loading what is planned before or meanwhile.
    fn restart(&mut self, plan: Vec<KeyHash>, serving: bool, rest: &[Access]) -> Vec<bool> {
        let mut plan = plan.into_iter();
        let Some(start) = rest.first().map(|access| access.at) else { return Vec::new() };
        if !serving {
            plan.by_ref().for_each(|key| self.load(&Access::get(key, start)));
        }
        let serve = |(at, access): (usize, &Access)| {
            if at % REQUESTS_A_LOAD == 0
                && let Some(key) = plan.next()
            {
                self.load(&Access::get(key, access.at));
            }
            self.serve(access)
        };
        rest.iter().enumerate().map(serve).collect()
    }

    /// Loads a key ahead, unless somebody has asked for it meanwhile.
    fn load(&mut self, access: &Access) {
        if self.shard.peek(access.key).is_none() {
            self.serve(access);
            if self.shard.peek(access.key).is_some() {
                self.warmed.mark(access.key.0);
            }
        }
    }

    fn residents(&self, keys: impl Iterator<Item = KeyHash>) -> HashSet<KeyHash> {
        keys.filter(|key| self.shard.peek(*key).is_some()).collect()
    }
}
