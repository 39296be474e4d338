//! The arithmetic of the league: how far a policy is from FIFO, LRU, the best peer and the optimum.

use larder_sim::{Metric, gap_closed, reduction};

use crate::peers::{Cell, Ratios};

/// Ratios this close are equal: the peers' file holds seven digits.
pub(crate) const TIE: f64 = 1e-6;

/// Where LRU and the optimum are closer than this there is no gap to close.
const LEAST_GAP: f64 = 0.01;

/// The peer whose distance to the optimum is the gap, and that learners fall back to.
pub(crate) const LRU: &str = "LRU";

/// A reduction against the best peer below this is a bad loss.
pub(crate) const BAD: f64 = -0.03;

/// Somebody in the league: one of larder's policies or a peer.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    /// By cell; none where it was not run or did not end.
    pub(crate) ratios: Vec<Option<Ratios>>,
}

/// What is scored: the cells, by which miss ratio, and against whom beside the best peer.
#[derive(Clone, Copy)]
pub(crate) struct League<'a> {
    pub(crate) cells: &'a [Cell],
    pub(crate) metric: Metric,
    /// Peers' names.
    pub(crate) references: &'a [&'a str],
    /// The sizes told apart, as shares.
    pub(crate) shares: &'a [f64],
    /// The peer nobody can beat, where there is one.
    pub(crate) optimum: Option<&'a str>,
}

/// How a policy stands in a cell against its best peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Win,
    Tie,
    Loss,
}

/// A contestant over all cells. Reductions and gaps are shares, not percent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Score {
    pub(crate) policy: String,
    /// Cells it was scored in.
    pub(crate) cells: usize,
    /// Mean reduction against each of the references.
    pub(crate) against: Vec<Option<f64>>,
    /// Mean reduction against the best peer of each cell.
    pub(crate) against_best: f64,
    /// Its worst cell against the best peer, and by how much.
    pub(crate) worst_best: (f64, String),
    /// Its worst cell against LRU.
    pub(crate) worst_lru: Option<(f64, String)>,
    /// Cells in which the reduction against the best peer is below [`BAD`].
    pub(crate) bad: usize,
    /// Mean reduction against the best peer, by size.
    pub(crate) by_share: Vec<Option<f64>>,
    /// Mean share of the gap between LRU and Bélády that is closed, over the cells with a gap.
    pub(crate) gap_closed: Option<f64>,
    pub(crate) wins: usize,
    pub(crate) ties: usize,
    pub(crate) losses: usize,
}

