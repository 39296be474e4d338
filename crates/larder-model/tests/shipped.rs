//! The card of the prior that ships says of its own rows what they come to.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use larder_model::{Card, HeldOut, Ratios};

#[test]
fn the_shipped_card_says_what_its_rows_come_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/general");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let card = Card {
        name: String::new(),
        command: String::new(),
        learned_from: (0, 0),
        other_traces: read("held_out.tsv").lines().skip(1).map(row).collect(),
        later_time: Vec::new(),
        scores: Vec::new(),
        importance: Vec::new(),
        decisions: Vec::new(),
        deciders: Vec::new(),
    };
    let (gains, shipped) = (card.gains(), read("card.md"));
    let [gain] = gains.as_slice() else { panic!("{gains:?}") };
    let line = format!("| {} | {} | {} | {} |", gain.on, gain.over_cold, gain.better, gain.worse);
    assert!(shipped.contains(&line), "{line}");
    let once = format!("counted once, however many its cells, on {}: {}.", gain.on, gain.each_family_once.unwrap());
    assert!(shipped.contains(&once), "{once}");
    assert_eq!(card.refusal(), None);
}

/// A line of `held_out.tsv`; its family is what comes before the last hyphen, as `larder train` has it.
fn row(line: &str) -> HeldOut {
    let [trace, capacity, size, requests, cold, prior] = *line.split('\t').collect::<Vec<_>>() else {
        panic!("{line}")
    };
    HeldOut {
        trace: trace.to_owned(),
        family: trace.rsplit_once('-').map_or(trace, |(family, _)| family).to_owned(),
        size: size.to_owned(),
        capacity: capacity.parse().unwrap(),
        requests: requests.parse().unwrap(),
        seeds: vec![Ratios { cold: cold.parse().unwrap(), shipped: None, prior: prior.parse().unwrap() }],
    }
}
