//! Traces that the shipped prior has not learned from in any form. No peer's figures are stored for them: larder's classical policies,
//! whose misses are the peers' wherever both are compared (`tests/golden`), stand in for the peers.

use std::fmt::Write as _;

use anyhow::Result;
use larder_policy::{PolicySpec, eviction};
use larder_sim::{Metric, Outcome, Source};
use larder_trace::Request;

use crate::ours::{Runs, note, take};
use crate::peers::{Cell, Ratios};
use crate::prior::COLD;
use crate::score::{Contestant, League, mean};
use crate::sections::{self, Table, maybe, signed, worst_cell};

/// Who is judged.
pub(crate) const JUDGED: [&str; 2] = ["learned", COLD];

/// Sizes, as those of the peers' file.
const SHARES: [f64; 5] = [0.001, 0.01, 0.05, 0.1, 0.2];

/// Everybody on the cells, with the classical policies as the cells' peers.
pub(crate) struct Unseen {
    cells: Vec<Cell>,
    /// Those of [`JUDGED`], by seed.
    seeds: Vec<Vec<Contestant>>,
}

impl Unseen {
    /// Replays the traces; those without a cell in which something has to leave, or `wants` none of which, are passed over.
    pub(crate) fn replay(runs: &Runs, traces: &[&str], wants: impl Fn(&Cell) -> bool) -> Result<Option<Self>> {
        let classical = classical();
        let policies =
            JUDGED.iter().chain(&classical).map(|name| Ok(name.parse::<PolicySpec>()?)).collect::<Result<Vec<_>>>()?;
        let (mut cells, mut seeds): (Vec<Cell>, Vec<Vec<Contestant>>) = (Vec::new(), Vec::new());
        for (name, number) in traces.iter().zip(1..) {
            note(&format!("never trained on [{number}/{}] {name}", traces.len()));
            let Some(requests) = runs.reads(name)? else { continue };
            let (found, by_seed) = on_trace(runs, name, requests, &policies, &wants)?;
            cells.extend(found);
            seeds.resize_with(by_seed.len().max(seeds.len()), || {
                JUDGED.map(|name| Contestant { name: name.to_owned(), ratios: Vec::new() }).to_vec()
            });
            for (all, more) in seeds.iter_mut().flatten().zip(by_seed.into_iter().flatten()) {
                all.ratios.extend(more.ratios);
            }
        }
        note("");
        Ok((!cells.is_empty()).then_some(Self { cells, seeds }))
    }

    /// Its section of the page.
    pub(crate) fn section(&self, whole: bool) -> String {
        let league = League {
            cells: &self.cells,
            metric: Metric::Requests,
            references: &["lru"],
            shares: &SHARES,
            optimum: None,
        };
        let traces = crate::ours::trace_names(&self.cells);
        let mut text = format!(
            "\n## Never trained on\n\n{} cells of {} traces that the shipped prior has not learned from in any form: {}. Most are \
             small, and some are polls of a feed. Peers are larder's own classical policies here, whose misses are libcachesim's wherever both are compared \
             ([golden counts](../tests/golden/README.md)); the best of them is chosen with hindsight in each cell.\n\n",
            self.cells.len(),
            traces.len(),
            traces.join(", ")
        );
        let ours = self.seeds.first().map_or(&[][..], Vec::as_slice);
        text += &measures(&league, ours);
        text += &against_cold(ours);
        if self.seeds.len() > 1 {
            text += &format!("\n### Seeds, never trained on\n\n{}", sections::seeds(&league, &self.seeds));
        }
        if whole {
            text += &sections::traces(&league, ours, Metric::Requests, &traces);
        }
        text
    }
}

/// The policies that learn nothing and stand for no product.
fn classical() -> Vec<&'static str> {
    let is_other = |name: &str| ["learned", "redis-", "random"].iter().any(|prefix| name.starts_with(prefix));
    let entries = eviction::REGISTRY.iter().filter(|entry| !entry.needs_oracle && !is_other(entry.name));
    entries.map(|entry| entry.name).collect()
}

/// A trace's cells with what the classical policies miss, and what ours miss by seed.
fn on_trace(
    runs: &Runs,
    name: &str,
    requests: Vec<Request>,
    policies: &[PolicySpec],
    wants: impl Fn(&Cell) -> bool,
) -> Result<(Vec<Cell>, Vec<Vec<Contestant>>)> {
    let mut source = Source::requests(name, requests);
    let sizes: Vec<String> = SHARES.iter().map(|share| format!("{}%", share * 100.0)).collect();
    let mut cells = Vec::new();
    let mut seeds = Vec::new();
    for seed in 1..=runs.seeds {
        // Nothing but ours goes by the seed that decides: the classical ones are run once.
        let policies = if seed == 1 { policies } else { &policies[..JUDGED.len()] };
        let outcome = runs.experiment_at(policies, &sizes, seed)?.run(&mut source, &())?;
        if seed == 1 {
            cells = cells_of(&outcome, &wants);
        }
        let none = |name: &str| Contestant { name: name.to_owned(), ratios: vec![None; cells.len()] };
        let mut contestants = JUDGED.map(none).to_vec();
        take(&outcome, &mut contestants, name, &cells);
        seeds.push(contestants);
    }
    Ok((cells, seeds))
}

