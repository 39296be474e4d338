//! The prior that `learned` ships with: the traces it was trained on, and what it misses where it had not learned from them.

use std::fs;

use anyhow::{Context, Result};
use larder_benches::root;
use larder_trace::trace_name;

use crate::peers::{Cell, Ratios};
use crate::score::{Contestant, TIE};

/// The row of `learned` whose prior has learned from no trace of the cell's family.
pub(crate) const HELD_OUT: &str = "learned, prior held out";

/// The row of a cold start.
pub(crate) const COLD: &str = "learned:prior=0";

const FOLDER: &str = "models/general";
const TABLE: &str = "held_out.tsv";

/// The traces the shipped prior was trained on, by name.
pub(crate) fn trained_on() -> Result<Vec<String>> {
    let path = root().join(FOLDER).join("train.toml");
    let recipe = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(names(&recipe))
}

/// The names in a recipe: nothing else in it has a line of that form.
fn names(recipe: &str) -> Vec<String> {
    let quoted = |line: &str| line.strip_prefix("name = \"")?.strip_suffix('"').map(trace_name);
    recipe.lines().filter_map(quoted).collect()
}

/// What the prior misses on the cells when their families are held out, and what is to be said of it: of cells that have no row, whose row
/// is of other requests, or whose cold start `cold` misses otherwise, nothing is known.
pub(crate) fn held_out(cells: &[Cell], cold: Option<&Contestant>) -> (Option<Contestant>, Option<String>) {
    let path = root().join(FOLDER).join(TABLE);
    let rows = fs::read_to_string(&path).map_err(anyhow::Error::from).and_then(|text| parse(&text));
    match rows {
        Ok(rows) => matched(&rows, cells, cold),
        Err(error) => {
            let what = format!("no row `{HELD_OUT}`: {FOLDER}/{TABLE}: {error:#}; `larder train` writes it");
            (None, Some(what))
        }
    }
}

struct Row {
    trace: String,
    capacity: u64,
    requests: u64,
    cold: f64,
    held_out: f64,
}

fn parse(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().context("it is empty")?;
    let column = |name: &str| {
        let at = header.iter().position(|field| *field == name);
        at.with_context(|| format!("there is no column {name}"))
    };
    let [trace, capacity, requests] = [column("trace")?, column("capacity")?, column("requests")?];
    let [cold, held_out] = [column("cold")?, column("held_out")?];
    let row = |(fields, number): (Vec<&str>, usize)| {
        let field = |at: usize| fields.get(at).copied().with_context(|| format!("line {number} is too short"));
        let wrong = || format!("line {number} is not of numbers");
        Ok(Row {
            trace: field(trace)?.to_owned(),
            capacity: field(capacity)?.parse().with_context(wrong)?,
            requests: field(requests)?.parse().with_context(wrong)?,
            cold: field(cold)?.parse().with_context(wrong)?,
            held_out: field(held_out)?.parse().with_context(wrong)?,
        })
    };
    lines.zip(2..).map(row).collect()
}

fn matched(rows: &[Row], cells: &[Cell], cold: Option<&Contestant>) -> (Option<Contestant>, Option<String>) {
    let (mut absent, mut strange, mut stale) = (Vec::new(), Vec::new(), Vec::new());
    let ratio = |(at, cell): (usize, &Cell)| {
        let Some(row) = rows.iter().find(|row| row.trace == cell.trace && row.capacity == cell.capacity) else {
            absent.push(cell.name());
            return None;
        };
        let ours = cold.and_then(|cold| cold.ratios[at]);
        if row.requests != cell.requests {
            strange.push(cell.name());
        } else if ours.is_some_and(|ours| (ours.requests - row.cold).abs() > TIE) {
            stale.push(cell.name());
        } else {
            return Some(Ratios { requests: row.held_out, bytes: row.held_out });
        }
        None
    };
    let ratios: Vec<_> = cells.iter().enumerate().map(ratio).collect();
    let told: Vec<String> = [
        (absent, "not held out in the training"),
        (strange, "of other requests than the peers replayed"),
        (stale, "trained with another kernel, whose cold start misses otherwise: train again"),
    ]
    .into_iter()
    .filter(|(cells, _)| !cells.is_empty())
    .map(|(cells, what)| format!("{} ({what})", cells.join(", ")))
    .collect();
    let note = (!told.is_empty()).then(|| format!("`{HELD_OUT}` is without {}", told.join("; ")));
    let contestant = Contestant { name: HELD_OUT.to_owned(), ratios };
    (contestant.ratios.iter().any(Option::is_some).then_some(contestant), note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_prior_names_its_traces() {
        let names = trained_on().unwrap();
        assert!(names.iter().any(|name| name == "web07"), "{names:?}");
        assert!(names.iter().all(|name| !name.ends_with(".zst")), "{names:?}");
    }

    #[test]
    fn rows_of_other_requests_or_another_kernel_are_left_out_and_told() {
        let cell = |trace: &str, requests| Cell {
            trace: trace.to_owned(),
            share: 0.01,
            capacity: 64,
            requests,
            ..Cell::default()
        };
        let cells = [cell("a", 10), cell("b", 10), cell("c", 10), cell("d", 10)];
        let ratio = |ratio| Some(Ratios { requests: ratio, bytes: ratio });
        let cold = Contestant { name: COLD.to_owned(), ratios: [0.5, 0.5, 0.5, 0.5].map(ratio).to_vec() };
        let text = "trace\tcapacity\tsize\trequests\tcold\theld_out\n\
                    a\t64\t1%\t10\t0.5000000\t0.4000000\nb\t64\t1%\t9\t0.5000000\t0.4000000\n\
                    c\t64\t1%\t10\t0.5100000\t0.4000000\nd\t65\t1%\t10\t0.5000000\t0.4000000\n";
        let (contestant, note) = matched(&parse(text).unwrap(), &cells, Some(&cold));
        assert_eq!(contestant.unwrap().ratios, [ratio(0.4), None, None, None]);
        let note = note.unwrap();
        for part in ["d 1 % (not held out", "b 1 % (of other requests", "c 1 % (trained with another kernel"] {
            assert!(note.contains(part), "{note}");
        }
        let (contestant, note) = matched(&parse(text).unwrap(), &cells[..1], None);
        assert!(contestant.is_some() && note.is_none());
        assert!(matched(&[], &cells, None).0.is_none());
        assert!(parse("trace\tcapacity\n").is_err() && parse("").is_err());
    }
}