impl<'a> League<'a> {
    /// The peers in the order of the file, those that know the future last.
    pub(crate) fn peers(&self) -> Vec<Contestant> {
        let mut names: Vec<&str> = Vec::new();
        for cell in self.cells {
            for (name, _) in &cell.peers {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        names.sort_by_key(|name| crate::peers::is_clairvoyant(name));
        let contestant = |name: &str| Contestant {
            name: name.to_owned(),
            ratios: self.cells.iter().map(|cell| cell.peer(name)).collect(),
        };
        names.into_iter().map(contestant).collect()
    }

    /// The best peer of each cell: a choice nobody could make beforehand.
    pub(crate) fn oracle(&self) -> Contestant {
        let best = |cell: &Cell| {
            let ratio = cell.best(self.metric)?.1;
            Some(Ratios { requests: ratio, bytes: ratio })
        };
        let name = "best peer of each cell".to_owned();
        Contestant { name, ratios: self.cells.iter().map(best).collect() }
    }

    /// In how many of its cells a peer missed exactly as LRU did, and how many cells it has.
    pub(crate) fn equal_to_lru(&self, peer: &str) -> (usize, usize) {
        let pairs = self.cells.iter().filter_map(|cell| Some((cell.peer(peer)?, cell.peer(LRU)?)));
        pairs.fold((0, 0), |(equal, all), (one, lru)| (equal + usize::from(one == lru), all + 1))
    }

    /// A contestant's reduction against the best peer in a cell, with its standing.
    pub(crate) fn against_best(&self, contestant: &Contestant, cell: usize) -> Option<(f64, Standing)> {
        let ratio = contestant.ratios.get(cell).copied().flatten()?.of(self.metric);
        let best = self.cells[cell].best(self.metric)?.1;
        let standing = match best - ratio {
            lead if lead.abs() <= TIE => Standing::Tie,
            lead if lead > 0.0 => Standing::Win,
            _ => Standing::Loss,
        };
        Some((if standing == Standing::Tie { 0.0 } else { reduction(best, ratio) }, standing))
    }

    /// The score over the cells the contestant has; none without any.
    pub(crate) fn score(&self, contestant: &Contestant) -> Option<Score> {
        self.score_where(contestant, |_| true)
    }

    /// The score over some of the cells.
    pub(crate) fn score_where(&self, contestant: &Contestant, wanted: impl Fn(&Cell) -> bool) -> Option<Score> {
        let scored: Vec<(&Cell, f64, f64, Standing)> = (0..self.cells.len())
            .filter(|&at| wanted(&self.cells[at]))
            .filter_map(|at| {
                let (reduction, standing) = self.against_best(contestant, at)?;
                Some((&self.cells[at], contestant.ratios[at]?.of(self.metric), reduction, standing))
            })
            .collect();
        let against = |name: &str| -> Vec<(f64, &Cell)> {
            let of = |cell: &Cell| cell.peer(name).map(|ratios| ratios.of(self.metric));
            scored.iter().filter_map(|(cell, ratio, ..)| Some((reduction(of(cell)?, *ratio), *cell))).collect()
        };
        let standing = |wanted| scored.iter().filter(|(.., standing)| *standing == wanted).count();
        let gap = |cell: &Cell, ratio: f64| {
            let of = |name: &str| cell.peer(name).map(|ratios| ratios.of(self.metric));
            let (lru, optimum) = (of(LRU)?, of(self.optimum?)?);
            if lru - optimum > LEAST_GAP { gap_closed(lru, optimum, ratio) } else { None }
        };
        let of_share = |share: f64| {
            mean(scored.iter().filter(|(cell, ..)| cell.share == share).map(|(_, _, reduction, _)| *reduction))
        };
        Some(Score {
            policy: contestant.name.clone(),
            cells: scored.len(),
            against: self.references.iter().map(|name| mean(against(name).iter().map(|(value, _)| *value))).collect(),
            against_best: mean(scored.iter().map(|(_, _, reduction, _)| *reduction))?,
            worst_best: worst(scored.iter().map(|(cell, _, reduction, _)| (*reduction, *cell)))?,
            worst_lru: worst(against(LRU).into_iter()),
            bad: scored.iter().filter(|(_, _, reduction, _)| *reduction < BAD).count(),
            by_share: self.shares.iter().map(|&share| of_share(share)).collect(),
            gap_closed: mean(scored.iter().filter_map(|(cell, ratio, ..)| gap(cell, *ratio))),
            wins: standing(Standing::Win),
            ties: standing(Standing::Tie),
            losses: standing(Standing::Loss),
        })
    }
}

fn worst<'a>(values: impl Iterator<Item = (f64, &'a Cell)>) -> Option<(f64, String)> {
    values.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(value, cell)| (value, cell.name()))
}

