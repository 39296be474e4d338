//! The tables of the page, each a function from the league to Markdown.

use std::fmt::Write as _;

use larder_sim::Metric;

use crate::peers::{Cell, Ratios, is_clairvoyant, percent};
use crate::score::{BAD, Contestant, League, Score, Standing, mean};

/// Worst cells shown.
const WORST: usize = 12;

/// Peers that train on large batches: a short trace ends before the first.
const LEARNERS: &[&str] = &["ThreeLCache", "ThreeLCache-bytes", "LRB", "LRB-bytes"];

/// One row a contestant: ours, the best peer of each cell, then the peers from the best on average to the worst.
pub(crate) fn measures(league: &League<'_>, ours: &[Contestant]) -> String {
    let references: Vec<String> = league.references.iter().map(|name| format!("vs {name}")).collect();
    let mut header = vec!["policy".to_owned(), "cells".to_owned()];
    header.extend(references);
    header.push("vs best".to_owned());
    header.push(format!("cells < {:.0} %", BAD * 100.0));
    header.extend(["worst vs best", "worst vs LRU", "gap closed", "wins / ties / losses"].map(str::to_owned));
    let mut table = Table::new(&header);
    for score in scores(league, ours) {
        let mut row = vec![score.policy.clone(), score.cells.to_string()];
        row.extend(score.against.iter().map(|value| maybe(*value, signed)));
        let bad = score.bad.to_string();
        row.extend([signed(score.against_best), bad, worst_cell(Some(&score.worst_best))]);
        row.push(worst_cell(score.worst_lru.as_ref()));
        row.push(maybe(score.gap_closed, |gap| format!("{:.1} %", gap * 100.0)));
        row.push(format!("{} / {} / {}", score.wins, score.ties, score.losses));
        table.row(&row);
    }
    table.text
}

/// The mean reduction against the best peer, for each size.
pub(crate) fn by_size(league: &League<'_>, ours: &[Contestant]) -> String {
    let mut header = vec!["policy".to_owned()];
    header.extend(league.shares.iter().map(|&share| percent(share)));
    let mut table = Table::new(&header);
    for score in scores(league, ours) {
        let mut row = vec![score.policy.clone()];
        row.extend(score.by_share.iter().map(|value| maybe(*value, signed)));
        table.row(&row);
    }
    table.text
}

/// The mean reduction against the best peer of ours alone, for each domain.
pub(crate) fn by_domain<'a>(league: &League<'a>, ours: &[Contestant], domain: impl Fn(&str) -> &'a str) -> String {
    let mut domains: Vec<&str> = league.cells.iter().map(|cell| domain(&cell.trace)).collect();
    domains.sort_unstable();
    domains.dedup();
    let mut header = vec!["domain".to_owned(), "cells".to_owned()];
    header.extend(ours.iter().map(|contestant| contestant.name.clone()));
    let mut table = Table::new(&header);
    for name in domains {
        let is_here = |cell: &Cell| domain(&cell.trace) == name;
        let mut row = vec![name.to_owned(), league.cells.iter().filter(|cell| is_here(cell)).count().to_string()];
        row.extend(
            ours.iter().map(|contestant| {
                maybe(league.score_where(contestant, is_here).map(|score| score.against_best), signed)
            }),
        );
        table.row(&row);
    }
    table.text
}

/// The spread of the measures over the seeds.
pub(crate) fn seeds(league: &League<'_>, seeds: &[Vec<Contestant>]) -> String {
    let header = ["policy", "vs best: mean of seeds", "standard deviation", "least", "most", "worst cell of all seeds"];
    let mut table = Table::new(&header.map(str::to_owned));
    let policies = seeds.first().map_or(0, Vec::len);
    for at in 0..policies {
        let scores: Vec<Score> = seeds.iter().filter_map(|contestants| league.score(&contestants[at])).collect();
        let values: Vec<f64> = scores.iter().map(|score| score.against_best).collect();
        let worst = scores.iter().map(|score| &score.worst_best).min_by(|one, other| one.0.total_cmp(&other.0));
        let Some((average, deviation)) = spread(&values) else { continue };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        table.row(&[
            seeds[0][at].name.clone(),
            signed(average),
            format!("{:.2}", deviation * 100.0),
            signed(least),
            signed(most),
            worst_cell(worst),
        ]);
    }
    table.text
}

