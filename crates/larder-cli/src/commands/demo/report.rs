//! What a run has shown: a table for people, one object for scripts.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use larder::Counts;
use serde::Serialize;

use super::arm::{Arm, Latencies, PROCESSES};
use super::second::SecondTier;
use super::service::{Run, Service};
use super::traffic::CLASSES;
use crate::demo_args::DemoArgs;
use crate::failure::{Failure, tell};
use crate::table::{self, Style, count, percent};

/// A run, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    trace: String,
    seed: u64,
    seconds: f64,
    objective: f64,
    capacity: u64,
    processes: usize,
    workers: usize,
    rate: u64,
    origin_delay_ms: f64,
    /// `redis`, `private redis` or `in process`.
    second_tier: &'static str,
    /// Of a second tier within the process; a Redis is as far away as it is.
    remote_delay_ms: Option<f64>,
    rows: usize,
    changes: u64,
    /// Ours first, then the controls.
    arms: Vec<ArmOutcome>,
}

#[derive(Debug, Serialize)]
struct ArmOutcome {
    arm: String,
    policy: &'static str,
    /// The lifetime of everything, in seconds; none where it is learned.
    ttl: Option<f64>,
    reads: u64,
    /// Reads that got no answer.
    errors: u64,
    memory: TierOutcome,
    second_tier: TierOutcome,
    origin: TierOutcome,
    all: Quantiles,
    /// Rows asked of the origin, by readers, renewals and audits.
    loads: u64,
    /// Of the loads a service without a cache would make.
    loads_saved: f64,
    refreshes: u64,
    audits: u64,
    /// Reads that got a version older than the file had when they began.
    stale: u64,
    stale_rate: f64,
    /// What the cache measured without knowing the truth.
    measured: Option<MeasuredOutcome>,
}

/// Reads answered by a tier.
#[derive(Debug, Serialize)]
struct TierOutcome {
    reads: u64,
    share: f64,
    #[serde(flatten)]
    latency: Quantiles,
}

/// In microseconds; none where nothing was answered.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

#[derive(Debug, Serialize)]
struct MeasuredOutcome {
    rate: f64,
    low: f64,
    high: f64,
    /// Whether enough was checked to say that the objective is met or not.
    is_certifiable: bool,
}

