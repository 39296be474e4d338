//! `larder train`: a model for learned policies, judged on requests it has not seen.

mod material;
mod validation;

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use larder_model::folder::{Contents, Metadata, sealed};
use larder_model::{Card, Gain, HeldOut, Lead, Ratios, Recipe, Settings};
use larder_policy::learned::Prior;

use super::{print_json, quoted, try_folder, unless_read_enough};
use crate::args::WeighArg;
use crate::failure::Failure;
use crate::needs::is_pipe;
use crate::table::{self, Style};
use crate::train_args::{HoldoutArg, TrainArgs};
use material::Material;
pub(crate) use material::{FAIR, policy};
use serde_json::{Value, json};
use validation::Validation;
pub(crate) use validation::rate;

pub(crate) fn run(args: &TrainArgs) -> Result<(), Failure> {
    args.traces.require_distinct_names()?;
    if args.traces.traces.iter().any(|trace| is_pipe(trace)) {
        let what = "a model is trained on files, which can be read again; what comes through stdin or a pipe is gone";
        return Err(Failure::Usage(what.into()));
    }
    // One of the two is there: clap sees to that.
    let Some(folder) = args.out.as_ref().or(args.check.as_ref()) else { return Ok(()) };
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let name =
        name.ok_or_else(|| Failure::Usage(format!("{}: the last component names the model", folder.display())))?;

    try_folder(args.out.as_deref())?;
    let mut material = Material::collect(args)?;
    // What is to take the place of the prior that ships is not set beside it: that one has learned from what is held out.
    let beside_shipped = shipped_name().as_ref() != Some(&name);
    let validation = Validation::run(args, &mut material, beside_shipped)?;
    let whole = validation.whole.prior(args.sureness, String::new())?;
    let card = Card {
        command: command(args, &name),
        learned_from: (material.examples(), material.cells.len()),
        name,
        other_traces: validation.other_traces,
        later_time: validation.later_time,
        scores: validation.scores,
        importance: validation.importance,
        decisions: validation.decisions,
        deciders: validation::DECIDERS.map(str::to_owned).to_vec(),
    };
    let refusal = card.refusal();
    let printed = if args.json { print_json([card_json(&card, refusal.as_deref())]) } else { print(&card) };
    unless_read_enough(printed, true)?;
    let contents = contents(args, folder, &card, &material, &whole)?;
    if args.check.is_some() {
        let differences = contents.differences(folder)?;
        if !differences.is_empty() {
            let differences = differences.join("\n  ");
            return Err(Failure::Failed(format!(
                "{}: not what this command makes:\n  {differences}",
                folder.display()
            )));
        }
        return say(args, &format!("{}: the same, byte for byte", folder.display()));
    }
    match refusal {
        Some(why) if args.force => tracing::warn!("published by force: {why}"),
        Some(why) => {
            let what = "--force publishes it all the same, and its card says so";
            return Err(Failure::Failed(format!("{}: not published: {why}; {what}", folder.display())));
        }
        None => card.doubt().iter().for_each(|doubt| tracing::warn!("{doubt}")),
    }
    contents.publish(folder)?;
    say(args, &format!("wrote {}: model.larder, card.md, train.toml, held_out.tsv, reliability.svg", folder.display()))
}

/// The name of the prior that ships.
fn shipped_name() -> Option<String> {
    let metadata = Prior::general().ok()?.metadata().to_owned();
    Some(serde_json::from_str::<Metadata>(&metadata).ok()?.name)
}

/// Says how it went: beside the tables, for a program reads nothing but records.
fn say(args: &TrainArgs, what: &str) -> Result<(), Failure> {
    if !args.json {
        writeln!(io::stdout(), "{what}")?;
    }
    Ok(())
}

/// What the card says, for programs.
fn card_json(card: &Card, refusal: Option<&str>) -> Value {
    let gains: Vec<Value> = card
        .gains()
        .into_iter()
        .map(|gain| {
            let Gain { on, over_cold: Lead { mean, error, over }, each_family_once, over_shipped, better, worse, .. } = gain;
            let lead = |Lead { mean, error, .. }| json!({ "mean": mean, "error": error });
            json!({
                "on": on, "mean": mean, "error": error, "error_over": over.to_string(), "better": better, "worse": worse,
                "each_family_once": each_family_once.map(lead), "over_shipped": over_shipped.map(lead),
            })
        })
        .collect();
    let sets = [("other traces", &card.other_traces), ("later time", &card.later_time)];
    let held_out = sets.into_iter().flat_map(|(on, cells)| {
        let row = move |cell: &HeldOut| {
            let (HeldOut { trace, size, .. }, Ratios { cold, shipped, prior }) = (cell, cell.ratios());
            json!({
                "on": on, "trace": trace, "size": size, "cold": cold, "shipped": shipped, "prior": prior,
                "reduction": cell.reduction(),
            })
        };
        cells.iter().map(row)
    });
    let scores: Vec<Value> =
        card.scores.iter().map(|(judged, score)| json!({ "judged": judged, "score": score })).collect();
    let decisions = card.decisions.iter().flat_map(|(trace, size, shares)| {
        let of = |(by, share): (&String, &f64)| json!({ "trace": trace, "size": size, "by": by, "farthest": share });
        card.deciders.iter().zip(shares).map(of).collect::<Vec<_>>()
    });
    json!({
        "name": card.name,
        "command": card.command,
        "examples": card.learned_from.0,
        "cells": card.learned_from.1,
        "refusal": refusal,
        "doubt": card.doubt(),
        "gains": gains,
        "held_out": held_out.collect::<Vec<_>>(),
        "scores": scores,
        "importance": card.importance,
        "decisions": decisions.collect::<Vec<_>>(),
    })
}