/// The cells in which a contestant is furthest behind the best peer.
pub(crate) fn losses(league: &League<'_>, judged: &Contestant) -> String {
    let mut lost: Vec<(f64, usize)> = (0..league.cells.len())
        .filter_map(|at| Some((league.against_best(judged, at)?, at)))
        .filter(|((_, standing), _)| *standing == Standing::Loss)
        .map(|((reduction, _), at)| (reduction, at))
        .collect();
    lost.sort_by(|one, other| one.0.total_cmp(&other.0));
    let count = lost.len();
    let mut table = Table::new(&["cell", "vs best", "miss ratio", "best peer", "its miss ratio"].map(str::to_owned));
    for (reduction, at) in lost.into_iter().take(WORST) {
        let cell = &league.cells[at];
        let Some((ours, (peer, best))) = judged.ratios[at].zip(cell.best(league.metric)) else { continue };
        let (ours, best) = (points(ours.of(league.metric)), points(best));
        table.row(&[cell.name(), signed(reduction), ours, peer.to_owned(), best]);
    }
    match count {
        0 => "It loses nowhere.\n".to_owned(),
        _ => format!("{}\nThe worst {} of {count} lost cells.\n", table.text, count.min(WORST)),
    }
}

/// Peers that did not get to the end somewhere, or were not run there.
pub(crate) fn failures(league: &League<'_>) -> String {
    let failed = league.cells.iter().flat_map(|cell| {
        cell.failed.iter().map(|(peer, why)| format!("{peer} {} ({why})", cell.name())).collect::<Vec<_>>()
    });
    let failed: Vec<String> = failed.collect();
    let absent: Vec<String> = league.peers().iter().filter_map(|peer| absences(league, peer)).collect();
    let mut text = String::new();
    for (what, list) in [("Peers without a result", failed), ("Peers not run", absent)] {
        if !list.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(text, "\n{what}: {}.\n", list.join(", "));
        }
    }
    text
}

/// The traces a peer has cells without a row in.
fn absences(league: &League<'_>, peer: &Contestant) -> Option<String> {
    let is_absent = |(cell, ratios): &(&Cell, &Option<Ratios>)| {
        ratios.is_none() && cell.failed.iter().all(|(name, _)| *name != peer.name)
    };
    let mut traces: Vec<&str> =
        league.cells.iter().zip(&peer.ratios).filter(is_absent).map(|(cell, _)| cell.trace.as_str()).collect();
    traces.dedup();
    if traces.is_empty() { None } else { Some(format!("{} on {}", peer.name, traces.join(" and "))) }
}

/// The learners among the peers that never got to learn.
pub(crate) fn untrained(league: &League<'_>) -> String {
    let told: Vec<String> = LEARNERS
        .iter()
        .map(|name| (name, league.equal_to_lru(name)))
        .filter(|(_, (equal, _))| *equal > 0)
        .map(|(name, (equal, all))| format!("{name} in {equal} of {all} cells"))
        .collect();
    if told.is_empty() {
        return String::new();
    }
    format!(
        "\nPeers that evict as LRU does until they have trained, and missed exactly what LRU missed: {}.\n",
        told.join(", ")
    )
}

/// A table for each trace: everybody at every size.
pub(crate) fn traces(league: &League<'_>, ours: &[Contestant], metric: Metric, traces: &[&str]) -> String {
    let name = match metric {
        Metric::Requests => "object miss ratio",
        Metric::Bytes => "byte miss ratio",
    };
    let mut text = format!(
        "\n### Every trace, size and peer, {name} in %\n\n**Bold** is the best peer; ours carry their reduction against \
         it and win, tie or loss.\n"
    );
    for trace in traces {
        let cells: Vec<usize> = (0..league.cells.len()).filter(|&at| league.cells[at].trace == *trace).collect();
        // Writing to a string does not fail.
        let _ = write!(text, "\n#### {trace}\n\n{}", trace_table(league, ours, &cells));
    }
    text
}

