//! The peers' file: what other caches missed on the same traces at the same sizes.
//!
//! A table with tabs and a header: `trace policy capacity share requests miss_ratio seconds`, and where objects weigh
//! their bytes also `byte_miss_ratio`. `benches/python/league_peers.py` writes it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use larder_sim::Metric;

/// The peers that know the future: bounds, not competitors.
const CLAIRVOYANT: &[&str] = &["Belady", "BeladySize"];

/// A trace at a size, with what each peer missed there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) trace: String,
    /// Of the distinct keys or bytes, as asked for: a small trace's may come to the least capacity.
    pub(crate) share: f64,
    /// In objects or bytes.
    pub(crate) capacity: u64,
    pub(crate) requests: u64,
    pub(crate) peers: Vec<(String, Ratios)>,
    /// Peers whose run came to nothing, with the word that says why.
    pub(crate) failed: Vec<(String, String)>,
}

/// What misses, as shares of the requests and of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ratios {
    pub(crate) requests: f64,
    pub(crate) bytes: f64,
}

impl Ratios {
    pub(crate) fn of(self, metric: Metric) -> f64 {
        match metric {
            Metric::Requests => self.requests,
            Metric::Bytes => self.bytes,
        }
    }
}

impl Cell {
    /// What a peer missed, where its run came to an end.
    pub(crate) fn peer(&self, name: &str) -> Option<Ratios> {
        self.peers.iter().find(|(peer, _)| peer == name).map(|(_, ratios)| *ratios)
    }

    /// The peer without knowledge of the future that missed least.
    pub(crate) fn best(&self, metric: Metric) -> Option<(&str, f64)> {
        let peers = self.peers.iter().filter(|(name, _)| !is_clairvoyant(name));
        peers
            .map(|(name, ratios)| (name.as_str(), ratios.of(metric)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// The trace and the size, for people.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.trace, percent(self.share))
    }
}

/// Whether a peer knows the future.
pub(crate) fn is_clairvoyant(peer: &str) -> bool {
    CLAIRVOYANT.contains(&peer)
}

/// A share as people write it: `0.1 %`.
pub(crate) fn percent(share: f64) -> String {
    // Rounded first: 0.001 × 100 is not quite 0.1.
    format!("{} %", (share * 1e7).round() / 1e5)
}

/// Reads the peers' file.
pub(crate) fn load(path: &Path) -> Result<Vec<Cell>> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("reading {}: benches/python/league_peers.py TRACES_DIR writes such a file", path.display())
    })?;
    parse(&text).with_context(|| format!("{} is not a peers' file", path.display()))
}

