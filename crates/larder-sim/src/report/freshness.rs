//! The report of a replay of lifetimes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::chart::{Axis, Line, chart, picture};
use super::data;
use super::html::{Text, count, percent, short};
use super::page::STYLE;
use super::palette::pens;
use crate::freshness::{DEPLOYED, FreshnessOutcome, FreshnessRecord, FreshnessRun};
use crate::{Error, ErrorKind};

/// What a report of lifetimes tells.
#[derive(Clone, Debug)]
pub struct FreshnessReport<'a> {
    /// The command that makes it again.
    pub command: &'a str,
    /// The share of reads that may be stale.
    pub objective: f64,
    /// By trace.
    pub outcomes: &'a [FreshnessOutcome],
    /// By trace: the records of the same policies under other objectives, the one asked for among them.
    pub sweeps: &'a [Vec<FreshnessRecord>],
}

impl FreshnessReport<'_> {
    /// Writes `freshness.html`, the records as `freshness.json` and those of the sweep over objectives as `sweep.json`, `windows.csv`,
    /// `lifetimes.csv`, and the staleness–load pictures `pareto.svg` (`pareto2.svg`… for further traces) into `folder`, which is made if
    /// need be. Returns the path of the page.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(folder).map_err(|e| Error::io(format!("{}: making the folder", folder.display()), e))?;
        let put = |name: &str, content: String| {
            let path = folder.join(name);
            fs::write(&path, content).map_err(|e| Error::io(format!("{}: writing", path.display()), e))?;
            Ok::<PathBuf, Error>(path)
        };
        let records: Vec<&FreshnessRecord> =
            self.outcomes.iter().flat_map(|outcome| &outcome.runs).map(|run| &run.record).collect();
        let put_json = |name: &str, records: &[&FreshnessRecord]| {
            let json = serde_json::to_string_pretty(records);
            put(name, json.map_err(|e| Error::new(ErrorKind::Io, format!("{name}: {e}")))?)
        };
        put_json("freshness.json", &records)?;
        put_json("sweep.json", &self.sweeps.iter().flatten().collect::<Vec<_>>())?;
        put("windows.csv", data::windows_csv(self.outcomes))?;
        put("lifetimes.csv", data::lifetimes_csv(self.outcomes))?;
        for (number, sweep) in self.sweeps.iter().enumerate() {
            let suffix = if number == 0 { String::new() } else { (number + 1).to_string() };
            put(&format!("pareto{suffix}.svg"), pareto(sweep, |x, y, lines| picture(STYLE, x, y, lines)))?;
        }
        put("freshness.html", self.html())
    }

    /// The page, which needs no other file and fetches nothing.
    pub fn html(&self) -> String {
        let mut html = String::new();
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            html,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Freshness</title>\
             <style>{STYLE}</style></head><body><main><header><h1>What {} stale reads cost</h1><p class=\"lead\">A read is \
             stale when the origin had changed before it was served. Every policy saw the same reads. {} Fewer loads are \
             better.</p></header>",
            percent(self.objective),
            self.tuning()
        );
        for (number, outcome) in self.outcomes.iter().enumerate() {
            let _ = write!(html, "<section><h2>{}</h2>", Text(&outcome.trace));
            html.push_str(&facts(outcome));
            html.push_str(&table(outcome));
            if let Some(word) = outcome.off_objective(self.objective) {
                let _ = write!(html, "<p class=\"note\">{word}</p>");
            }
            if let Some(sweep) = self.sweeps.get(number) {
                let _ = write!(
                    html,
                    "<h3>Loads by staleness</h3><figure>{}</figure><p class=\"note\">Each point is a run under an objective of \
                     its own; lower and further left is better.</p>",
                    pareto(sweep, chart)
                );
            }
            html.push_str(&self.course(outcome));
            html.push_str(&lifetimes(outcome));
            html.push_str("</section>");
        }
        let _ = write!(
            html,
            "<section><h2>How this was made</h2><dl class=\"configuration\"><div><dt>command</dt><dd><code>{}</code></dd></div>\
             <div><dt>larder</dt><dd>{}</dd></div></dl></section></main></body></html>",
            Text(self.command),
            env!("CARGO_PKG_VERSION")
        );
        html
    }

    /// What rules were tuned to.
    fn tuning(&self) -> String {
        let is_run = |is_it: fn(&str) -> bool| {
            self.outcomes.iter().flat_map(|outcome| &outcome.runs).any(|run| is_it(&run.record.policy))
        };
        let target = if is_run(|policy| policy == "learned") { "as the engine did" } else { "as the objective allows" };
        let deployed = match is_run(|policy| policy.ends_with(DEPLOYED)) {
            true => "; those named -deployed had the one that was right for the first fifth of the reads",
            false => "",
        };
        format!("Rules with a knob had, in hindsight, the one that serves as many stale reads {target}{deployed}.")
    }

    /// Realised against promised over time, with the interval the engine publishes in the end.
    fn course(&self, outcome: &FreshnessOutcome) -> String {
        let shown: Vec<&FreshnessRun> = first_seed(outcome)
            .filter(|run| ["learned", "static", "static-deployed", "alex"].contains(&run.record.policy.as_str()))
            .collect();
        let names: Vec<&str> = shown.iter().map(|run| run.record.policy.as_str()).collect();
        let mut lines: Vec<Line<'_>> = shown
            .iter()
            .zip(pens(&names))
            .map(|(run, pen)| Line {
                name: &run.record.policy,
                pen,
                points: run
                    .windows
                    .iter()
                    .enumerate()
                    .map(|(at, &(reads, stale))| (at as f64, rate(reads, stale)))
                    .collect(),
                tips: Vec::new(),
            })
            .collect();
        let Some(most) = lines.iter().flat_map(|line| &line.points).map(|point| point.1).reduce(f64::max) else {
            return String::new();
        };
        let last = shown.iter().map(|run| run.windows.len()).max().unwrap_or(1).saturating_sub(1) as f64;
        lines.push(Line {
            name: "objective",
            pen: pens(&["lru"])[0],
            points: vec![(0.0, self.objective), (last, self.objective)],
            tips: Vec::new(),
        });
        let ticks = vec![(0.0, "start".to_owned()), (last / 2.0, "half".to_owned()), (last, "end".to_owned())];
        let x = Axis { title: "reads, in 40 windows".into(), low: 0.0, high: last, ticks };
        let mut html = format!(
            "<h3>Stale reads over time</h3><figure>{}</figure>",
            chart(&x, &Axis::shares("stale reads", 0.0, most.max(self.objective)), &lines)
        );
        for run in shown.iter().filter(|run| run.record.stale_rate_low.is_some()) {
            let record = &run.record;
            let _ = write!(
                html,
                "<p class=\"note\">{} published {} to {} (95 %){}; the truth was {}.</p>",
                Text(&record.policy),
                percent(record.stale_rate_low.unwrap_or(0.0)),
                percent(record.stale_rate_high.unwrap_or(1.0)),
                if record.certifiable == Some(true) { "" } else { ", and that nothing is certifiable yet" },
                percent(record.stale_rate)
            );
        }
        html
    }
}