fn contents(
    args: &TrainArgs,
    folder: &Path,
    card: &Card,
    material: &Material,
    whole: &Prior,
) -> Result<Contents, Failure> {
    let metadata = Metadata {
        name: card.name.clone(),
        larder: env!("CARGO_PKG_VERSION").to_owned(),
        examples: material.examples(),
        seed: args.seed,
        other_traces: card.on_other_traces(),
        later_time: card.on_later_time(),
    };
    let weigh = match args.weigh {
        WeighArg::Objects => "objects",
        WeighArg::Bytes => "bytes",
    };
    let holdout = match args.holdout {
        HoldoutArg::Family => "family",
        HoldoutArg::Trace => "trace",
    };
    let recipe = Recipe {
        command: card.command.clone(),
        larder: metadata.larder.clone(),
        commit: commit(folder),
        schema: Recipe::schema_text(),
        settings: Settings {
            policy: material::FAIR.to_owned(),
            capacities: args.capacities.iter().map(ToString::to_string).collect(),
            weigh: weigh.to_owned(),
            seed: args.seed,
            examples: args.examples as usize,
            earlier: args.earlier,
            holdout: holdout.to_owned(),
            sureness: args.sureness,
        },
        fit: material::fit(args),
        traces: material.traces.iter().map(|trace| trace.record.clone()).collect(),
    };
    let curves: Vec<(&str, Vec<(f64, f64)>)> = card
        .scores
        .iter()
        .map(|(name, score)| (name.as_str(), score.bins.iter().map(|bin| (bin.said, bin.happened)).collect()))
        .collect();
    Ok(Contents {
        model: sealed(whole, &metadata)?.to_bytes(),
        card: card.write(),
        recipe: recipe.write()?,
        held_out: card.held_out(),
        reliability: larder_sim::reliability(&curves),
    })
}

/// The command that makes the model again, wherever the traces and the folder are.
fn command(args: &TrainArgs, name: &str) -> String {
    let mut words = Vec::new();
    let mut given = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = given.next() {
        let flag = word.split('=').next().unwrap_or_default();
        // What it prints does not change what it makes.
        if flag == "--json" {
            continue;
        }
        // Attached, as clap takes it too.
        if word.starts_with("-o") && word.len() > 2 {
            continue;
        }
        if ["--out", "-o", "--check", "--threads"].contains(&flag) {
            if flag == word {
                given.next();
            }
        } else if args.traces.traces.contains(&word) {
            words.push(material::file_name(&word));
        } else {
            words.push(word);
        }
    }
    words.extend(["--out".to_owned(), format!("models/{name}")]);
    quoted(words.into_iter())
}

/// The commit of the checkout the folder is in, if it is in one.
fn commit(folder: &Path) -> Option<String> {
    let inside = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(inside).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    Some(if changed { format!("{commit} and changes") } else { commit })
}

fn print(card: &Card) -> Result<(), Failure> {
    let header =
        ["requests it has not seen", "fewer misses than cold", "than shipped", "cells better", "worse", "worst cell"];
    let mut table = table::table(Style::Plain, &header, 1);
    for Gain { on, over_cold, over_shipped, better, worse, worst, .. } in card.gains() {
        let worst = format!("{} {} {:+.2}%", worst.trace, worst.size, worst.reduction() * 100.0);
        let shipped = over_shipped.map_or_else(|| "-".to_owned(), |lead| lead.to_string());
        table.add_row([on.to_owned(), over_cold.to_string(), shipped, better.to_string(), worse.to_string(), worst]);
    }
    let (examples, cells) = card.learned_from;
    let mut out = io::stdout().lock();
    writeln!(out, "{}: learned from {} examples of {cells} cells\n", card.name, table::count(examples))?;
    writeln!(out, "{}\n", table::text(&table))?;
    let mut table =
        table::table(Style::Plain, &["predictions", "examples", "log-loss", "Brier", "calibration error"], 1);
    for (name, score) in &card.scores {
        let four = |value: f64| format!("{value:.4}");
        let losses = [score.log_loss, score.brier, score.calibration_error].map(four);
        table.add_row([name.clone(), table::count(score.examples)].into_iter().chain(losses));
    }
    writeln!(out, "{}\n", table::text(&table))?;
    Ok(())
}

/// A policy that starts from a prior.
fn starting(prior: &Arc<Prior>) -> Result<larder_policy::PolicySpec, Failure> {
    Ok(material::policy(material::LEARNED)?.with_prior(prior.clone()))
}