/// Each size once, where something has to leave.
fn cells_of(outcome: &Outcome, wants: impl Fn(&Cell) -> bool) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for (at, cell) in outcome.cells.iter().enumerate() {
        let (record, share) = (&cell.record, SHARES[at % SHARES.len()]);
        if record.evictions > 0 && !cells.iter().any(|cell| cell.capacity == record.capacity) {
            let Outcome { trace, requests, .. } = outcome;
            let (capacity, requests) = (record.capacity, *requests);
            cells.push(Cell { trace: trace.clone(), share, capacity, requests, ..Cell::default() });
        }
    }
    cells.retain(wants);
    for record in outcome.cells.iter().map(|cell| &cell.record) {
        let cell = cells.iter_mut().find(|cell| cell.capacity == record.capacity);
        if let Some(cell) =
            cell.filter(|cell| !JUDGED.contains(&record.policy.as_str()) && cell.peer(&record.policy).is_none())
        {
            let ratios = Ratios { requests: record.miss_ratio, bytes: record.byte_miss_ratio };
            cell.peers.push((record.policy.clone(), ratios));
        }
    }
    cells
}

/// One row a policy, ours first.
fn measures(league: &League<'_>, ours: &[Contestant]) -> String {
    let header = ["policy", "cells", "vs lru", "vs best", "worst vs best", "wins / ties / losses"];
    let mut table = Table::new(&header.map(str::to_owned));
    for score in sections::scores(league, ours) {
        table.row(&[
            score.policy.clone(),
            score.cells.to_string(),
            maybe(score.against.first().copied().flatten(), signed),
            signed(score.against_best),
            worst_cell(Some(&score.worst_best)),
            format!("{} / {} / {}", score.wins, score.ties, score.losses),
        ]);
    }
    table.text
}

/// What the prior does to each cell's cold start.
fn against_cold(ours: &[Contestant]) -> String {
    let [prior, cold] = ours else { return String::new() };
    let pairs = prior.ratios.iter().zip(&cold.ratios).filter_map(|(prior, cold)| Some((*prior)?).zip(*cold));
    let reductions: Vec<f64> =
        pairs.map(|(prior, cold)| larder_sim::reduction(cold.requests, prior.requests)).collect();
    let count = |is: fn(f64) -> bool| reductions.iter().filter(|&&reduction| is(reduction)).count();
    let (better, worse) = (count(|reduction| reduction > 0.0), count(|reduction| reduction < 0.0));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\nThe prior beside the cold start: a reduction of {} in the mean, better in {better} cells and worse in {worse}.\n",
        maybe(mean(reductions.iter().copied()), signed)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_policy::Weigh;
    use std::num::NonZeroUsize;

    #[test]
    fn the_classical_policies_are_the_peers() {
        let names = classical();
        assert!(["lru", "s3fifo", "arc", "wtinylfu"].iter().all(|name| names.contains(name)), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("learned") || name.starts_with("belady")), "{names:?}");

        let runs = Runs { traces: "".into(), weigh: Weigh::Objects, seeds: 2, threads: NonZeroUsize::MIN };
        let policies: Vec<PolicySpec> = ["learned", COLD, "lru", "fifo"].map(|name| name.parse().unwrap()).to_vec();
        let requests = (0..4000u64).map(|at| Request { key: at * at % 701, size: 1, ..Request::default() }).collect();
        let (cells, seeds) = on_trace(&runs, "a", requests, &policies, |_| true).unwrap();
        // Shares below 64 objects come to the same.
        assert_eq!(cells.iter().map(|cell| cell.capacity).collect::<Vec<_>>(), [64, 70]);
        let names: Vec<&str> = cells[0].peers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, seeds.len()), (vec!["lru", "fifo"], 2));
        assert!(seeds.iter().flatten().all(|ours| ours.ratios.iter().all(Option::is_some)));
        let page = Unseen { cells, seeds }.section(true);
        for part in
            ["## Never trained on", "| learned | 2 |", "| (fifo) | 2 |", "The prior beside the cold start: ", "#### a"]
        {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }
}
