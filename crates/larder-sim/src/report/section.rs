//! What a page says of one trace.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chart::{Axis, Line, chart, picture};
use super::html::{Text, bytes, count, or_dash, or_dash_whole, percent, short};
use super::palette::{Pen, pens};
use crate::compare::{Comparison, Metric, compare};
use crate::experiment::ratio;
use crate::{CellOutcome, CellRecord, Outcome, Report, Weigh};

/// The section of one trace, its number making its identifiers unique; it needs no title where the page has it.
pub(super) fn section(number: usize, outcome: &Outcome, report: &Report<'_>) -> String {
    let view = View::new(outcome, report);
    let mut html = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = write!(html, "<section id=\"trace{number}\">");
    if report.outcomes.len() > 1 {
        let _ = write!(html, "<h2>{}</h2>", Text(&outcome.trace));
    }
    html.push_str(&view.facts());
    html.push_str(&view.winners());
    let by_size = if report.metric == Metric::Requests { "Misses" } else { "Bytes missed" };
    let _ = write!(html, "<h3>{by_size} by cache size</h3>{}", figure(&view.curves(chart)));
    html.push_str(&view.matrix());
    let _ = write!(html, "<h3>Misses over time</h3>{}", view.course(number));
    html.push_str(&view.details());
    html.push_str("</section>");
    html
}

/// The curves of one trace as a picture of their own.
pub(super) fn curves(outcome: &Outcome, report: &Report<'_>, style: &str) -> String {
    View::new(outcome, report).curves(|x, y, lines| picture(style, x, y, lines))
}

/// The least and the greatest value.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)))
}

fn figure(chart: &str) -> String {
    format!("<figure>{chart}</figure>")
}