fn facts(outcome: &FreshnessOutcome) -> String {
    let reads = outcome.runs.first().map_or(0, |run| run.record.reads);
    let fact = |(name, value): (&str, u64)| format!("<div><dt>{name}</dt><dd>{}</dd></div>", count(value));
    let facts = [("keys", outcome.keys), ("changes", outcome.writes), ("reads", reads)];
    format!("<dl class=\"facts\">{}</dl>", facts.map(fact).concat())
}

/// Every run, wins and losses.
fn table(outcome: &FreshnessOutcome) -> String {
    let mut rows = String::new();
    for run in &outcome.runs {
        let record = &run.record;
        let own =
            outcome.runs.iter().find(|other| other.record.policy == "learned" && other.record.seed == record.seed);
        let beside = own.map_or_else(
            || "–".to_owned(),
            |own| format!("{:.2}", own.record.origin_loads_per_read / record.origin_loads_per_read),
        );
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{:.4}</td><td>{beside}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            Text(&record.policy),
            record.seed,
            record.origin_loads_per_read,
            percent(record.stale_rate),
            percent(record.worst_window_stale_rate),
            span(record.stale_age_p999),
            percent(record.hit_ratio),
        );
    }
    format!(
        "<div class=\"scroll\"><table><thead><tr><th>policy</th><th>seed</th><th>loads a read</th>\
         <th title=\"loads of learned / loads of this policy: above 1 the engine loses\">learned by this</th><th>stale</th>\
         <th>worst of 40 windows</th><th>stale by (99.9 %)</th><th>hits</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn pareto(sweep: &[FreshnessRecord], draw: impl Fn(&Axis, &Axis, &[Line<'_>]) -> String) -> String {
    let mut names: Vec<&str> = Vec::new();
    for record in sweep {
        if !names.contains(&record.policy.as_str()) {
            names.push(&record.policy);
        }
    }
    let log = |share: f64| share.max(1e-6).log10();
    let lines: Vec<Line<'_>> = names
        .iter()
        .zip(pens(&names))
        .map(|(name, pen)| {
            let mut own: Vec<&FreshnessRecord> = sweep.iter().filter(|record| record.policy == *name).collect();
            own.sort_by(|one, other| one.stale_rate.total_cmp(&other.stale_rate));
            Line {
                name,
                pen,
                points: own.iter().map(|record| (log(record.stale_rate), record.origin_loads_per_read)).collect(),
                tips: own
                    .iter()
                    .map(|record| {
                        format!(
                            "{name}: {:.4} loads a read at {}",
                            record.origin_loads_per_read,
                            percent(record.stale_rate)
                        )
                    })
                    .collect(),
            }
        })
        .collect();
    let places = || lines.iter().flat_map(|line| &line.points);
    let low = places().map(|point| point.0).fold(f64::INFINITY, f64::min).min(-2.0);
    let high = places().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max).max(low + 0.1);
    let (least, most) =
        places().fold((f64::INFINITY, 0.0f64), |(least, most), point| (least.min(point.1), most.max(point.1)));
    let ticks = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
        .into_iter()
        .map(|tick| (log(tick / 100.0), format!("{tick}%")))
        .filter(|(place, _)| (low - 1e-9..=high + 1e-9).contains(place))
        .collect();
    let x = Axis { title: "stale reads (log)".into(), low, high, ticks };
    draw(&x, &Axis::shares("loads of the origin by reads, audits included", least, most), &lines)
}

