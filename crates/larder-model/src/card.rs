//! A model's card, in Markdown: what it is, what it gains and where it loses, made from the run alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::evaluate::{Importance, Score};

/// A cache that starts from a prior against one that starts cold, on requests the prior has not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// The trace.
    pub trace: String,
    /// The size, as it was asked for.
    pub size: String,
    /// The miss ratio of the cold start.
    pub cold: f64,
    /// The miss ratio with the prior.
    pub prior: f64,
    /// By how much the prior reduces it; negative where it misses more.
    pub reduction: f64,
}

/// What a card tells.
#[derive(Clone, Debug)]
pub struct Card {
    /// The model's name.
    pub name: String,
    /// The command that makes it again.
    pub command: String,
    /// Examples learned from, and from how many cells.
    pub learned_from: (u64, usize),
    /// On traces held out.
    pub other_traces: Vec<HeldOut>,
    /// On the later part of traces whose earlier part was learned from.
    pub later_time: Vec<HeldOut>,
    /// Predictions judged: of what, and how good.
    pub scores: Vec<(String, Score)>,
    /// What each feature adds.
    pub importance: Vec<Importance>,
    /// Evictions judged by one who knows the future: trace, size, and the share in the farthest quarter by policy.
    pub decisions: Vec<(String, String, Vec<f64>)>,
    /// The policies of `decisions`.
    pub deciders: Vec<String>,
}

/// What a prior gains over a cold start on some requests it has not seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain<'a> {
    /// Which requests.
    pub on: &'static str,
    /// The mean reduction over cells.
    pub mean: f64,
    /// Its standard error over traces: cells of one trace stand or fall together. One trace tells of none.
    pub error: Option<f64>,
    /// Cells that miss less.
    pub better: usize,
    /// Cells that miss more.
    pub worse: usize,
    /// The cell that loses most.
    pub worst: &'a HeldOut,
}

/// The mean reduction, and its standard error over traces: cells of one trace stand or fall together, and one trace tells of no error.
pub(crate) fn mean_reduction(held_out: &[HeldOut]) -> Option<(f64, Option<f64>)> {
    let mut by_trace: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    held_out.iter().for_each(|cell| by_trace.entry(&cell.trace).or_default().push(cell.reduction));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let reductions: Vec<f64> = held_out.iter().map(|cell| cell.reduction).collect();
    if reductions.is_empty() {
        return None;
    }
    let traces: Vec<f64> = by_trace.values().map(|cells| mean(cells)).collect();
    let (centre, count) = (mean(&traces), traces.len() as f64);
    let spread: f64 = traces.iter().map(|trace| (trace - centre).powi(2)).sum();
    let error = (count > 1.0).then(|| (spread / (count - 1.0) / count).sqrt());
    Some((mean(&reductions), error))
}

impl Card {
    /// Mean reduction over cells of traces held out, where any were.
    pub fn on_other_traces(&self) -> Option<f64> {
        mean_reduction(&self.other_traces).map(|(mean, _)| mean)
    }

    /// Mean reduction over cells in later time, where any cache was filled in it.
    pub fn on_later_time(&self) -> Option<f64> {
        mean_reduction(&self.later_time).map(|(mean, _)| mean)
    }

    /// Why the prior must not be published: it does not beat the cold start on requests it has not seen. On traces held out its mean
    /// must be ahead. Later time is shorter and its cells fewer: there it must not be behind by more than two standard errors, unless
    /// there is nothing else to judge by.
    pub fn refusal(&self) -> Option<String> {
        let on_other = mean_reduction(&self.other_traces);
        let on_later = mean_reduction(&self.later_time);
        let (mean, on) = match (on_other, on_later) {
            (Some((mean, _)), _) if !is_ahead(mean) => (mean, "on traces held out"),
            (Some(_), Some((mean, Some(error)))) if !is_ahead(mean + 2.0 * error) => (mean, "on later time"),
            (None, Some((mean, _))) if !is_ahead(mean) => (mean, "on later time"),
            (None, None) => return Some("there is nothing to validate on: no cache was filled".to_owned()),
            _ => return None,
        };
        Some(format!("the prior does not beat the cold start {on}: {} misses on average", signed(-mean)))
    }

