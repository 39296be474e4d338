//! The figures of a report for other programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::Report;
use crate::experiment::ratio;
use crate::freshness::{FreshnessOutcome, FreshnessRecord};
use crate::{CellRecord, Error, ErrorKind, Outcome};

pub(super) fn cells_csv(outcomes: &[Outcome]) -> String {
    let mut csv = String::from(
        "trace,policy,capacity,capacity_spec,requests,gets,hits,misses,miss_ratio,byte_miss_ratio,evictions,seconds,\
         requests_per_second,metadata_bytes\n",
    );
    for record in records(outcomes) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            csv,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            quoted(&record.trace),
            quoted(&record.policy),
            record.capacity,
            quoted(&record.capacity_spec),
            record.requests,
            record.gets,
            record.hits,
            record.misses,
            record.miss_ratio,
            record.byte_miss_ratio,
            record.evictions,
            record.seconds,
            record.requests_per_second,
            record.metadata_bytes,
        );
    }
    csv
}

pub(super) fn series_csv(outcomes: &[Outcome]) -> String {
    let mut csv = String::from("trace,policy,capacity,capacity_spec,first_row,requests,misses,miss_ratio\n");
    for outcome in outcomes {
        for cell in &outcome.cells {
            let record = &cell.record;
            let (trace, policy, spec) = (quoted(&record.trace), quoted(&record.policy), quoted(&record.capacity_spec));
            let windows = outcome.series.counts().iter().zip(cell.misses.counts()).enumerate();
            for (at, (&requests, &misses)) in windows {
                let first = at as u64 * outcome.series.width();
                let share = ratio(misses, requests);
                let _ =
                    writeln!(csv, "{trace},{policy},{},{spec},{first},{requests},{misses},{share}", record.capacity);
            }
        }
    }
    csv
}

/// Reads and stale reads over the course of the reads, in windows of equally many.
pub(super) fn windows_csv(outcomes: &[FreshnessOutcome]) -> String {
    let mut csv = String::from("trace,policy,seed,window,reads,stale_reads\n");
    for run in outcomes.iter().flat_map(|outcome| &outcome.runs) {
        let FreshnessRecord { trace, policy, seed, .. } = &run.record;
        for (at, (reads, stale)) in run.windows.iter().enumerate() {
            let _ = writeln!(csv, "{},{},{seed},{},{reads},{stale}", quoted(trace), quoted(policy), at + 1);
        }
    }
    csv
}

/// Lifetimes that learned policies gave, with the key's true mean time between changes: empty where it never changed.
pub(super) fn lifetimes_csv(outcomes: &[FreshnessOutcome]) -> String {
    let mut csv = String::from("trace,policy,seed,lifetime_seconds,change_seconds\n");
    for run in outcomes.iter().flat_map(|outcome| &outcome.runs) {
        let FreshnessRecord { trace, policy, seed, .. } = &run.record;
        for (lifetime, change) in &run.lifetimes {
            let change = change.map_or_else(String::new, |seconds| seconds.to_string());
            let _ = writeln!(csv, "{},{},{seed},{lifetime},{change}", quoted(trace), quoted(policy));
        }
    }
    csv
}

pub(super) fn cells_json(report: &Report<'_>) -> Result<String, Error> {
    #[derive(Serialize)]
    struct File<'a> {
        larder: &'static str,
        command: &'a str,
        seed: u64,
        cells: Vec<&'a CellRecord>,
    }
    let cells = records(report.outcomes).collect();
    let file = File { larder: env!("CARGO_PKG_VERSION"), command: report.command, seed: report.seed, cells };
    let json = serde_json::to_string_pretty(&file);
    json.map_err(|e| Error::new(ErrorKind::Io, format!("cells.json: {e}")))
}

pub(super) fn records(outcomes: &[Outcome]) -> impl Iterator<Item = &CellRecord> {
    outcomes.iter().flat_map(|outcome| &outcome.cells).map(|cell| &cell.record)
}

/// A CSV field as RFC 4180 wants it.
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,b \"c\""), "\"a,b \"\"c\"\"\"");
    }
}
