//! `larder predictions`: what a learned policy says will be used again, and what was.

use std::io::{self, Write};

use larder_model::evaluate::{Bin, Score, by_group, served};
use larder_model::folder;
use larder_policy::learned::explanation::{Reading, least};
use larder_policy::learned::features::FEATURES;
use larder_policy::learned::{Example, HORIZONS, Prior};
use larder_sim::{CellRecord, Collecting, Experiment, Lifetimes};
use serde::Serialize;

use super::train::{FAIR, policy, rate};
use super::{failed, print_json, sizes, tell_doubts};
use crate::args::threads;
use crate::failure::Failure;
use crate::predictions_args::PredictionsArgs;
use crate::progress::Bar;
use crate::table::{self, Style, count};

/// What was said on one trace at one size by one start, and what happened.
#[derive(Serialize)]
struct Record<'a> {
    trace: &'a str,
    capacity: u64,
    capacity_spec: &'a str,
    /// `cold`, `fixed` or `served`.
    start: &'static str,
    #[serde(flatten)]
    score: Score,
    spans: Vec<Span>,
    features: Vec<FeatureBin>,
}

/// The examples about one span ahead.
#[derive(Serialize)]
struct Span {
    /// Where it ends, in caches of accesses.
    until: f32,
    #[serde(flatten)]
    said: Bin,
}

/// The examples in which a feature had about the same value.
#[derive(Serialize)]
struct FeatureBin {
    feature: &'static str,
    about: &'static str,
    /// The least value of the bin; none where it says that something never was.
    least: Option<f64>,
    unit: &'static str,
    #[serde(flatten)]
    said: Bin,
}

pub(crate) fn run(args: &PredictionsArgs) -> Result<(), Failure> {
    let prior = match &args.start.model {
        Some(path) => folder::load(path)?,
        None => Prior::general().map_err(larder_sim::Error::from)?,
    };
    let experiment = Experiment {
        policies: vec![policy(FAIR)?],
        capacities: args.capacities.clone(),
        weigh: args.weigh.into(),
        seed: args.seed,
        threads: threads(args.threads),
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
    };
    let collecting = Collecting { most: args.examples as usize, earlier: 0.0 };
    for source in args.traces.sources(args.weigh.into())? {
        let mut source = source?;
        let bar = Bar::new(source.name());
        let outcome = experiment.collect(&mut source, &collecting, &bar).map_err(|error| failed(error, &source))?;
        bar.clear();
        tell_doubts(&source, Lifetimes::Ignored);
        let mut records = Vec::new();
        for cell in &outcome.cells {
            let (record, examples) = (&cell.record, &cell.examples.later[..]);
            if record.evictions == 0 || examples.is_empty() {
                let (trace, size) = (&record.trace, &record.capacity_spec);
                let what = "nothing had to leave, so that nothing was predicted: choose a smaller size";
                if outcome.cells.len() == 1 {
                    return Err(Failure::Usage(format!("{trace} at {size}: {what}")));
                }
                tracing::warn!(trace, size, "{what}");
                continue;
            }
            let starts = [("cold", None, rate()), ("fixed", Some(&prior), 0.0), ("served", Some(&prior), rate())];
            records.extend(starts.map(|(start, prior, rate)| Record::new(record, start, prior, rate, examples)));
        }
        if args.json {
            print_json(&records)?;
            continue;
        }
        print(&records)?;
        sizes::raised(&outcome, experiment.weigh).map_or(Ok(()), |raised| writeln!(io::stdout(), "{raised}\n"))?;
    }
    Ok(())
}

impl<'a> Record<'a> {
    fn new(cell: &'a CellRecord, start: &'static str, prior: Option<&Prior>, rate: f32, examples: &[Example]) -> Self {
        let said: Vec<(f32, bool)> = served(prior, rate, examples).collect();
        let groups = |of: &dyn Fn(&Example) -> u8| {
            by_group(examples.iter().zip(&said).map(|(example, &(said, happened))| (of(example), said, happened)))
        };
        let spans = groups(&|example| example.span).into_iter();
        let features = FEATURES.iter().enumerate().flat_map(|(place, feature)| {
            groups(&|example| example.features.0[place]).into_iter().map(move |(bin, said)| {
                let (least, unit) = value(least(place, bin, 1.0));
                FeatureBin { feature: feature.name, about: feature.about, least, unit, said }
            })
        });
        Self {
            trace: &cell.trace,
            capacity: cell.capacity,
            capacity_spec: &cell.capacity_spec,
            start,
            spans: spans.map(|(span, said)| Span { until: HORIZONS[usize::from(span)], said }).collect(),
            features: features.collect(),
            score: said.into_iter().collect(),
        }
    }
}

/// A reading as a number and its unit.
fn value(reading: Reading) -> (Option<f64>, &'static str) {
    match reading {
        Reading::Accesses(caches) => (Some(caches), "caches"),
        Reading::Uses(uses) => (Some(uses), "uses"),
        Reading::Share(share) => (Some(share), "share"),
        Reading::Ratio(ratio) => (Some(ratio), "ratio"),
        Reading::Is(is) => (Some(f64::from(u8::from(is))), "is"),
        Reading::Never => (None, "never"),
    }
}

fn print(records: &[Record<'_>]) -> Result<(), Failure> {
    let Some(first) = records.first() else { return Ok(()) };
    let header = ["capacity", "of", "start", "examples", "used again", "log-loss", "Brier", "calibration error"];
    let mut table = table::table(Style::Plain, &header, 3);
    for Record { capacity, capacity_spec, start, score, .. } in records {
        let four = |value: f64| format!("{value:.4}");
        table.add_row([
            count(*capacity),
            (*capacity_spec).to_owned(),
            (*start).to_owned(),
            count(score.examples),
            table::percent(score.base_rate),
            four(score.log_loss),
            four(score.brier),
            four(score.calibration_error),
        ]);
    }
    writeln!(
        io::stdout().lock(),
        "{}: what was said to be used again, and what was\n{}\n",
        first.trace,
        table::text(&table)
    )?;
    Ok(())
}