fn trace_table(league: &League<'_>, ours: &[Contestant], cells: &[usize]) -> String {
    let mut header = vec!["policy".to_owned()];
    header.extend(cells.iter().map(|&at| {
        let cell = &league.cells[at];
        format!("{} = {}", percent(cell.share), cell.capacity)
    }));
    let mut table = Table::new(&header);
    for contestant in ours {
        let mut row = vec![contestant.name.clone()];
        row.extend(cells.iter().map(|&at| our_cell(league, contestant, at)));
        table.row(&row);
    }
    for peer in league.peers() {
        let mut row = vec![format!("({})", peer.name)];
        row.extend(cells.iter().map(|&at| their_cell(league, &peer, at)));
        if row[1..].iter().any(|field| field != NOTHING) {
            table.row(&row);
        }
    }
    table.text
}

fn our_cell(league: &League<'_>, contestant: &Contestant, at: usize) -> String {
    let Some(ratios) = contestant.ratios[at] else { return NOTHING.to_owned() };
    let ratio = points(ratios.of(league.metric));
    match league.against_best(contestant, at) {
        Some((_, Standing::Tie)) => format!("{ratio} (tie)"),
        Some((reduction, Standing::Win)) => format!("{ratio} ({}, win)", signed(reduction)),
        Some((reduction, Standing::Loss)) => format!("{ratio} ({}, loss)", signed(reduction)),
        None => ratio,
    }
}

fn their_cell(league: &League<'_>, peer: &Contestant, at: usize) -> String {
    let cell = &league.cells[at];
    match peer.ratios[at] {
        Some(ratios) => {
            let is_best = cell.best(league.metric).is_some_and(|(best, _)| best == peer.name);
            let ratio = points(ratios.of(league.metric));
            if is_best { format!("**{ratio}**") } else { ratio }
        }
        None => cell.failed.iter().find(|(name, _)| *name == peer.name).map_or(NOTHING, |(_, why)| why).to_owned(),
    }
}

pub(crate) fn scores(league: &League<'_>, ours: &[Contestant]) -> Vec<Score> {
    let mut peers: Vec<Score> = league
        .peers()
        .iter()
        .filter_map(|peer| {
            let score = league.score(peer)?;
            Some(Score { policy: format!("({})", score.policy), ..score })
        })
        .collect();
    let is_bound = |score: &Score| is_clairvoyant(score.policy.trim_matches(['(', ')']));
    peers.sort_by(|one, other| {
        is_bound(one).cmp(&is_bound(other)).then(other.against_best.total_cmp(&one.against_best))
    });
    let mut scores: Vec<Score> = ours.iter().chain([&league.oracle()]).filter_map(|one| league.score(one)).collect();
    scores.extend(peers);
    scores
}

/// Mean and standard deviation of a sample (n − 1); none without values.
fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let average = mean(values.iter().copied())?;
    let squares: f64 = values.iter().map(|value| (value - average).powi(2)).sum();
    Some((average, (squares / (values.len().max(2) - 1) as f64).sqrt()))
}

const NOTHING: &str = "–";

pub(crate) fn maybe<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), show)
}

/// A share in percent with its sign.
pub(crate) fn signed(share: f64) -> String {
    // Rounded first, so that nothing reads as -0.00.
    format!("{:+.2}", (share * 1e4).round() / 100.0 + 0.0)
}

/// A miss ratio in percent.
fn points(ratio: f64) -> String {
    format!("{:.2}", ratio * 100.0)
}

pub(crate) fn worst_cell(cell: Option<&(f64, String)>) -> String {
    maybe(cell, |(reduction, name)| format!("{} ({name})", signed(*reduction)))
}

/// A Markdown table, the first column text and the others numbers.
pub(crate) struct Table {
    pub(crate) text: String,
}

impl Table {
    pub(crate) fn new(header: &[String]) -> Self {
        let rule = format!("|---|{}", "--:|".repeat(header.len() - 1));
        Self { text: format!("| {} |\n{rule}\n", header.join(" | ")) }
    }

    pub(crate) fn row(&mut self, fields: &[String]) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "| {} |", fields.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios(ratio: f64) -> Ratios {
        Ratios { requests: ratio, bytes: ratio }
    }