    /// The card.
    pub fn write(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail, here and below.
        let (examples, cells) = self.learned_from;
        let _ = writeln!(
            text,
            "# Model `{}`\n\n\
             <!-- Made by `larder train`. -->\n\n\
             What larder's learned policy knows about reuse before it has seen anything: a weight for each bin of each feature. A cache\n\
             starts from it and goes on learning. Made from {examples} examples of {cells} cells, a cell being a trace at a size, by\n\n\
             ```sh\n{}\n```\n\n\
             `train.toml` has the traces' hashes and every setting; with the same traces the command gives the same bytes.\n\n\
             It holds no keys and no times: weights of coarse bins alone. It says nothing about lifetimes.\n",
            self.name, self.command
        );
        self.summary(&mut text);
        self.table(&mut text, "Traces it never saw", &self.other_traces);
        self.table(&mut text, "Later time", &self.later_time);
        self.predictions(&mut text);
        self.evictions(&mut text);
        text
    }

    /// What it gains over a cold start: on traces held out, and on later time, as far as there are such.
    pub fn gains(&self) -> Vec<Gain<'_>> {
        let sets = [
            ("other traces, held out", &self.other_traces),
            ("later time, the last part of each trace", &self.later_time),
        ];
        let gains = sets.into_iter().filter_map(|(on, cells)| {
            let (mean, error) = mean_reduction(cells)?;
            let better = cells.iter().filter(|cell| cell.reduction > 0.0).count();
            let worse = cells.iter().filter(|cell| cell.reduction < 0.0).count();
            let worst = cells.iter().min_by(|one, other| one.reduction.total_cmp(&other.reduction))?;
            Some(Gain { on, mean, error, better, worse, worst })
        });
        gains.collect()
    }

    fn summary(&self, text: &mut String) {
        text.push_str(
            "## What it gains over a cold start\n\n\
             | requests it has not seen | mean reduction of the miss ratio | standard error over traces | cells better | cells worse | worst cell |\n\
             | --- | ---: | ---: | ---: | ---: | --- |\n",
        );
        for Gain { on, mean, error, better, worse, worst } in self.gains() {
            let HeldOut { trace, size, reduction, .. } = worst;
            let _ = writeln!(
                text,
                "| {on} | {} | {} | {better} | {worse} | {trace} {size} {} |",
                signed(mean),
                error.map_or_else(|| "–".to_owned(), |error| format!("±{:.2}%", error * 100.0)),
                signed(*reduction)
            );
        }
        text.push_str(
            "\nA reduction is (cold − prior) / the larger of the two; positive misses less. A trace is held out with all its family: the\n\
             prior of its row has learned from none of them.\n\n",
        );
    }

    fn table(&self, text: &mut String, title: &str, cells: &[HeldOut]) {
        if cells.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "## {title}\n\n| trace | size | cold start | with the prior | reduction |\n| --- | ---: | ---: | ---: | ---: |"
        );
        for HeldOut { trace, size, cold, prior, reduction } in cells {
            let _ = writeln!(
                text,
                "| {trace} | {size} | {:.2}% | {:.2}% | {} |",
                cold * 100.0,
                prior * 100.0,
                signed(*reduction)
            );
        }
        text.push('\n');
    }

    fn predictions(&self, text: &mut String) {
        text.push_str(
            "## What it predicts, and what happened\n\n\
             | judged | examples | reused | log-loss | Brier | calibration error |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for (name, score) in &self.scores {
            let Score { examples, base_rate, log_loss, brier, calibration_error, .. } = score;
            let _ = writeln!(
                text,
                "| {name} | {examples} | {:.1}% | {log_loss:.4} | {brier:.4} | {calibration_error:.4} |",
                base_rate * 100.0
            );
        }
        text.push_str("\n![Reliability](reliability.svg)\n\n");
        if let Some((name, score)) = self.scores.last() {
            let _ = writeln!(text, "Reliability, {name}:\n\n| examples | said | happened |\n| ---: | ---: | ---: |");
            for bin in &score.bins {
                let _ = writeln!(text, "| {} | {:.3} | {:.3} |", bin.examples, bin.said, bin.happened);
            }
            text.push('\n');
        }
        text.push_str(
            "## What each feature adds\n\n\
             How much the log-loss in later time rises, in nats, when a feature's values are dealt out at random.\n\n\
             | feature | rise |\n| --- | ---: |\n",
        );
        for Importance { feature, rise } in &self.importance {
            let _ = writeln!(text, "| {feature} | {rise:.4} |");
        }
        text.push('\n');
    }

    fn evictions(&self, text: &mut String) {
        if self.decisions.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "## Its evictions, judged by one who knows the future\n\n\
             The share of evictions, refused newcomers included, for which fewer than a quarter of 32 residents drawn at random were\n\
             needed later. Bélády's rule has 100%.\n\n| trace | size | {} |\n| --- | ---: |{}",
            self.deciders.join(" | "),
            " ---: |".repeat(self.deciders.len())
        );
        for (trace, size, shares) in &self.decisions {
            let shares: Vec<String> = shares.iter().map(|share| format!("{:.1}%", share * 100.0)).collect();
            let _ = writeln!(text, "| {trace} | {size} | {} |", shares.join(" | "));
        }
    }
}