/// None without values.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(trace: &str, share: f64, peers: &[(&str, f64)]) -> Cell {
        let ratios = |ratio| Ratios { requests: ratio, bytes: 1.0 - ratio };
        let peers = peers.iter().map(|&(name, ratio)| (name.to_owned(), ratios(ratio))).collect();
        Cell { trace: trace.to_owned(), share, capacity: 64, requests: 1000, peers, ..Cell::default() }
    }

    /// Three cells made by hand: a win, a bad loss in a cell without a gap, and a tie.
    fn cells() -> Vec<Cell> {
        vec![
            cell("a", 0.01, &[("FIFO", 0.8), ("LRU", 0.6), ("S3FIFO", 0.5), ("Belady", 0.2)]),
            cell("a", 0.2, &[("FIFO", 0.4), ("LRU", 0.205), ("S3FIFO", 0.21), ("Belady", 0.2)]),
            cell("b", 0.2, &[("FIFO", 0.5), ("LRU", 0.5), ("S3FIFO", 0.5), ("Belady", 0.25)]),
        ]
    }

    fn ours(ratios: [Option<f64>; 3]) -> Contestant {
        let ratios = ratios.map(|ratio| ratio.map(|ratio| Ratios { requests: ratio, bytes: 1.0 - ratio })).to_vec();
        Contestant { name: "ours".to_owned(), ratios }
    }

    fn league(cells: &[Cell]) -> League<'_> {
        League {
            cells,
            metric: Metric::Requests,
            references: &["FIFO", "LRU"],
            shares: &[0.01, 0.2],
            optimum: Some("Belady"),
        }
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn a_score_is_the_mean_over_the_cells() {
        let cells = cells();
        let score = league(&cells).score(&ours([Some(0.4), Some(0.41), Some(0.5)])).unwrap();
        let best = [(0.5 - 0.4) / 0.5, (0.205 - 0.41) / 0.41, 0.0];
        near(score.against_best, best.iter().sum::<f64>() / 3.0);
        near(score.against[0].unwrap(), ((0.8 - 0.4) / 0.8 + (0.4 - 0.41) / 0.41 + 0.0) / 3.0);
        near(score.against[1].unwrap(), ((0.6 - 0.4) / 0.6 + (0.205 - 0.41) / 0.41 + 0.0) / 3.0);
        near(score.worst_best.0, -0.5);
        assert_eq!(score.worst_best.1, "a 20 %");
        assert_eq!(score.worst_lru.as_ref().unwrap().1, "a 20 %");
        near(score.by_share[0].unwrap(), 0.2);
        near(score.by_share[1].unwrap(), -0.25);
        assert_eq!((score.cells, score.wins, score.ties, score.losses, score.bad), (3, 1, 1, 1, 1));
    }

    #[test]
    fn a_gap_too_small_to_close_is_left_out() {
        let cells = cells();
        // The second cell's gap is 0.005.
        let score = league(&cells).score(&ours([Some(0.4), Some(0.41), Some(0.4)])).unwrap();
        near(score.gap_closed.unwrap(), (0.2 / 0.4 + 0.1 / 0.25) / 2.0);
        let optimum = league(&cells).peers().pop().unwrap();
        assert_eq!(optimum.name, "Belady");
        near(league(&cells).score(&optimum).unwrap().gap_closed.unwrap(), 1.0);
    }

    #[test]
    fn cells_a_contestant_lacks_do_not_count() {
        let cells = cells();
        let score = league(&cells).score(&ours([None, None, Some(0.25)])).unwrap();
        assert_eq!((score.cells, score.by_share[0]), (1, None));
        near(score.against_best, 0.5);
        assert_eq!(league(&cells).score(&ours([None; 3])), None);
        let of_b = league(&cells).score_where(&ours([Some(0.1), Some(0.1), Some(0.25)]), |cell| cell.trace == "b");
        near(of_b.unwrap().against_best, 0.5);
    }

    #[test]
    fn the_last_digit_of_the_file_is_no_win() {
        let cells = cells();
        let league = league(&cells);
        let standing = |ratio| league.against_best(&ours([Some(ratio), None, None]), 0).unwrap();
        assert_eq!(standing(0.500_000_9), (0.0, Standing::Tie));
        assert_eq!(standing(0.499_9).1, Standing::Win);
        assert_eq!(standing(0.500_1).1, Standing::Loss);
    }

    #[test]
    fn bytes_are_scored_by_their_own_ratio() {
        let cells = cells();
        let league = League { metric: Metric::Bytes, ..league(&cells) };
        let (reduction, standing) = league.against_best(&ours([Some(0.9), None, None]), 0).unwrap();
        near(reduction, (0.2 - 0.1) / 0.2);
        assert_eq!(standing, Standing::Win);
    }

    #[test]
    fn without_an_optimum_there_is_no_gap() {
        let cells = cells();
        let league = League { optimum: None, ..league(&cells) };
        assert_eq!(league.score(&ours([Some(0.4); 3])).unwrap().gap_closed, None);
        assert_eq!(league.equal_to_lru("S3FIFO"), (1, 3));
        assert_eq!(league.equal_to_lru("LRB"), (0, 0));
    }

    #[test]
    fn the_oracle_is_even_with_itself() {
        let cells = cells();
        let league = league(&cells);
        let score = league.score(&league.oracle()).unwrap();
        assert_eq!((score.against_best, score.ties), (0.0, 3));
        near(score.against[1].unwrap(), ((0.6 - 0.5) / 0.6 + 0.0 + 0.0) / 3.0);
    }
}