impl Outcome {
    pub(super) fn new(service: &Service, second: &SecondTier, run: Run, options: &DemoArgs) -> Result<Self, Failure> {
        let arms = service.arms.iter().zip(&run.latencies).map(|(arm, latencies)| ArmOutcome::new(arm, latencies));
        Ok(Self {
            trace: service.traffic.name.clone(),
            seed: options.seed,
            seconds: run.took.as_secs_f64(),
            objective: options.objective,
            capacity: options.capacity.get(),
            processes: PROCESSES,
            workers: options.workers.get(),
            rate: options.rate.get(),
            origin_delay_ms: options.origin_delay.as_secs_f64() * 1e3,
            second_tier: second.name(),
            remote_delay_ms: second.delay().map(|delay| delay.as_secs_f64() * 1e3),
            rows: service.origin.len(),
            changes: run.changes,
            arms: arms.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn print(&self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let header: Vec<_> = [""].into_iter().chain(self.arms.iter().map(|arm| &*arm.arm)).collect();
        let mut page = table::table(Style::Plain, &header, 1);
        for (name, cell) in ROWS {
            page.add_row([(*name).to_owned()].into_iter().chain(self.arms.iter().map(cell)));
        }
        writeln!(out, "{}\n", table::text(&page))?;
        for line in self.verdict() {
            writeln!(out, "{line}")?;
        }
        writeln!(
            out,
            "\n{} changes of {} rows in {:.1} s; seed {}, so that traffic and changes repeat, while timing differs.",
            count(self.changes),
            count(self.rows as u64),
            self.seconds,
            self.seed,
        )?;
        writeln!(
            out,
            "\nNext:\n  larder demo --trace access.log --objective 0.5%        your own traffic\n  larder replay access.log \
             --policy lru,s3fifo,learned  which policy would fit it\n  larder --help"
        )?;
        Ok(())
    }

    /// What the numbers say, wins and losses.
    fn verdict(&self) -> Vec<String> {
        let [ours, controls @ ..] = &*self.arms else { return Vec::new() };
        let mut lines = Vec::new();
        let measured = ours.measured.as_ref().map_or_else(String::new, |measured| {
            let holds = (measured.low..=measured.high).contains(&ours.stale_rate);
            let certain = if measured.is_certifiable { "" } else { ", and is still too wide to certify the objective" };
            format!("; its own interval {} the truth{certain}", if holds { "holds" } else { "misses" })
        });
        // It aims at the objective, not below: half of such short runs end a little above.
        let verdict = match ours.stale_rate / self.objective {
            ratio if ratio <= 1.0 => "kept",
            ratio if ratio <= 1.1 => "came within a tenth of",
            _ => "missed",
        };
        lines.push(format!(
            "larder {verdict} the objective of {}: {} of reads were stale{measured}.",
            percent(self.objective),
            percent(ours.stale_rate)
        ));
        for control in controls {
            let ratio = ours.loads as f64 / control.loads.max(1) as f64;
            let loads = match ratio {
                ratio if ratio < 1.0 => format!("{:.0}% fewer loads", (1.0 - ratio) * 100.0),
                ratio => format!("{:.0}% more loads", (ratio - 1.0) * 100.0),
            };
            lines.push(format!(
                "Against LRU with {} for all: {loads}, {} of reads stale instead of {}.",
                lifetime(control),
                percent(ours.stale_rate),
                percent(control.stale_rate)
            ));
        }
        lines
    }
}

type Cell = fn(&ArmOutcome) -> String;

const ROWS: &[(&str, Cell)] = &[
    ("policy", |arm| arm.policy.to_owned()),
    ("lifetimes", lifetime),
    ("reads", |arm| count(arm.reads)),
    ("answered by memory", |arm| percent(arm.memory.share)),
    ("  second tier", |arm| percent(arm.second_tier.share)),
    ("  origin", |arm| percent(arm.origin.share)),
    ("  nobody", |arm| count(arm.errors)),
    ("origin loads", |arm| count(arm.loads)),
    ("  saved against no cache", |arm| percent(arm.loads_saved)),
    ("  ahead of their end", |arm| count(arm.refreshes)),
    ("  to audit", |arm| count(arm.audits)),
    ("stale reads, in truth", |arm| percent(arm.stale_rate)),
    ("  as measured by itself", measured),
    ("p50 / p99, all", |arm| times(&arm.all)),
    ("  memory", |arm| times(&arm.memory.latency)),
    ("  second tier", |arm| times(&arm.second_tier.latency)),
    ("  origin", |arm| times(&arm.origin.latency)),
];

/// The estimate and its interval.
fn measured(arm: &ArmOutcome) -> String {
    let Some(own) = &arm.measured else { return "-".into() };
    format!("{} ({} to {})", percent(own.rate), percent(own.low), percent(own.high))
}

fn lifetime(arm: &ArmOutcome) -> String {
    match arm.ttl {
        None => "learned".into(),
        Some(ttl) if ttl < 10.0 => format!("{ttl:.2} s"),
        Some(ttl) => format!("{ttl:.0} s"),
    }
}

fn times(latency: &Quantiles) -> String {
    match (latency.p50_us, latency.p99_us) {
        (Some(p50), Some(p99)) => format!("{} / {}", time(p50), time(p99)),
        _ => "-".into(),
    }
}

/// Three digits and a unit.
fn time(micros: f64) -> String {
    match micros {
        micros if micros >= 1e3 => format!("{:.1} ms", micros / 1e3),
        micros if micros >= 10.0 => format!("{micros:.0} µs"),
        micros => format!("{micros:.1} µs"),
    }
}

impl ArmOutcome {
    fn new(arm: &Arm, latencies: &Latencies) -> Result<Self, Failure> {
        let so_far = arm.so_far();
        let Counts { refreshes, audits, .. } = arm.counts();
        let share = |part: u64| if so_far.reads == 0 { 0.0 } else { part as f64 / so_far.reads as f64 };
        let tier = |histogram: &Histogram<u64>| TierOutcome {
            reads: histogram.len(),
            share: share(histogram.len()),
            latency: Quantiles::of(histogram),
        };
        let [memory, second_tier, origin] = latencies.tiers().map(tier);
        Ok(Self {
            arm: arm.way.name.clone(),
            policy: arm.way.policy,
            ttl: arm.way.ttl().map(|ttl| ttl.as_secs_f64()),
            reads: so_far.reads,
            errors: so_far.errors,
            memory,
            second_tier,
            origin,
            all: Quantiles::of(&latencies.all()?),
            loads: so_far.loads,
            loads_saved: 1.0 - share(so_far.loads),
            refreshes,
            audits,
            stale: so_far.stale,
            stale_rate: so_far.stale_share(),
            measured: arm.measured().map(|own| MeasuredOutcome {
                rate: own.rate,
                low: own.low,
                high: own.high,
                is_certifiable: own.is_certifiable,
            }),
        })
    }
}

impl Quantiles {
    fn of(nanos: &Histogram<u64>) -> Self {
        let at = |share| (!nanos.is_empty()).then(|| nanos.value_at_quantile(share) as f64 / 1e3);
        Self { p50_us: at(0.5), p99_us: at(0.99) }
    }
}

/// Says what is about to run.
pub(super) fn introduce(service: &Service, second: &SecondTier, options: &DemoArgs) {
    let classes: Vec<_> = CLASSES
        .iter()
        .zip(&service.traffic.classes)
        .map(|(class, rows)| {
            let every = humantime::format_duration(class.every);
            format!("{} {} rows every {every}", count(rows.len() as u64), class.name)
        })
        .collect();
    let line = format!(
        "A service of {PROCESSES} processes, {} entries of memory each, a second tier they share and a SQLite file of {} rows \
         ({} away)\nthat change at random, on average {}. {} readers, up to {} reads a second, {}.\nSecond tier: {second}.\n",
        count(options.capacity.get()),
        count(service.origin.len() as u64),
        humantime::format_duration(options.origin_delay),
        classes.join(", "),
        count(options.workers.get() as u64),
        count(options.rate.get()),
        options
            .lasts()
            .map_or_else(|| "until Ctrl-C".into(), |lasts| format!("{} s, or until Ctrl-C", lasts.as_secs())),
    );
    tell(&line);
    if let Some(address) = options.metrics {
        tell(&format!("Prometheus is answered at http://{address}/metrics.\n"));
    }
}