struct View<'a> {
    outcome: &'a Outcome,
    weigh: Weigh,
    metric: Metric,
    policies: Vec<&'a str>,
    pens: Vec<Pen>,
    /// Capacity and how it was asked for, ascending.
    sizes: Vec<(u64, &'a str)>,
    cells: BTreeMap<(&'a str, u64), &'a CellOutcome>,
    comparisons: Vec<Comparison>,
}

impl<'a> View<'a> {
    fn new(outcome: &'a Outcome, report: &Report<'_>) -> Self {
        let mut policies: Vec<&str> = Vec::new();
        let mut sizes = BTreeMap::new();
        let mut cells = BTreeMap::new();
        for cell in &outcome.cells {
            let record = &cell.record;
            if !policies.contains(&record.policy.as_str()) {
                policies.push(&record.policy);
            }
            sizes.entry(record.capacity).or_insert(record.capacity_spec.as_str());
            cells.entry((record.policy.as_str(), record.capacity)).or_insert(cell);
        }
        let records: Vec<CellRecord> = outcome.cells.iter().map(|cell| cell.record.clone()).collect();
        Self {
            outcome,
            weigh: report.weigh,
            metric: report.metric,
            pens: pens(&policies),
            policies,
            sizes: sizes.into_iter().collect(),
            cells,
            comparisons: compare(&records, report.metric),
        }
    }

    fn record(&self, policy: &str, capacity: u64) -> Option<&CellRecord> {
        self.cells.get(&(policy, capacity)).map(|cell| &cell.record)
    }

    fn size(&self, capacity: u64) -> String {
        match self.weigh {
            Weigh::Objects => count(capacity),
            Weigh::Bytes => bytes(capacity as f64),
        }
    }

    /// Such as `1% (2,752)`, or just `5,000` where it was asked for so.
    fn size_with_spec(&self, capacity: u64, spec: &str) -> String {
        let size = self.size(capacity);
        if spec.ends_with('%') { format!("{spec} ({size})") } else { size }
    }

    fn facts(&self) -> String {
        let outcome = self.outcome;
        let mut facts = vec![("requests counted", count(outcome.requests))];
        if let Some(survey) = &outcome.survey {
            facts.push(("distinct keys", count(survey.keys)));
            if survey.carries.sizes {
                facts.push(("distinct bytes", bytes(survey.bytes as f64)));
            }
        }
        if outcome.bad_rows > 0 {
            facts.push(("bad rows passed over", count(outcome.bad_rows)));
        }
        let fact = |(name, value): (&str, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>");
        format!("<dl class=\"facts\">{}</dl>", facts.into_iter().map(fact).collect::<String>())
    }

    /// The first thing a reader wants to know: who misses least at which size.
    fn winners(&self) -> String {
        let mut rows = String::new();
        for &(capacity, spec) in &self.sizes {
            let at_size = || self.comparisons.iter().filter(|cell| cell.capacity == capacity);
            let best: Vec<&Comparison> = at_size().filter(|cell| cell.is_best).collect();
            let Some(first) = best.first() else { continue };
            let names: Vec<String> = best.iter().map(|cell| Text(&cell.policy).to_string()).collect();
            let _ = write!(
                rows,
                "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                self.size_with_spec(capacity, spec),
                names.join(", "),
                percent(first.miss_ratio),
                or_dash(first.against_lru),
                or_dash_whole(first.gap_closed),
            );
        }
        if rows.is_empty() {
            return String::new();
        }
        format!(
            "<div class=\"scroll\"><table class=\"winners\"><thead><tr><th>cache size</th>\
             <th class=\"text\">fewest {}</th><th>{}</th><th title=\"(LRU − policy) / LRU\">fewer than LRU</th>\
             <th title=\"(LRU − policy) / (LRU − Bélády)\">of the gap to Bélády</th></tr></thead>\
             <tbody>{rows}</tbody></table></div>",
            self.metric.missed(),
            self.metric.ratio()
        )
    }

    fn curves(&self, draw: impl Fn(&Axis, &Axis, &[Line<'_>]) -> String) -> String {
        let log = |capacity: u64| (capacity.max(1) as f64).ln();
        let (least, most) = range(self.cells.values().map(|cell| self.metric.of(&cell.record)));
        let (low, high) = match (self.sizes.first(), self.sizes.last()) {
            (Some(first), Some(last)) => (log(first.0), log(last.0)),
            _ => (0.0, 1.0),
        };
        let tick = |&(capacity, spec): &(u64, &str)| {
            let label = match (spec.ends_with('%'), self.weigh) {
                (true, _) => spec.to_owned(),
                (false, Weigh::Objects) => short(capacity as f64),
                (false, Weigh::Bytes) => bytes(capacity as f64),
            };
            (log(capacity), label)
        };
        let unit = match (self.weigh, self.sizes.iter().all(|(_, spec)| spec.ends_with('%'))) {
            (Weigh::Objects, true) => "cache size, share of distinct keys (log)",
            (Weigh::Bytes, true) => "cache size, share of distinct bytes (log)",
            (Weigh::Objects, false) => "cache size, objects (log)",
            (Weigh::Bytes, false) => "cache size, bytes (log)",
        };
        let x = Axis { title: unit.into(), low, high, ticks: self.sizes.iter().map(tick).collect() };
        let lines = self.policies.iter().zip(&self.pens).map(|(policy, pen)| {
            let records =
                || self.sizes.iter().filter_map(|&(capacity, spec)| Some((spec, self.record(policy, capacity)?)));
            let tip = |(spec, record): (&str, &CellRecord)| {
                let missed = percent(self.metric.of(record));
                format!("{policy} at {}: {missed}", self.size_with_spec(record.capacity, spec))
            };
            Line {
                name: policy,
                pen: *pen,
                points: records().map(|(_, record)| (log(record.capacity), self.metric.of(record))).collect(),
                tips: records().map(tip).collect(),
            }
        });
        draw(&x, &Axis::shares(self.metric.ratio(), least, most), &lines.collect::<Vec<_>>())
    }

    /// Miss ratios, a row a policy, the best of each size in bold, each shaded by where it lies between best and worst.
    fn matrix(&self) -> String {
        let mut html = String::from("<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th>policy</th>");
        for &(capacity, spec) in &self.sizes {
            let _ = write!(html, "<th>{}</th>", self.size_with_spec(capacity, spec));
        }
        html.push_str("</tr></thead><tbody>");
        for (policy, pen) in self.policies.iter().zip(&self.pens) {
            let _ = write!(
                html,
                "<tr data-name=\"{0}\"><th scope=\"row\"><svg class=\"key {1}\" viewBox=\"0 0 22 8\">\
                 <path d=\"M1 4H21\" stroke-dasharray=\"{2}\"/></svg>{0}</th>",
                Text(policy),
                pen.class,
                pen.dash
            );
            for &(capacity, _) in &self.sizes {
                let Some(missed) = self.record(policy, capacity).map(|record| self.metric.of(record)) else {
                    html.push_str("<td>–</td>");
                    continue;
                };
                let of_size = || self.comparisons.iter().filter(|cell| cell.capacity == capacity);
                let best = of_size().any(|cell| cell.is_best && cell.policy == *policy);
                let (least, most) = range(of_size().filter(|cell| !cell.knows_future).map(|cell| cell.miss_ratio));
                let shade = if (least..most).contains(&missed) { (most - missed) / (most - least) } else { 0.0 };
                let _ = write!(
                    html,
                    "<td{} style=\"--shade:{:.0}%\"><span>{}</span></td>",
                    if best { " class=\"best\"" } else { "" },
                    shade * 100.0,
                    percent(missed)
                );
            }
            html.push_str("</tr>");
        }
        let ratios = if self.metric == Metric::Requests { "Miss ratios" } else { "Byte miss ratios" };
        let _ = write!(
            html,
            "</tbody></table></div><p class=\"note\">{ratios}: the stronger the tint, the nearer to the fewest at that size, \
             which is bold. Bélády's policies know the future: a bound, not a choice.</p>"
        );
        html
    }

    /// One chart a size; a script shows one at a time, the middle one first.
    fn course(&self, number: usize) -> String {
        let mut html = format!("<div class=\"tabs\" data-first=\"{}\">", self.sizes.len() / 2);
        let mut panels = String::new();
        for (at, &(capacity, spec)) in self.sizes.iter().enumerate() {
            let label = self.size_with_spec(capacity, spec);
            let _ = write!(html, "<button type=\"button\" aria-controls=\"course{number}-{at}\">{label}</button>");
            let _ = write!(
                panels,
                "<figure id=\"course{number}-{at}\"><figcaption>cache of {label}</figcaption>{}</figure>",
                self.course_at(capacity)
            );
        }
        html + "</div>" + &panels
    }

    fn course_at(&self, capacity: u64) -> String {
        let series = &self.outcome.series;
        let windows = series.counts();
        let width = series.width() as f64;
        let rows = self.outcome.rows as f64;
        // A last window of few rows would end every line in noise.
        let whole = windows.len() - usize::from(windows.len() > 1 && rows % width > 0.0 && rows % width < width / 2.0);
        let points = |cell: &CellOutcome| -> Vec<(f64, f64)> {
            let shares = windows.iter().zip(cell.misses.counts()).map(|(&requests, &misses)| ratio(misses, requests));
            shares.take(whole).enumerate().map(|(at, share)| ((at as f64 + 0.5) * width, share)).collect()
        };
        let lines: Vec<Line<'_>> = self
            .policies
            .iter()
            .zip(&self.pens)
            .filter_map(|(policy, pen)| {
                let points = points(self.cells.get(&(*policy, capacity))?);
                Some(Line { name: policy, pen: *pen, points, tips: Vec::new() })
            })
            .collect();
        let (least, most) = range(lines.iter().flat_map(|line| &line.points).map(|point| point.1));
        let ticks = (0..=4u32).map(|at| rows * f64::from(at) / 4.0).map(|at| (at, short(at))).collect();
        let title = format!("requests so far, in windows of {}", count(series.width()));
        chart(&Axis { title, low: 0.0, high: rows, ticks }, &Axis::shares("miss ratio", least, most), &lines)
    }

    fn details(&self) -> String {
        let mut html = String::from(
            "<details><summary>All figures</summary><div class=\"scroll\"><table><thead><tr><th>policy</th><th>capacity</th>\
             <th>hits</th><th>misses</th><th>miss ratio</th><th>byte miss ratio</th><th>evictions</th>\
             <th>requests/s</th><th>metadata</th></tr></thead><tbody>",
        );
        for CellOutcome { record, .. } in &self.outcome.cells {
            let _ = write!(
                html,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
                 <td>{}</td><td>{}</td></tr>",
                Text(&record.policy),
                self.size_with_spec(record.capacity, &record.capacity_spec),
                count(record.hits),
                count(record.misses),
                percent(record.miss_ratio),
                percent(record.byte_miss_ratio),
                count(record.evictions),
                short(record.requests_per_second),
                bytes(record.metadata_bytes as f64),
            );
        }
        html.push_str("</tbody></table></div></details>");
        html
    }
}
