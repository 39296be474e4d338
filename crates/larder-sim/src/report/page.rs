//! The page as a whole.

use std::fmt::Write as _;

use super::Report;
use super::data::records;
use super::html::{Text, percent, signed, signed_whole};
use super::section::section;
use crate::Weigh;
use crate::compare::{Metric, Summary, compare, summarise};

pub(super) const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

pub(super) fn page(report: &Report<'_>) -> String {
    let traces: Vec<&str> = report.outcomes.iter().map(|outcome| outcome.trace.as_str()).collect();
    let mut html = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Cache policies on {}</title><style>{STYLE}</style></head><body><main>\
         <header><h1>Cache policies on {}</h1><p class=\"lead\">{}: fewer is better. Every policy saw the same requests in the same order, with a cache of the same size.</p></header>",
        Text(&title(&traces)),
        Text(&title(&traces)),
        match report.metric {
            Metric::Requests => "A miss is a request the cache could not serve",
            Metric::Bytes => "Compared are the bytes of requests the cache could not serve",
        },
    );
    if report.outcomes.len() > 1 {
        html.push_str(&summary(report));
        html.push_str("<nav><ul>");
        for (number, trace) in traces.iter().enumerate() {
            let _ = write!(html, "<li><a href=\"#trace{number}\">{}</a></li>", Text(trace));
        }
        html.push_str("</ul></nav>");
    }
    for (number, outcome) in report.outcomes.iter().enumerate() {
        html.push_str(&section(number, outcome, report));
    }
    html.push_str(&configuration(report));
    let _ = write!(html, "</main><script>{SCRIPT}</script></body></html>");
    html
}

fn title(traces: &[&str]) -> String {
    match traces {
        [] => "no trace".into(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one} and {other}"),
        many => format!("{} traces", many.len()),
    }
}

/// Means over all traces and sizes; what a policy not run would be needed for is left out.
fn summary(report: &Report<'_>) -> String {
    let records: Vec<_> = records(report.outcomes).cloned().collect();
    let summaries = summarise(&compare(&records, report.metric));
    type Column = (String, fn(&Summary) -> Option<String>);
    let columns: [Column; 5] = [
        (format!("mean {}", report.metric.ratio()), |summary| Some(percent(summary.miss_ratio))),
        ("fewer than FIFO".into(), |summary| summary.against_fifo.map(signed)),
        ("fewer than LRU".into(), |summary| summary.against_lru.map(signed)),
        ("of the gap to Bélády".into(), |summary| summary.gap_closed.map(signed_whole)),
        (format!("fewest {} in", report.metric.missed()), |summary| {
            (!summary.knows_future).then(|| format!("{} of {}", summary.best_in, summary.cells))
        }),
    ];
    let columns = || columns.iter().filter(|(_, value)| summaries.iter().any(|summary| value(summary).is_some()));
    let head: String = columns().map(|(name, _)| format!("<th>{name}</th>")).collect();
    let mut rows = String::new();
    for summary in &summaries {
        let _ = write!(rows, "<tr><th scope=\"row\">{}</th>", Text(&summary.policy));
        for (_, value) in columns() {
            let _ = write!(rows, "<td>{}</td>", value(summary).unwrap_or_else(|| "–".into()));
        }
        rows.push_str("</tr>");
    }
    let gap = match summaries.iter().any(|summary| summary.gap_closed.is_some()) {
        true => " The gap to Bélády is summed over them; his rule does not know what will expire.",
        false => "",
    };
    format!(
        "<section><h2>All traces</h2><div class=\"scroll\"><table><thead><tr><th>policy</th>{head}</tr></thead>\
         <tbody>{rows}</tbody></table></div><p class=\"note\">Means over traces and sizes. Fewer: (reference − policy) \
         / the larger of the two, so a policy that misses more is negative.{gap}</p></section>"
    )
}

fn configuration(report: &Report<'_>) -> String {
    let weigh = match report.weigh {
        Weigh::Objects => "objects: each entry weighs 1",
        Weigh::Bytes => "bytes: each entry weighs its size",
    };
    let mut lines = vec![("command", format!("<code>{}</code>", Text(report.command)))];
    lines.push(("seed", report.seed.to_string()));
    lines.push(("capacity in", weigh.to_owned()));
    lines.extend(report.configuration.iter().map(|(name, value)| (*name, Text(value).to_string())));
    lines.push(("larder", env!("CARGO_PKG_VERSION").to_owned()));
    let line = |(name, value): (&str, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>");
    format!(
        "<section><h2>How this was made</h2><dl class=\"configuration\">{}</dl><p class=\"note\">The figures are in \
         <code>cells.csv</code>, <code>cells.json</code> and <code>series.csv</code> beside this page.</p></section>",
        lines.into_iter().map(line).collect::<String>()
    )
}
