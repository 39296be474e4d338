//! The league for scripts: one JSON object a line.

use larder_policy::Weigh;
use larder_sim::Metric;
use serde_json::{Map, Value, json};

use crate::page::Part;
use crate::score::{Contestant, League, Score};

/// Prints every cell of ours for every seed (`"kind": "cell"`), then everybody's measures (`"kind": "score"`).
pub(crate) fn print(part: &Part) {
    let shares = part.shares();
    for &metric in part.metrics {
        let league = part.league(metric, &shares);
        for (contestants, seed) in part.seeds.iter().zip(1..) {
            for contestant in contestants {
                for line in cells(part.weigh, &league, contestant, seed) {
                    println!("{line}");
                }
                if let Some(score) = league.score(contestant) {
                    println!("{}", score_line(part.weigh, &league, &score, Some(seed)));
                }
            }
        }
        if let Some(held_out) = &part.held_out {
            for line in cells(part.weigh, &league, held_out, 1) {
                println!("{line}");
            }
            if let Some(score) = league.score(held_out) {
                println!("{}", score_line(part.weigh, &league, &score, Some(1)));
            }
        }
        for score in league.peers().iter().chain([&league.oracle()]).filter_map(|peer| league.score(peer)) {
            println!("{}", score_line(part.weigh, &league, &score, None));
        }
    }
}

fn cells(weigh: Weigh, league: &League<'_>, contestant: &Contestant, seed: u64) -> Vec<Value> {
    let line = |at: usize| {
        let (cell, ratios) = (&league.cells[at], contestant.ratios[at]?);
        let (peer, best) = cell.best(league.metric)?;
        Some(json!({
            "kind": "cell", "weigh": weigh_name(weigh), "metric": metric_name(league.metric),
            "policy": contestant.name, "seed": seed, "trace": cell.trace, "share": cell.share,
            "capacity": cell.capacity, "miss_ratio": ratios.of(league.metric), "best_peer": peer,
            "best_miss_ratio": best, "against_best": league.against_best(contestant, at).map(|(reduction, _)| reduction),
        }))
    };
    (0..league.cells.len()).filter_map(line).collect()
}

fn score_line(weigh: Weigh, league: &League<'_>, score: &Score, seed: Option<u64>) -> Value {
    let worst = |cell: &(f64, String)| json!({ "reduction": cell.0, "cell": cell.1 });
    let named = |values: Vec<Value>| -> Map<String, Value> {
        league.references.iter().map(|name| (*name).to_owned()).zip(values).collect()
    };
    let by_share: Vec<Value> = league
        .shares
        .iter()
        .zip(&score.by_share)
        .map(|(share, value)| json!({ "share": share, "against_best": value }))
        .collect();
    json!({
        "kind": "score", "weigh": weigh_name(weigh), "metric": metric_name(league.metric), "policy": score.policy,
        // Peers have none.
        "seed": seed,
        "cells": score.cells, "against": named(score.against.iter().map(|value| json!(value)).collect()),
        "against_best": score.against_best, "worst_best": worst(&score.worst_best),
        "worst_lru": score.worst_lru.as_ref().map(worst),
        "bad": score.bad, "by_share": by_share, "gap_closed": score.gap_closed,
        "wins": score.wins, "ties": score.ties, "losses": score.losses,
    })
}

fn weigh_name(weigh: Weigh) -> &'static str {
    match weigh {
        Weigh::Objects => "objects",
        Weigh::Bytes => "bytes",
    }
}

fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Requests => "object miss ratio",
        Metric::Bytes => "byte miss ratio",
    }
}
