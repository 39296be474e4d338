//! What is to be said of sizes that are not what their names say.

use larder_sim::{CellRecord, LEAST_OBJECTS, Outcome, Weigh};

use crate::table::count;

/// Shares of so few keys that they were raised to the least that a share is.
pub(crate) fn raised(outcome: &Outcome, weigh: Weigh) -> Option<String> {
    let survey = outcome.survey.as_ref()?;
    let (whole, unit) = match weigh {
        Weigh::Objects => (survey.keys, ""),
        Weigh::Bytes => (survey.bytes, " bytes"),
    };
    let asked = |record: &CellRecord| record.capacity_spec.strip_suffix('%')?.trim().parse::<f64>().ok();
    let is_raised = |record: &CellRecord| {
        asked(record).is_some_and(|share| (whole as f64 * share / 100.0).round() < record.capacity as f64)
    };
    let raised = specs(outcome.cells.iter().map(|cell| &cell.record).filter(|record| is_raised(record)));
    let (_, capacity) = raised.first()?;
    let names: Vec<&str> = raised.iter().map(|(spec, _)| *spec).collect();
    let (names, capacity) = (names.join(", "), count(*capacity));
    Some(format!("{names}: raised to {capacity}{unit}, for a share is at least {LEAST_OBJECTS} objects."))
}

/// Sizes that come to the same as one before.
pub(crate) fn same(outcome: &Outcome) -> Option<String> {
    let all = specs(outcome.cells.iter().map(|cell| &cell.record));
    let first = |capacity: u64| all.iter().find(|(_, other)| *other == capacity).map(|(spec, _)| *spec);
    let same = all
        .iter()
        .filter_map(|(spec, capacity)| Some(format!("{spec} as {}", first(*capacity).filter(|first| first != spec)?)));
    let same: Vec<String> = same.collect();
    (!same.is_empty()).then(|| format!("The same size, and compared once: {}.", same.join(", ")))
}

/// Each size once, as it was asked for and as it came out.
fn specs<'a>(records: impl Iterator<Item = &'a CellRecord>) -> Vec<(&'a str, u64)> {
    let mut specs: Vec<(&str, u64)> = Vec::new();
    for record in records {
        if !specs.iter().any(|(spec, _)| *spec == record.capacity_spec) {
            specs.push((&record.capacity_spec, record.capacity));
        }
    }
    specs
}
