//! What a policy costs: time a hit and a miss, metadata a resident, and speed beside libcachesim's ThreeLCache.

use std::path::Path;

use anyhow::{Result, ensure};
use larder_benches::peer::{self, Peer};
use larder_benches::workload::Workload;
use larder_benches::{Replay, cpu_seconds, median, target};
use larder_policy::{Access, PolicySpec};
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

/// One replay.
#[derive(Clone, Copy)]
struct Round {
    seconds: f64,
    requests: u64,
    misses: u64,
    /// Of one hit, in a pass that only hits.
    hit_seconds: f64,
}

impl Round {
    /// What is left of the replay once its hits are paid, in ns a miss. None without misses.
    fn ns_miss(&self) -> Option<f64> {
        let hits = (self.requests - self.misses) as f64;
        (self.misses > 0).then(|| (self.seconds - hits * self.hit_seconds) / self.misses as f64 * 1e9)
    }
}

/// Measures the policies and the base in turn with the peer.
pub(crate) fn measure(policies: &[PolicySpec], traces: &Path) -> Result<Costs> {
    let folder = target().join("speed");
    let python = peer::python(&folder)?;
    note("cost: reading");
    let workload = Workload::load(&traces.join(format!("{TRACE}.csv.zst")), &folder)?;
    let accesses: Vec<Access> = workload.requests.iter().map(Request::access).collect();
    let mut peer = Peer::start(&python, &workload)?;
    let mut compared: Vec<PolicySpec> = vec![BASE.parse()?];
    compared.extend(policies.iter().filter(|policy| policy.as_str() != BASE).cloned());
    let mut sizes = Vec::new();
    for &share in SHARES {
        let objects = workload.objects(share);
        let (mut rounds, mut theirs) = (vec![Vec::new(); compared.len()], Vec::new());
        let mut bytes = vec![0.0; compared.len()];
        for number in 1..=ROUNDS {
            for (at, policy) in compared.iter().enumerate() {
                note(&format!("cost: {policy} of {objects} objects, round {number} of {ROUNDS}"));
                let (round, replay) = round(policy, objects, &accesses)?;
                rounds[at].push(round);
                bytes[at] = replay.bytes_per_object();
            }
            note(&format!("cost: {PEER} of {objects} objects, round {number} of {ROUNDS}"));
            let decode = peer.decode()?;
            theirs.push(peer.replay(PEER, objects)?.0 - decode);
        }
        let costs = compared.iter().zip(rounds).zip(bytes);
        let costs = costs.map(|((policy, rounds), bytes)| cost(policy, &rounds, bytes)).collect();
        sizes.push(Size { share, objects, costs, peer: median(theirs) });
    }
    note("");
    Ok(Costs { requests: accesses.len(), version: peer.version.clone(), sizes })
}

/// The whole trace from an empty cache, then those of its requests that hit whatever it holds in the end.
fn round(policy: &PolicySpec, objects: u64, accesses: &[Access]) -> Result<(Round, Replay)> {
    let mut replay = Replay::new(policy, objects);
    let start = cpu_seconds();
    replay.run_accesses(accesses);
    let seconds = cpu_seconds() - start;
    let mut hitting: Vec<Access> =
        accesses.iter().rev().filter(|access| replay.holds(access.key)).take(HITS).copied().collect();
    hitting.reverse();
    let start = cpu_seconds();
    let hits = replay.look_up(&hitting);
    let spent = cpu_seconds() - start;
    // A policy may let go of a resident on a hit; that must stay the exception.
    ensure!(hits > 0 && hits * 100 >= hitting.len() * 99, "{policy}: {hits} of {} look-ups hit", hitting.len());
    let hit_seconds = spent / hits as f64;
    Ok((Round { seconds, requests: replay.requests, misses: replay.misses, hit_seconds }, replay))
}

fn cost(policy: &PolicySpec, rounds: &[Round], bytes_per_object: f64) -> Cost {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    Cost {
        policy: policy.to_string(),
        seconds: of(|round| round.seconds),
        miss_ratio: of(|round| round.misses as f64 / round.requests as f64),
        ns_hit: of(|round| round.hit_seconds * 1e9),
        ns_miss: of(|round| round.ns_miss().unwrap_or(0.0)),
        bytes_per_object,
    }
}

impl Costs {
    pub(crate) fn section(&self) -> String {
        let mut text = format!(
            "\n## Cost\n\n{TRACE}, {} requests, objects of size 1, one thread's CPU time, the median of {ROUNDS} rounds in which all take \
             turns. *A hit*: a pass over the last requests, up to {HITS}, whose keys are resident after the replay; hash, look-up and policy. *A \
             miss*: what is left of the replay when its hits are paid at that price, by the misses; it holds look-up, eviction, insertion and \
             learning. Metadata is all a shard holds but keys and values, ghosts included. *Replay speed*: without decoding, against \
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
    fn a_miss_costs_what_the_hits_leave() {
        let round = Round { seconds: 2.0, requests: 1_000_000, misses: 250_000, hit_seconds: 1e-6 };
        assert!((round.ns_miss().unwrap() - 5000.0).abs() < 1e-6);
        assert_eq!(Round { misses: 0, ..round }.ns_miss(), None);
    }

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
    fn a_round_hits_whatever_is_resident() {
        let accesses: Vec<Access> =
            (0..10_000u64).map(|at| Request { key: at * at % 997, size: 1, ..Request::default() }.access()).collect();
        let (round, replay) = round(&"lru".parse().unwrap(), 100, &accesses).unwrap();
        assert!(round.misses > 0 && round.misses < round.requests && round.hit_seconds > 0.0);
        assert!(replay.bytes_per_object() > 0.0);
    }
}