/// What is not a number is not ahead.
fn is_ahead(mean: f64) -> bool {
    mean > 0.0
}

fn signed(share: f64) -> String {
    // Rounded first, so that nothing reads as -0.00%.
    format!("{:+.2}%", (share * 10_000.0).round() / 100.0 + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(trace: &str, reduction: f64) -> HeldOut {
        HeldOut { trace: trace.into(), size: "1%".into(), cold: 0.5, prior: 0.5 * (1.0 - reduction), reduction }
    }

    fn card(other: &[f64], later: &[f64]) -> Card {
        let cells =
            |all: &[f64]| all.iter().zip(["a", "b", "c"]).map(|(&reduction, trace)| cell(trace, reduction)).collect();
        Card {
            name: "test".into(),
            command: "larder train x".into(),
            learned_from: (10, 2),
            other_traces: cells(other),
            later_time: cells(later),
            scores: vec![("served".into(), [(0.5, true), (0.5, false)].into_iter().collect())],
            importance: vec![Importance { feature: "age", rise: 0.25 }],
            decisions: vec![("a".into(), "1%".into(), vec![0.5, 0.75])],
            deciders: vec!["lru".into(), "learned".into()],
        }
    }

    #[test]
    fn means_and_errors_by_hand() {
        let cells = [cell("a", 0.0), cell("a", 0.02), cell("b", 0.04)];
        let (mean, error) = mean_reduction(&cells).unwrap();
        assert!((mean - 0.02).abs() < 1e-12);
        // The traces' means are 0.01 and 0.04: a deviation of 0.0212, over the root of two.
        assert!((error.unwrap() - 0.015).abs() < 1e-12, "{error:?}");
        assert_eq!(mean_reduction(&cells[..2]).unwrap().1, None);
        assert_eq!(mean_reduction(&[]), None);
    }

    #[test]
    fn a_prior_that_does_not_help_is_refused() {
        assert_eq!(card(&[0.01, -0.002], &[0.001]).refusal(), None);
        assert_eq!(card(&[], &[0.001]).refusal(), None);
        assert!(card(&[0.01, -0.02], &[0.001]).refusal().unwrap().contains("held out: +0.50% misses"));
        assert!(card(&[], &[0.0]).refusal().unwrap().contains("later time"));
        // Three times behind by 1 %, give or take nothing, is behind; by 1 % give or take 1 % is not known.
        assert!(card(&[0.01], &[-0.01, -0.01, -0.01]).refusal().unwrap().contains("later time"));
        assert_eq!(card(&[0.01], &[-0.02, 0.01, -0.02]).refusal(), None);
        // Once behind is nothing known, where there is other evidence.
        assert_eq!(card(&[0.01, 0.01], &[-0.01]).refusal(), None);
        assert!(card(&[], &[-0.01]).refusal().unwrap().contains("later time"));
        assert!(card(&[f64::NAN], &[0.1]).refusal().is_some());
        assert!(card(&[], &[f64::NAN]).refusal().is_some());
        assert!(card(&[], &[]).refusal().unwrap().contains("nothing to validate on"));
    }

    #[test]
    fn the_card_shows_wins_and_losses() {
        let text = card(&[0.01, -0.03], &[0.002]).write();
        for line in [
            "| other traces, held out | -1.00% | ±2.00% | 1 | 1 | b 1% -3.00% |",
            "| a | 1% | 50.00% | 49.50% | +1.00% |",
            "| served | 2 | 50.0% | 0.6931 | 0.2500 | 0.0000 |",
            "| age | 0.2500 |",
            "| a | 1% | 50.0% | 75.0% |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
