//! A key of a running service, as its dashboard explains it.

use std::io::{self, Write};

use serde::Deserialize;

use super::bar;
use crate::client::Client;
use crate::commands::print_json;
use crate::explain_args::ExplainArgs;
use crate::failure::Failure;
use crate::table::{self, Style};

/// What `/explain` says, as far as it is printed.
#[derive(Deserialize)]
struct Told {
    key: String,
    words: Vec<String>,
    score: Option<Score>,
    decisions: Vec<Logged>,
}

#[derive(Deserialize)]
struct Score {
    model: String,
    logits: Vec<f32>,
    contributions: Vec<Contribution>,
}

#[derive(Deserialize)]
struct Contribution {
    name: String,
    value: String,
    adds: Vec<f32>,
}

#[derive(Deserialize)]
struct Logged {
    what: String,
    seconds: f32,
}

pub(super) fn run(args: &ExplainArgs, url: &str) -> Result<(), Failure> {
    let client = Client::new(url)?;
    let mut query = vec![("key", args.key.as_str())];
    query.extend(args.cache.as_deref().map(|cache| ("cache", cache)));
    let answer = client.get("/explain", &query)?;
    if args.json {
        return print_json([answer]);
    }
    let told: Told = serde_json::from_value(answer)
        .map_err(|error| Failure::Failed(format!("{}: an explanation of another version: {error}", client.origin())))?;
    Ok(told.print(&mut io::stdout().lock())?)
}

/// What is printed of a dashboard's answer, where it is an explanation.
#[cfg(feature = "fuzzing")]
pub fn told(answer: serde_json::Value) -> Option<Vec<u8>> {
    let told: Told = serde_json::from_value(answer).ok()?;
    let mut out = Vec::new();
    told.print(&mut out).ok()?;
    Some(out)
}

impl Told {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "key {}\n", self.key)?;
        for line in &self.words {
            writeln!(out, "  {line}")?;
        }
        if let Some(score) = &self.score {
            score.print(out)?;
        }
        if !self.decisions.is_empty() {
            writeln!(out, "\nDecided about it, newest first:")?;
            for Logged { what, seconds } in &self.decisions {
                writeln!(out, "  {what:10} {seconds:.1} s")?;
            }
        }
        Ok(())
    }
}

impl Score {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut sorted: Vec<_> = self.contributions.iter().map(|term| (term, mean(&term.adds))).collect();
        sorted.sort_by(|(_, one), (_, other)| other.abs().total_cmp(&one.abs()));
        let most = sorted.first().map_or(1.0, |(_, first)| first.abs()).max(f32::MIN_POSITIVE);
        let mut page = table::table(Style::Plain, &["", "", "mean", "value"], 2);
        for (term, mean) in &sorted {
            page.add_row([term.name.clone(), bar(mean / most), format!("{mean:+.3}"), term.value.clone()]);
        }
        page.add_row(["logit".into(), String::new(), format!("{:+.3}", mean(&self.logits)), "the sum".into()]);
        let text = table::text(&page);
        writeln!(
            out,
            "\nWhat adds up to the score, − towards leaving, + towards staying; model {}:\n{text}",
            self.model
        )
    }
}

/// Over the spans.
fn mean(spans: &[f32]) -> f32 {
    spans.iter().sum::<f32>() / spans.len().max(1) as f32
}