    fn cells() -> Vec<Cell> {
        let peers = |values: [f64; 3]| {
            ["LRU", "S3FIFO", "Belady"]
                .iter()
                .zip(values)
                .map(|(name, value)| ((*name).to_owned(), ratios(value)))
                .collect()
        };
        let cell = |trace: &str, values| Cell {
            trace: trace.to_owned(),
            share: 0.01,
            capacity: 64,
            peers: peers(values),
            failed: vec![("LRB".to_owned(), "TIMEOUT".to_owned())],
            ..Cell::default()
        };
        vec![cell("a", [0.5, 0.4, 0.2]), cell("b", [0.4, 0.5, 0.2])]
    }

    fn ours(values: [f64; 2]) -> Contestant {
        Contestant { name: "ours".to_owned(), ratios: values.map(|value| Some(ratios(value))).to_vec() }
    }

    fn league(cells: &[Cell]) -> League<'_> {
        League { cells, metric: Metric::Requests, references: &["LRU"], shares: &[0.01], optimum: Some("Belady") }
    }

    #[test]
    fn wins_and_losses_stand_beside_the_peers() {
        let cells = cells();
        let page = traces(&league(&cells), &[ours([0.2, 0.5])], Metric::Requests, &["a", "b"]);
        assert!(page.contains("| ours | 20.00 (+50.00, win) |"), "{page}");
        assert!(page.contains("| ours | 50.00 (-20.00, loss) |"), "{page}");
        assert!(page.contains("| (S3FIFO) | **40.00** |") && page.contains("| (LRU) | **40.00** |"), "{page}");
        assert!(page.contains("| (Belady) | 20.00 |"), "{page}");
    }

    #[test]
    fn what_a_peer_lacks_is_told() {
        let mut cells = cells();
        assert_eq!(failures(&league(&cells)), "\nPeers without a result: LRB a 1 % (TIMEOUT), LRB b 1 % (TIMEOUT).\n");
        cells[1].peers.retain(|(name, _)| name != "S3FIFO");
        assert!(failures(&league(&cells)).ends_with("\nPeers not run: S3FIFO on b.\n"));
    }

    #[test]
    fn measures_hold_every_contestant() {
        let cells = cells();
        let text = measures(&league(&cells), &[ours([0.2, 0.5])]);
        let names: Vec<&str> = text.lines().skip(2).filter_map(|line| line.split(" | ").next()).collect();
        assert_eq!(names, ["| ours", "| best peer of each cell", "| (LRU)", "| (S3FIFO)", "| (Belady)"]);
        assert!(
            text.contains("| ours | 2 | +20.00 | +15.00 | 1 | -20.00 (b 1 %) | -20.00 (b 1 %) | 25.0 % | 1 / 0 / 1 |")
        );
    }

    #[test]
    fn losses_are_those_of_one_and_sorted() {
        let cells = cells();
        assert_eq!(losses(&league(&cells), &ours([0.2, 0.4])), "It loses nowhere.\n");
        let text = losses(&league(&cells), &ours([0.5, 0.8]));
        let order: Vec<&str> = text.lines().skip(2).take(2).collect();
        assert_eq!(order, ["| b 1 % | -50.00 | 80.00 | LRU | 40.00 |", "| a 1 % | -20.00 | 50.00 | S3FIFO | 40.00 |"]);
    }

    #[test]
    fn seeds_show_mean_and_spread() {
        let cells = cells();
        let text = seeds(&league(&cells), &[vec![ours([0.4, 0.4])], vec![ours([0.2, 0.4])]]);
        // Against the best 0 and 25 %: mean 12.5, deviation 25 / √2.
        assert!(text.contains("| ours | +12.50 | 17.68 | +0.00 | +25.00 |"), "{text}");
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[0.5]), Some((0.5, 0.0)));
    }

    #[test]
    fn domains_are_told_apart() {
        let cells = cells();
        let text = by_domain(&league(&cells), &[ours([0.2, 0.5])], |trace| if trace == "a" { "web" } else { "block" });
        assert!(text.ends_with("| block | 1 | -20.00 |\n| web | 1 | +50.00 |\n"), "{text}");
        let text = by_size(&league(&cells), &[ours([0.2, 0.5])]);
        assert!(text.starts_with("| policy | 1 % |\n|---|--:|\n| ours | +15.00 |\n"), "{text}");
    }

    #[test]
    fn nothing_reads_as_minus_zero() {
        assert_eq!([signed(-0.000_001), signed(0.010_94), signed(-0.07)], ["+0.00", "+1.09", "-7.00"]);
    }
}