/// Cells in the order of their first rows. A cell is a trace at a capacity, whatever shares come to it; a row that
/// stands twice counts once.
fn parse(text: &str) -> Result<Vec<Cell>> {
    let mut lines = text.lines().zip(1..).map(|(line, number)| (line.split('\t').collect::<Vec<_>>(), number));
    let (header, _) = lines.next().context("it is empty")?;
    let column = |name: &str| header.iter().position(|field| *field == name);
    let needed = |name: &str| column(name).with_context(|| format!("there is no column {name}"));
    let [trace, policy, capacity] = [needed("trace")?, needed("policy")?, needed("capacity")?];
    let [share, requests, ratio] = [needed("share")?, needed("requests")?, needed("miss_ratio")?];
    let byte_ratio = column("byte_miss_ratio");
    let mut cells: Vec<Cell> = Vec::new();
    for (fields, number) in lines {
        let field = |at: usize| fields.get(at).copied().with_context(|| format!("line {number} is too short"));
        let wrong = |what: &str| format!("line {number}: {what} is not a number");
        let capacity: u64 = field(capacity)?.parse().with_context(|| wrong("capacity"))?;
        let found = cells.iter().position(|cell| cell.capacity == capacity && cell.trace == fields[trace]);
        let at = match found {
            Some(at) => at,
            None => {
                cells.push(Cell {
                    trace: field(trace)?.to_owned(),
                    share: field(share)?.parse().with_context(|| wrong("share"))?,
                    capacity,
                    requests: field(requests)?.parse().with_context(|| wrong("requests"))?,
                    ..Cell::default()
                });
                cells.len() - 1
            }
        };
        let (cell, peer) = (&mut cells[at], field(policy)?.to_owned());
        if cell.peer(&peer).is_some() || cell.failed.iter().any(|(name, _)| *name == peer) {
            continue;
        }
        let text = field(ratio)?;
        match text.parse::<f64>() {
            Ok(requests) if (0.0..=1.0).contains(&requests) => {
                let bytes = match byte_ratio {
                    Some(at) => field(at)?.parse().with_context(|| wrong("byte_miss_ratio"))?,
                    // Where every object weighs the same, so do the requests.
                    None => requests,
                };
                cell.peers.push((peer, Ratios { requests, bytes }));
            }
            Ok(_) => bail!("line {number}: a miss ratio of {text}"),
            Err(_) => cell.failed.push((peer, text.to_owned())),
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "trace\tpolicy\tcapacity\tshare\trequests\tmiss_ratio\tseconds\n";

    #[test]
    fn rows_become_cells() {
        let rows =
            "a\tLRU\t64\t0.001\t1000\t0.5\t0.1\na\tFIFO\t64\t0.001\t1000\t0.6\t0.1\nb\tLRU\t64\t0.01\t9\t1.0\t\n";
        let cells = parse(&format!("{HEADER}{rows}")).unwrap();
        assert_eq!(cells.len(), 2);
        assert_eq!((cells[0].name(), cells[0].capacity, cells[0].requests), ("a 0.1 %".to_owned(), 64, 1000));
        assert_eq!(cells[0].peer("FIFO"), Some(Ratios { requests: 0.6, bytes: 0.6 }));
        assert_eq!(cells[0].best(Metric::Requests), Some(("LRU", 0.5)));
        assert_eq!(cells[1].peer("FIFO"), None);
    }

    #[test]
    fn what_failed_and_what_knows_the_future_is_no_competitor() {
        let rows = "a\tBelady\t64\t0.1\t9\t0.1\t\na\tLRB\t64\t0.1\t9\tTIMEOUT\t\na\tLRU\t64\t0.1\t9\t0.5\t\n";
        let cells = parse(&format!("{HEADER}{rows}")).unwrap();
        assert_eq!(cells[0].best(Metric::Requests), Some(("LRU", 0.5)));
        assert_eq!(cells[0].failed, [("LRB".to_owned(), "TIMEOUT".to_owned())]);
    }

    #[test]
    fn a_capacity_counts_once() {
        let rows = "a\tLRU\t64\t0.001\t9\t0.5\t\na\tLRU\t64\t0.01\t9\t0.4\t\n";
        let cells = parse(&format!("{HEADER}{rows}")).unwrap();
        assert_eq!((cells.len(), cells[0].share, cells[0].peers.len()), (1, 0.001, 1));
        assert_eq!(cells[0].peer("LRU").unwrap().requests, 0.5);
    }

    #[test]
    fn bytes_have_a_column_of_their_own() {
        let header = HEADER.replace('\n', "\tbyte_miss_ratio\n");
        let cells =
            parse(&format!("{header}a\tLRU\t64\t0.1\t9\t0.5\t0.1\t0.7\na\tLRB\t64\t0.1\t9\tFAIL-9\t\t\n")).unwrap();
        assert_eq!(cells[0].best(Metric::Bytes), Some(("LRU", 0.7)));
        assert_eq!(cells[0].failed.len(), 1);
    }

    #[test]
    fn what_is_no_table_is_refused_with_the_place() {
        for (text, says) in [
            (String::new(), "empty"),
            ("trace\tpolicy\n".to_owned(), "no column capacity"),
            (format!("{HEADER}a\tLRU\n"), "line 2 is too short"),
            (format!("{HEADER}a\tLRU\tx\t0.1\t9\t0.5\t\n"), "line 2: capacity"),
            (format!("{HEADER}a\tLRU\t64\t0.1\t9\t1.5\t\n"), "line 2: a miss ratio of 1.5"),
        ] {
            assert!(parse(&text).unwrap_err().to_string().contains(says), "{says}");
        }
    }
}
