//! The tables of docs/learned.md, each made by a replay of a generator: `<!-- table NAME -->` stands before one, and it ends at the first
//! line that is none of its rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::project::Project;

const PAGE: &str = "docs/learned.md";

/// The mix, as the page shows it.
const MIX: &str = "gen:mix:requests=1_200_000/seed=42/+6*zipf/alpha=0.9/keys=200_000/+2*phase/alpha=0.9/keys=50_000/every=60_000/shift=0.5\
     /+1*loop/keys=20_000/+1*scan";
const MIXED: &[&str] =
    &["lru", "s3fifo", "learned", "learned:samples=8", "learned:prior=0", "learned:rate=0", "belady"];

/// Simple traffic by itself.
const SIMPLE: &[&str] = &[
    "gen:loop:keys=20000/requests=1e6",
    "gen:zipf:alpha=0.9/keys=100000/requests=1e6",
    "gen:phase:alpha=0.9/keys=50000/every=60000/shift=0.5/requests=1e6",
];
const GUARDED: &[&str] = &["lru", "learned", "learned:guard=0"];

/// What a replay tells of a policy at a size.
#[derive(Clone, Debug, Deserialize)]
struct Cell {
    policy: String,
    capacity: u64,
    capacity_spec: String,
    miss_ratio: f64,
    metadata_bytes: u64,
}

/// Writes the tables into the page.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<bool> {
    ensure!(arguments.is_empty(), "learned takes no arguments");
    let page = project.text(PAGE).with_context(|| format!("reading {PAGE}"))?;
    let program = project.larder()?;
    let mixed = replay(&program, MIX, MIXED, "0.1%,1%,10%")?;
    let mut simple = Vec::new();
    for trace in SIMPLE {
        simple.push((*trace, replay(&program, trace, GUARDED, "1%,10%")?));
    }
    let tables = BTreeMap::from([("memory", memory(&mixed)), ("mix", by_size(&mixed)), ("simple", by_trace(&simple))]);
    std::fs::write(project.root.join(PAGE), replaced(&page, &tables)?).with_context(|| format!("writing {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(true)
}

fn replay(program: &Path, trace: &str, policies: &[&str], sizes: &str) -> Result<Vec<Cell>> {
    let mut command = Command::new(program);
    command.args(["replay", trace, "--policy", &policies.join(","), "--capacity", sizes, "--json"]);
    let output = command.output().with_context(|| format!("running {}", program.display()))?;
    ensure!(output.status.success(), "larder replay: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not a cell: {line}"))).collect()
}

/// The page with other tables in the places of those there.
fn replaced(page: &str, tables: &BTreeMap<&str, String>) -> Result<String> {
    let mut text = String::new();
    let (mut left, mut is_old) = (tables.clone(), false);
    for line in page.lines() {
        if is_old && line.starts_with('|') {
            continue;
        }
        is_old = false;
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "{line}");
        if let Some(name) = line.strip_prefix("<!-- table ").and_then(|line| line.strip_suffix(" -->")) {
            let table = left.remove(name).with_context(|| format!("{PAGE}: there is no table {name}, or not twice"))?;
            text.push_str(&table);
            is_old = true;
        }
    }
    ensure!(left.is_empty(), "{PAGE} has no place for {:?}", left.keys());
    Ok(text)
}

/// Bytes of metadata an object, of the mix.
fn memory(cells: &[Cell]) -> String {
    let mut table =
        "| objects | `lru`, bytes an object | `learned`, bytes an object |\n| ---: | ---: | ---: |\n".to_owned();
    let of = |policy: &'static str| cells.iter().filter(move |cell| cell.policy == policy);
    for (lru, learned) in of("lru").zip(of("learned")) {
        let bytes = |cell: &Cell| (cell.metadata_bytes as f64 / cell.capacity as f64).round();
        let _ = writeln!(table, "| {} | {} | {} |", thousands(lru.capacity), bytes(lru), bytes(learned));
    }
    table
}

