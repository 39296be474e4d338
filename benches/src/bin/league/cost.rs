//! What a policy costs: time a hit and a miss, metadata a resident, and speed beside libcachesim's ThreeLCache.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, ensure};
use larder_benches::peer::{self, Peer};
use larder_benches::workload::Workload;
use larder_benches::{Replay, cpu_seconds, median, target};
use larder_policy::{Access, PolicySpec, Time};
use larder_trace::Request;

use crate::ours::note;
use crate::peers::percent;

/// Objects of one size, enough of them, and both hits and misses.
const TRACE: &str = "w106";

/// Cache sizes, as shares of the distinct keys.
const SHARES: &[f64] = &[0.01, 0.1];

/// Rounds, of which the median counts.
const ROUNDS: usize = 3;

/// Requests of the pass that only hits.
const HITS: usize = 1_000_000;

/// What all others are measured against, on the same shard.
const BASE: &str = "lru";

/// The learner among the peers that a replay is to outrun.
const PEER: &str = "ThreeLCache";

/// All measurements.
pub(crate) struct Costs {
    requests: usize,
    version: String,
    sizes: Vec<Size>,
}

/// Everybody at one size; the base first.
struct Size {
    share: f64,
    objects: u64,
    costs: Vec<Cost>,
    /// The peer's seconds for the trace without decoding it.
    peer: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Cost {
    policy: String,
    /// Seconds for the trace.
    seconds: f64,
    miss_ratio: f64,
    ns_hit: f64,
    ns_miss: f64,
    bytes_per_object: f64,
}

/// The seconds of one replay, of one hit and of one miss.
#[derive(Clone, Copy)]
struct Round {
    replay: f64,
    hit: f64,
    miss: f64,
}

/// Measures the policies and the base in turn with the peer.
pub(crate) fn measure(policies: &[PolicySpec], traces: &Path) -> Result<Costs> {
    let folder = target().join("speed");
    let python = peer::python(&folder)?;
    note("cost: reading");
    let workload = Workload::load(&traces.join(format!("{TRACE}.csv.zst")), &folder)?;
    let stream = Stream::new(&workload.requests);
    let mut peer = Peer::start(&python, &workload)?;
    let mut compared: Vec<PolicySpec> = vec![BASE.parse()?];
    compared.extend(policies.iter().filter(|policy| policy.as_str() != BASE).cloned());
    let mut sizes = Vec::new();
    for &share in SHARES {
        let objects = workload.objects(share);
        let (mut rounds, mut theirs) = (vec![Vec::new(); compared.len()], Vec::new());
        let mut ends = vec![(0.0, 0.0); compared.len()];
        for number in 1..=ROUNDS {
            for (at, policy) in compared.iter().enumerate() {
                note(&format!("cost: {policy} of {objects} objects, round {number} of {ROUNDS}"));
                let mut replay = Replay::new(policy, objects);
                rounds[at].push(round(&mut replay, &stream, |replay| {
                    ends[at] = (replay.miss_ratio(), replay.bytes_per_object());
                })?);
            }
            note(&format!("cost: {PEER} of {objects} objects, round {number} of {ROUNDS}"));
            let decode = peer.decode()?;
            theirs.push(peer.replay(PEER, objects)?.0 - decode);
        }
        let costs = compared.iter().zip(rounds).zip(ends);
        let costs = costs.map(|((policy, rounds), end)| cost(policy, &rounds, end)).collect();
        sizes.push(Size { share, objects, costs, peer: median(theirs) });
    }
    note("");
    Ok(Costs { requests: stream.accesses.len(), version: peer.version.clone(), sizes })
}

/// The trace as the rounds need it.
struct Stream {
    accesses: Vec<Access>,
    /// The last access of every key, latest first.
    latest: Vec<Access>,
}

impl Stream {
    fn new(requests: &[Request]) -> Self {
        let accesses: Vec<Access> = requests.iter().map(Request::access).collect();
        let mut seen = HashSet::new();
        let latest = accesses.iter().rev().filter(|access| seen.insert(access.key)).copied().collect();
        Self { accesses, latest }
    }
}

/// The whole trace from an empty cache; then those of its latest requests that hit whatever it holds in the end; then
/// every key it does not hold, once, so that each misses. `replayed` looks at the cache after the first.
fn round(replay: &mut Replay, stream: &Stream, replayed: impl FnOnce(&Replay)) -> Result<Round> {
    let seconds = timed(|| replay.run_accesses(&stream.accesses)).0;
    replayed(replay);
    let now = stream.accesses.last().map_or(Time(0), |access| access.at);
    let held = stream.accesses.iter().rev().filter(|access| replay.holds(access.key)).take(HITS);
    let mut held: Vec<Access> = held.map(|access| Access { at: now, ..*access }).collect();
    held.reverse();
    let (hit_seconds, hits) = timed(|| replay.look_up(&held));
    // A policy may let go of a resident on a hit; that must stay the exception.
    ensure!(hits > 0 && hits * 100 >= held.len() * 99, "{hits} of {} look-ups of residents hit", held.len());
    let absent = stream.latest.iter().filter(|access| !replay.holds(access.key));
    let absent: Vec<Access> = absent.map(|access| Access { at: now, ..*access }).collect();
    let before = replay.misses;
    let miss_seconds = timed(|| replay.run_accesses(&absent)).0;
    let misses = replay.misses - before;
    ensure!(misses > 0 && misses == absent.len() as u64, "{misses} of {} strangers missed", absent.len());
    Ok(Round { replay: seconds, hit: hit_seconds / hits as f64, miss: miss_seconds / misses as f64 })
}

fn timed<T>(f: impl FnOnce() -> T) -> (f64, T) {
    let start = cpu_seconds();
    let value = f();
    (cpu_seconds() - start, value)
}

fn cost(policy: &PolicySpec, rounds: &[Round], (miss_ratio, bytes_per_object): (f64, f64)) -> Cost {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    Cost {
        policy: policy.to_string(),
        seconds: of(|round| round.replay),
        miss_ratio,
        ns_hit: of(|round| round.hit * 1e9),
        ns_miss: of(|round| round.miss * 1e9),
        bytes_per_object,
    }
}

impl Costs {
    pub(crate) fn section(&self) -> String {
        let mut text = format!(
            "\n## Cost\n\n{TRACE}, {} requests, objects of size 1, one thread's CPU time, the median of {ROUNDS} rounds in which all take \
             turns. *A hit*: a pass over the last requests, up to {HITS}, whose keys are resident after the replay; look-up and policy. *A \
             miss*: a pass over all keys that are not, each once, the latest first; look-up, eviction, insertion and learning. Metadata is all a shard holds but keys and values, ghosts included. *Replay speed*: without decoding, against \
             libcachesim {}'s {PEER} (objective: object miss ratio) replaying the same requests in the same run, from whose time a pass that \
             only decodes is taken off.\n",
            self.requests, self.version,
        );
        for size in &self.sizes {
            text += &size.section(self.requests);
        }
        text
    }
}

impl Size {
    fn section(&self, requests: usize) -> String {
        let mut text = format!(
            "\n### {} = {} objects\n\n| policy | miss ratio % | ns a hit | over {BASE} | ns a miss | of {BASE}'s | bytes a resident | of {BASE}'s \
             | M requests/s | of {PEER}'s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            percent(self.share),
            self.objects
        );
        let rate = |seconds: f64| requests as f64 / seconds / 1e6;
        let base = &self.costs[0];
        for cost in &self.costs {
            text += &format!(
                "| {} | {:.2} | {:.1} | {:+.1} | {:.1} | × {:.2} | {:.0} | × {:.2} | {:.2} | × {:.2} |\n",
                cost.policy,
                cost.miss_ratio * 100.0,
                cost.ns_hit,
                cost.ns_hit - base.ns_hit,
                cost.ns_miss,
                cost.ns_miss / base.ns_miss,
                cost.bytes_per_object,
                cost.bytes_per_object / base.bytes_per_object,
                rate(cost.seconds),
                self.peer / cost.seconds,
            );
        }
        text + &format!("| ({PEER}) | – | – | – | – | – | – | – | {:.2} | × 1.00 |\n", rate(self.peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_set_against_the_base_and_the_peer() {
        let cost = |policy: &str, factor: f64| Cost {
            policy: policy.to_owned(),
            seconds: factor,
            miss_ratio: 0.5,
            ns_hit: 10.0 * factor,
            ns_miss: 40.0 * factor,
            bytes_per_object: 20.0 * factor,
        };
        let size = Size { share: 0.01, objects: 100, costs: vec![cost("lru", 1.0), cost("other", 3.0)], peer: 6.0 };
        let text = size.section(6_000_000);
        let row = "| other | 50.00 | 30.0 | +20.0 | 120.0 | × 3.00 | 60 | × 3.00 | 2.00 | × 2.00 |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| (ThreeLCache) | – | – | – | – | – | – | – | 1.00 | × 1.00 |"), "{text}");
    }

    #[test]
    fn a_round_hits_what_is_resident_and_misses_what_is_not() {
        let keys = (0..10_000u64).map(|at| at * at % 997);
        let requests: Vec<Request> = keys.map(|key| Request { key, size: 1, ..Request::default() }).collect();
        let stream = Stream::new(&requests);
        let distinct: HashSet<u64> = requests.iter().map(|request| request.key).collect();
        assert_eq!((stream.latest.len(), stream.latest[0]), (distinct.len(), requests[9999].access()));
        for policy in ["lru", "s3fifo", "lirs"] {
            let mut replay = Replay::new(&policy.parse().unwrap(), 100);
            let mut misses = 0;
            let round = round(&mut replay, &stream, |replay| misses = replay.misses).unwrap();
            assert!(misses > 100 && replay.misses - misses >= distinct.len() as u64 - 100, "{policy}");
            assert!(round.hit > 0.0 && round.miss > 0.0, "{policy}");
        }
    }
}
