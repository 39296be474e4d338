//! `larder stats`: what a trace is like.

use std::io::{self, Write};
use std::time::Duration;

use larder_sim::Lifetimes;
use larder_sim::stats::{Histogram, Stats};

use super::{print_json, tell_doubts};
use crate::args::StatsArgs;
use crate::failure::Failure;
use crate::needs::Needs;
use crate::progress::Bar;
use crate::table::{self, Style, bytes, count, percent};

/// The longest bar of a histogram, in characters.
const BAR: usize = 32;

/// Lines the course over time is told in.
const COURSE: usize = 20;

pub(crate) fn run(args: &StatsArgs) -> Result<(), Failure> {
    for source in args.traces.sources(Needs::default())? {
        let mut source = source?;
        let bar = Bar::new(source.name());
        let stats = Stats::collect(&mut source, &bar)?;
        bar.clear();
        tell_doubts(&source, Lifetimes::Ignored);
        if args.json {
            print_json([&stats])?;
        } else {
            print(&mut io::stdout().lock(), &stats)?;
        }
    }
    Ok(())
}

fn print(out: &mut impl Write, stats: &Stats) -> Result<(), Failure> {
    writeln!(out, "{}\n", stats.trace)?;
    facts(out, stats)?;
    writeln!(out, "\nMost requested keys:")?;
    let share = |requests: u64| requests as f64 / stats.requests.max(1) as f64;
    for top in &stats.top {
        writeln!(out, "  {:>20}  {:>12}  {:>7}", top.key, count(top.requests), percent(share(top.requests)))?;
    }
    histogram(out, "Keys by requests", &stats.popularity, count)?;
    histogram(out, "Repeats by rows since the key's last", &stats.reuse_rows, count)?;
    if let Some(times) = &stats.reuse_time {
        histogram(out, "Repeats by time since the key's last", times, span)?;
    }
    if let Some(sizes) = &stats.sizes {
        histogram(out, "Keys by size", sizes, bytes)?;
    }
    course(out, stats)
}

fn facts(out: &mut impl Write, stats: &Stats) -> Result<(), Failure> {
    let mut fact = |name: &str, value: String| writeln!(out, "  {name:24}{value}");
    fact("requests", format!("{} ({} gets, {} sets)", count(stats.requests), count(stats.gets), count(stats.sets)))?;
    fact("deletes", count(stats.deletes))?;
    fact("distinct keys", count(stats.keys))?;
    fact("keys requested once", format!("{} ({})", count(stats.one_hit_wonders), percent(stats.one_hit_share())))?;
    let repeats = stats.requests.saturating_sub(stats.keys);
    fact("repeats", format!("{} ({})", count(repeats), percent(repeats as f64 / stats.requests.max(1) as f64)))?;
    if let (Some(total), Some(distinct)) = (stats.bytes, stats.distinct_bytes) {
        fact("bytes requested", bytes(total))?;
        fact("bytes of distinct keys", bytes(distinct))?;
        fact("mean size of a key", bytes(distinct / stats.keys.max(1)))?;
    }
    if let Some(seconds) = stats.seconds {
        fact("time from first to last", span((seconds * 1e6) as u64))?;
        if seconds > 0.0 {
            fact("requests a second", format!("{:.2}", stats.requests as f64 / seconds))?;
        }
    }
    let alpha = stats.zipf_alpha.map_or_else(|| "too few popular keys to say".into(), |alpha| format!("{alpha:.2}"));
    fact("Zipf exponent", alpha)?;
    Ok(())
}

fn histogram(
    out: &mut impl Write,
    title: &str,
    histogram: &Histogram,
    unit: impl Fn(u64) -> String,
) -> Result<(), Failure> {
    if histogram.total() == 0 {
        return Ok(());
    }
    let (median, high) = (unit(histogram.quantile(0.5)), unit(histogram.quantile(0.9)));
    writeln!(out, "\n{title}: mean {}, half up to {median}, nine tenths up to {high}", unit(histogram.mean() as u64))?;
    let most = histogram.buckets().map(|(.., count)| count).max().unwrap_or(1).max(1);
    for (from, to, number) in histogram.buckets() {
        let length = (number as f64 / most as f64 * BAR as f64).round() as usize;
        let share = percent(number as f64 / histogram.total() as f64);
        let bucket = if from == to { unit(from) } else { format!("{} – {}", unit(from), unit(to)) };
        writeln!(out, "  {bucket:>32}  {:<BAR$}  {:>12}  {share:>7}", "█".repeat(length), count(number))?;
    }
    Ok(())
}

fn course(out: &mut impl Write, stats: &Stats) -> Result<(), Failure> {
    writeln!(out, "\nWorking set over time, windows of a hundredth of the trace:")?;
    let mut table = table::table(Style::Plain, &["from row", "requests", "keys", "never seen before"], 0);
    for window in stats.windows.iter().step_by(stats.windows.len().div_ceil(COURSE).max(1)) {
        table.add_row([window.start, window.requests, window.keys, window.new_keys].map(count));
    }
    writeln!(out, "{}\n", table::text(&table))?;
    Ok(())
}

/// Microseconds in the two largest units that matter.
pub(super) fn span(micros: u64) -> String {
    let span = match micros {
        0..1_000 => Duration::from_micros(micros),
        1_000..1_000_000 => Duration::from_millis(micros / 1_000),
        _ => Duration::from_secs(micros / 1_000_000),
    };
    humantime::format_duration(span).to_string().split(' ').take(2).collect::<Vec<_>>().join(" ")
}