/// How long what the engine loaded was to live, and how that goes with the true time between changes.
fn lifetimes(outcome: &FreshnessOutcome) -> String {
    let Some(run) = first_seed(outcome).find(|run| !run.lifetimes.is_empty()) else { return String::new() };
    let mut rows = String::new();
    let mut row = |name: String, mut values: Vec<f32>| {
        if values.is_empty() {
            return;
        }
        values.sort_by(f32::total_cmp);
        let at = |quantile: f64| span(f64::from(values[((values.len() - 1) as f64 * quantile) as usize]));
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            short(values.len() as f64),
            at(0.1),
            at(0.5),
            at(0.9)
        );
    };
    row("all".to_owned(), run.lifetimes.iter().map(|pair| pair.0).collect());
    let bounds = [(0.0, 60.0), (60.0, 3600.0), (3600.0, 86_400.0), (86_400.0, 604_800.0), (604_800.0, f32::INFINITY)];
    let names = ["change within a minute", "within an hour", "within a day", "within a week", "more rarely"];
    for ((low, high), name) in bounds.into_iter().zip(names) {
        let within = |pair: &&(f32, Option<f32>)| pair.1.is_some_and(|mean| (low..high).contains(&mean));
        row(name.to_owned(), run.lifetimes.iter().filter(within).map(|pair| pair.0).collect());
    }
    row(
        "did not change in the trace".to_owned(),
        run.lifetimes.iter().filter(|pair| pair.1.is_none()).map(|pair| pair.0).collect(),
    );
    format!(
        "<h3>Lifetimes that {} chose</h3><div class=\"scroll\"><table><thead><tr><th>keys that truly</th><th>sampled</th>\
         <th>a tenth up to</th><th>half up to</th><th>nine tenths up to</th></tr></thead><tbody>{rows}</tbody></table></div>",
        Text(&run.record.policy)
    )
}

fn first_seed(outcome: &FreshnessOutcome) -> impl Iterator<Item = &FreshnessRun> {
    let seed = outcome.runs.first().map(|run| run.record.seed);
    outcome.runs.iter().filter(move |run| Some(run.record.seed) == seed)
}

fn rate(reads: u64, stale: u64) -> f64 {
    if reads == 0 { 0.0 } else { stale as f64 / reads as f64 }
}

/// Seconds in a unit that reads well.
fn span(seconds: f64) -> String {
    match seconds {
        0.0..120.0 => format!("{seconds:.1} s"),
        120.0..7200.0 => format!("{:.0} min", seconds / 60.0),
        7200.0..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}