/// A row a policy, a column a size.
fn by_size(cells: &[Cell]) -> String {
    let mut table = String::new();
    let first = cells.first().map(|cell| cell.policy.as_str());
    let sizes: Vec<String> = cells
        .iter()
        .filter(|cell| Some(cell.policy.as_str()) == first)
        .map(|cell| spaced(&cell.capacity_spec))
        .collect();
    let _ = writeln!(table, "| policy | {} |\n| --- |{}", sizes.join(" | "), " ---: |".repeat(sizes.len()));
    for cells in cells.chunk_by(|one, other| one.policy == other.policy) {
        let ratios: Vec<String> = cells.iter().map(|cell| percent(cell.miss_ratio)).collect();
        let _ = writeln!(table, "| `{}` | {} |", cells[0].policy, ratios.join(" | "));
    }
    table
}

/// A row a trace and size, a column a policy.
fn by_trace(traces: &[(&str, Vec<Cell>)]) -> String {
    let policies: Vec<String> = GUARDED.iter().map(|policy| format!("`{policy}`")).collect();
    let mut table =
        format!("| trace | size | {} |\n| --- | ---: |{}\n", policies.join(" | "), " ---: |".repeat(policies.len()));
    for (trace, cells) in traces {
        let sizes = cells.iter().take_while(|cell| cell.policy == GUARDED[0]);
        for (at, size) in sizes.enumerate() {
            let same = cells.iter().filter(|cell| cell.capacity_spec == size.capacity_spec);
            let ratios: Vec<String> = same.map(|cell| percent(cell.miss_ratio)).collect();
            let name = if at == 0 { format!("`{trace}` ") } else { String::new() };
            let _ = writeln!(table, "| {name}| {} | {} |", spaced(&size.capacity_spec), ratios.join(" | "));
        }
    }
    table
}

/// `0.1%` as the page writes it.
fn spaced(size: &str) -> String {
    size.replace('%', " %")
}

fn percent(ratio: f64) -> String {
    format!("{:.2}%", ratio * 100.0)
}

/// With a comma before the last three digits; no cache of the page has a million objects.
fn thousands(count: u64) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(policy: &str, capacity: u64, spec: &str, miss_ratio: f64) -> Cell {
        let (policy, capacity_spec) = (policy.to_owned(), spec.to_owned());
        Cell { policy, capacity, capacity_spec, miss_ratio, metadata_bytes: capacity * 35 }
    }

    #[test]
    fn tables_take_the_places_of_the_old_ones() {
        let page = "a\n<!-- table one -->\n| old |\n| - |\n\nb\n<!-- table two -->\n\nc\n";
        let tables = BTreeMap::from([("one", "| new |\n".to_owned()), ("two", "| 2 |\n".to_owned())]);
        let text = replaced(page, &tables).unwrap();
        assert_eq!(text, "a\n<!-- table one -->\n| new |\n\nb\n<!-- table two -->\n| 2 |\n\nc\n");
        assert_eq!(replaced(&text, &tables).unwrap(), text, "again, it is the same");
        assert!(replaced("a\n", &tables).is_err() && replaced("<!-- table three -->\n", &tables).is_err());
    }

    #[test]
    fn rows_and_columns_are_where_they_belong() {
        let cells = [
            cell("lru", 337, "0.1%", 0.8628),
            cell("lru", 3369, "1%", 0.7187),
            cell("learned", 337, "0.1%", 0.7485),
            cell("learned", 3369, "1%", 0.6125),
        ];
        assert_eq!(
            by_size(&cells),
            "| policy | 0.1 % | 1 % |\n| --- | ---: | ---: |\n| `lru` | 86.28% | 71.87% |\n| `learned` | 74.85% | 61.25% |\n"
        );
        assert!(memory(&cells).ends_with("| 337 | 35 | 35 |\n| 3,369 | 35 | 35 |\n"), "{}", memory(&cells));
        let rows = by_trace(&[("gen:x", cells.to_vec())]);
        assert!(rows.ends_with("| `gen:x` | 0.1 % | 86.28% | 74.85% |\n| | 1 % | 71.87% | 61.25% |\n"), "{rows}");
    }

    #[test]
    fn the_page_shows_the_command_of_the_mix() {
        let page = include_str!("../../docs/learned.md");
        assert!(page.contains(MIX) && page.contains(&MIXED.join(",")), "the page shows another command");
        assert!(SIMPLE.iter().all(|trace| page.contains(trace)) && page.contains(&GUARDED.join(",")));
    }
}
