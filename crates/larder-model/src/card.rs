//! A model's card, in Markdown: what it is, what it gains and where it loses, made from the run alone.

use std::fmt::Write as _;

use crate::evaluate::{Importance, Score};
use crate::lead::{Lead, mean, signed};

/// A cache that starts from a prior against one that starts cold, on requests the prior has not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// The trace.
    pub trace: String,
    /// What it is held out with: traces of one origin are alike.
    pub family: String,
    /// The size, as it was asked for.
    pub size: String,
    /// The size, in objects or bytes.
    pub capacity: u64,
    /// Accesses that count.
    pub requests: u64,
    /// What missed, a seed each.
    pub seeds: Vec<Ratios>,
}

/// Miss ratios on the same requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratios {
    /// Of the cold start.
    pub cold: f64,
    /// Of the prior that ships with larder; none where the model is to take its place.
    pub shipped: Option<f64>,
    /// With the prior.
    pub prior: f64,
}

impl Ratios {
    /// By how much the prior reduces the cold start's misses; negative where it misses more.
    pub fn over_cold(&self) -> f64 {
        reduction(self.cold, self.prior)
    }

    /// By how much it reduces those of the prior that ships.
    pub fn over_shipped(&self) -> Option<f64> {
        self.shipped.map(|shipped| reduction(shipped, self.prior))
    }
}

/// (reference − ratio) / the larger of the two.
fn reduction(reference: f64, ratio: f64) -> f64 {
    let larger = reference.max(ratio);
    if larger == 0.0 { 0.0 } else { (reference - ratio) / larger }
}

impl HeldOut {
    /// The means over the seeds.
    pub fn ratios(&self) -> Ratios {
        let of = |ratio: fn(&Ratios) -> f64| mean(&self.seeds.iter().map(ratio).collect::<Vec<_>>());
        let shipped: Option<Vec<f64>> = self.seeds.iter().map(|ratios| ratios.shipped).collect();
        Ratios {
            cold: of(|ratios| ratios.cold),
            shipped: shipped.map(|ratios| mean(&ratios)),
            prior: of(|ratios| ratios.prior),
        }
    }

    /// By how much the prior reduces the cold start's misses, the mean over the seeds.
    pub fn reduction(&self) -> f64 {
        mean(&self.seeds.iter().map(Ratios::over_cold).collect::<Vec<_>>())
    }
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

/// What a prior gains on some requests it has not seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain<'a> {
    /// Which requests.
    pub on: &'static str,
    /// Over a cold start.
    pub over_cold: Lead,
    /// The same with each family counted once, however many its cells; none of one family alone. It decides nothing.
    pub each_family_once: Option<Lead>,
    /// Over the prior that ships with larder.
    pub over_shipped: Option<Lead>,
    /// Cells that miss less than the cold start.
    pub better: usize,
    /// Cells that miss more.
    pub worse: usize,
    /// The cell that loses most.
    pub worst: &'a HeldOut,
}

const OTHER: &str = "other traces, held out";
const LATER: &str = "later time, the last part of each trace";

impl Card {
    /// Mean reduction over cells of traces held out, where any were.
    pub fn on_other_traces(&self) -> Option<f64> {
        over_cold(&self.other_traces).map(|lead| lead.mean)
    }

    /// Mean reduction over cells in later time, where any cache was filled in it.
    pub fn on_later_time(&self) -> Option<f64> {
        over_cold(&self.later_time).map(|lead| lead.mean)
    }

    /// Why the prior must not be published: on requests it has not seen it does not beat the cold start by more than chance, or loses by
    /// as much to the prior that a cache has without it. Traces held out decide where there are any. Later time is shorter and its cells
    /// fewer: beside them it must only not be behind by more than two standard errors.
    pub fn refusal(&self) -> Option<String> {
        let (on_other, on_later) = (over_cold(&self.other_traces), over_cold(&self.later_time));
        let is_lost = |lead: Lead| lead.error.is_some_and(|error| lead.mean.is_nan() || lead.mean + 2.0 * error <= 0.0);
        let (lead, on) = match (on_other, on_later) {
            (Some(lead), _) if !lead.is_ahead() => (lead, "traces held out"),
            (Some(_), Some(lead)) if is_lost(lead) => (lead, "later time"),
            (None, Some(lead)) if !lead.is_ahead() => (lead, "later time"),
            (None, None) => return Some("there is nothing to validate on: no cache was filled".to_owned()),
            _ => {
                let (lead, on) = self.beside_shipped().filter(|(lead, _)| lead.is_behind())?;
                return Some(format!(
                    "the prior that ships with larder misses less on {on}: a reduction of {lead} beside it"
                ));
            }
        };
        Some(format!("the prior does not beat the cold start on {on} by more than chance: a reduction of {lead}"))
    }

    /// What is to be said of a prior that may be published, though nothing says that it is better than the one a cache has without it.
    pub fn doubt(&self) -> Option<String> {
        let (lead, on) = self.beside_shipped().filter(|(lead, _)| !lead.is_ahead())?;
        Some(format!(
            "no better by more than chance than the prior that ships with larder, on {on}: a reduction of {lead} beside it"
        ))
    }

    /// Its lead over the prior that ships, on what decides.
    fn beside_shipped(&self) -> Option<(Lead, &'static str)> {
        match self.other_traces.is_empty() {
            false => Some((over_shipped(&self.other_traces)?, "traces held out")),
            true => Some((over_shipped(&self.later_time)?, "later time")),
        }
    }

    /// The miss ratios on traces held out, for programs: a table with tabs and a header.
    pub fn held_out(&self) -> String {
        let mut text = "trace\tcapacity\tsize\trequests\tcold\theld_out\n".to_owned();
        for cell in &self.other_traces {
            let (HeldOut { trace, size, capacity, requests, .. }, Ratios { cold, prior, .. }) = (cell, cell.ratios());
            // Writing to a string does not fail, here and below.
            let _ = writeln!(text, "{trace}\t{capacity}\t{size}\t{requests}\t{cold:.7}\t{prior:.7}");
        }
        text
    }

    /// The card.
    pub fn write(&self) -> String {
        let mut text = String::new();
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

    /// What it gains: on traces held out, and on later time, as far as there are such.
    pub fn gains(&self) -> Vec<Gain<'_>> {
        let gains = [(OTHER, &self.other_traces), (LATER, &self.later_time)].into_iter().filter_map(|(on, cells)| {
            let better = cells.iter().filter(|cell| cell.reduction() > 0.0).count();
            let worse = cells.iter().filter(|cell| cell.reduction() < 0.0).count();
            let worst = cells.iter().min_by(|one, other| one.reduction().total_cmp(&other.reduction()))?;
            let (over_cold, over_shipped) = (over_cold(cells)?, over_shipped(cells));
            Some(Gain {
                on,
                over_cold,
                each_family_once: Lead::each_family_once(cells),
                over_shipped,
                better,
                worse,
                worst,
            })
        });
        gains.collect()
    }

    fn summary(&self, text: &mut String) {
        if let Some(refusal) = self.refusal() {
            let _ = writeln!(text, "**Published by force**: {refusal}.\n");
        }
        let gains = self.gains();
        text.push_str(
            "## What it gains over a cold start\n\n\
             | requests it has not seen | mean reduction of the miss ratio | cells better | cells worse | worst cell |\n\
             | --- | ---: | ---: | ---: | --- |\n",
        );
        for Gain { on, over_cold, better, worse, worst, .. } in &gains {
            let HeldOut { trace, size, .. } = worst;
            let _ = writeln!(
                text,
                "| {on} | {over_cold} | {better} | {worse} | {trace} {size} {} |",
                signed(worst.reduction())
            );
        }
        for Gain { on, each_family_once, .. } in &gains {
            if let Some(lead) = each_family_once {
                let _ = writeln!(text, "\nWith each family counted once, however many its cells, on {on}: {lead}.");
            }
        }
        for Gain { on, over_shipped, .. } in &gains {
            if let Some(lead) = over_shipped {
                let _ = writeln!(text, "\nOver the prior that ships with larder, on {on}: {lead}.");
            }
        }
        text.push_str(
            "\nA reduction is (cold − prior) / the larger of the two; positive misses less. A trace is held out with all its family: the\n\
             prior of its row has learned from none of them. The mean is over cells, and its standard error from how far it moves when a\n\
             family is left out, for their traces are alike; of one family alone it is over seeds, which tell of chance in the cache and\n\
             not of other traffic. What is held out has chosen nothing here, but whoever trains again and keeps the better model chooses\n\
             by it.\n\n",
        );
    }

    fn table(&self, text: &mut String, title: &str, cells: &[HeldOut]) {
        let Some(first) = cells.first() else { return };
        let has_shipped = first.ratios().shipped.is_some();
        let (shipped, rule) = if has_shipped { (" shipped prior |", " ---: |") } else { ("", "") };
        let _ = writeln!(
            text,
            "## {title}\n\n| trace | size | cold start |{shipped} with the prior | reduction |\n| --- | ---: | ---: |{rule} ---: | ---: |"
        );
        for cell in cells {
            let (HeldOut { trace, size, .. }, Ratios { cold, shipped, prior }) = (cell, cell.ratios());
            let percent = |ratio: f64| format!("{:.2}%", ratio * 100.0);
            let shipped = shipped.map_or_else(String::new, |ratio| format!(" {} |", percent(ratio)));
            let (cold, prior, reduction) = (percent(cold), percent(prior), signed(cell.reduction()));
            let _ = writeln!(text, "| {trace} | {size} | {cold} |{shipped} {prior} | {reduction} |");
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
        if let [.., (_, cold), (on, prior)] = self.scores.as_slice()
            && prior.log_loss >= cold.log_loss
        {
            let _ = writeln!(
                text,
                "\nOn all of {on}, the log-loss is no lower than the cold start's: a cache soon knows as much itself."
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

fn over_cold(cells: &[HeldOut]) -> Option<Lead> {
    Lead::of(cells, |ratios| Some(ratios.over_cold()))
}

fn over_shipped(cells: &[HeldOut]) -> Option<Lead> {
    Lead::of(cells, Ratios::over_shipped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::Over;

    /// A cell of a family, whose prior reduces the misses so much, by seed.
    fn seeds(family: &str, reductions: &[f64]) -> HeldOut {
        let ratios = |&by: &f64| Ratios {
            cold: 0.5,
            shipped: None,
            prior: if by < 0.0 { 0.5 / (1.0 + by) } else { 0.5 * (1.0 - by) },
        };
        HeldOut {
            trace: family.into(),
            family: family.into(),
            size: "1%".into(),
            capacity: 64,
            requests: 1000,
            seeds: reductions.iter().map(ratios).collect(),
        }
    }

    fn card(other: &[f64], later: &[f64]) -> Card {
        let cells = |all: &[f64]| all.iter().zip(["a", "b", "c"]).map(|(&by, family)| seeds(family, &[by])).collect();
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
        let mut cells = [seeds("a", &[0.0]), seeds("a", &[0.02]), seeds("b", &[0.04])];
        // Another trace of a family is no more evidence than another size of a trace.
        cells[1].trace = "a-2".into();
        let lead = over_cold(&cells).unwrap();
        assert!((lead.mean - 0.02).abs() < 1e-12);
        // Without `b` the mean is 0.01, without `a` 0.04.
        assert!((lead.error.unwrap() - 0.015).abs() < 1e-12, "{lead:?}");
        assert_eq!(lead.over, Over::Families(2));
        assert_eq!(over_cold(&cells[..2]).unwrap().error, None);
        assert_eq!(over_cold(&[]), None);
    }

    /// The error must be that of the mean beside it: that of the families' means, 0.0120, says nothing of the cells'.
    #[test]
    fn the_error_belongs_to_the_mean() {
        let by =
            |family: &str, reductions: &[f64]| reductions.iter().map(|&by| seeds(family, &[by])).collect::<Vec<_>>();
        let cells = [by("a", &[0.03; 8]), by("b", &[-0.01]), by("c", &[0.0])].concat();
        let lead = over_cold(&cells).unwrap();
        // Without `a`, `b` and `c`: -0.005, 0.24 / 9 and 0.23 / 9.
        assert!((lead.mean - 0.023).abs() < 1e-12 && (lead.error.unwrap() - 0.020_750_7).abs() < 1e-6, "{lead:?}");
        let once = Lead::each_family_once(&cells).unwrap();
        assert!((once.mean - 0.02 / 3.0).abs() < 1e-12 && (once.error.unwrap() - 0.012_018_5).abs() < 1e-6, "{once:?}");
        // Many cells of one family do not make two families sure.
        let two = [by("a", &[0.1; 20]), by("b", &[-0.1])].concat();
        assert!(!over_cold(&two).unwrap().is_ahead());
        assert_eq!(Lead::each_family_once(&cells[..8]), None);
    }

    #[test]
    fn of_one_family_seeds_tell_the_error() {
        let lead = |reductions: &[f64]| over_cold(&[seeds("a", reductions), seeds("a", reductions)]).unwrap();
        // A deviation of 0.0141 over the root of two.
        let unsure = lead(&[0.005, 0.025]);
        assert!((unsure.mean - 0.015).abs() < 1e-12 && (unsure.error.unwrap() - 0.01).abs() < 1e-12, "{unsure:?}");
        assert_eq!((unsure.over, unsure.is_ahead()), (Over::Seeds(2), false));
        assert!(lead(&[0.015, 0.025]).is_ahead() && !lead(&[0.02]).is_ahead());
    }

    #[test]
    fn a_prior_that_does_not_help_is_refused() {
        assert_eq!(card(&[0.01, 0.002], &[0.001]).refusal(), None);
        let alone = |reductions: &[f64]| Card { later_time: vec![seeds("a", reductions)], ..card(&[], &[]) };
        assert_eq!(alone(&[0.001, 0.001]).refusal(), None);
        assert!(
            alone(&[0.03, 0.0])
                .refusal()
                .unwrap()
                .contains("later time by more than chance: a reduction of +1.50% ±1.50%")
        );
        assert!(alone(&[0.03]).refusal().unwrap().contains("one seed"));
        assert!(alone(&[0.0, 0.0]).refusal().unwrap().contains("later time"));
        // Ahead by less than chance is not ahead.
        assert!(
            card(&[0.01, -0.002], &[0.001])
                .refusal()
                .unwrap()
                .contains("held out by more than chance: a reduction of +0.40% ±0.60%")
        );
        // Three times behind by 1 %, give or take nothing, is behind; by 1 % give or take 1 % is not known.
        assert!(card(&[0.01, 0.01], &[-0.01, -0.01, -0.01]).refusal().unwrap().contains("later time"));
        assert_eq!(card(&[0.01, 0.01], &[-0.02, 0.01, -0.02]).refusal(), None);
        // Once behind is nothing known, where there is other evidence.
        assert_eq!(card(&[0.01, 0.01], &[-0.01]).refusal(), None);
        assert!(card(&[f64::NAN, 0.1], &[0.1]).refusal().is_some());
        assert!(alone(&[f64::NAN, 0.1]).refusal().is_some());
        assert!(card(&[], &[]).refusal().unwrap().contains("nothing to validate on"));
    }

    #[test]
    fn a_prior_is_set_beside_the_one_that_ships() {
        let beside = |shipped: [f64; 2]| {
            let mut card = card(&[0.01, 0.01], &[]);
            for (cell, shipped) in card.other_traces.iter_mut().zip(shipped) {
                cell.seeds[0].shipped = Some(shipped);
            }
            card
        };
        // The prior misses 49.5 % in both.
        assert!(beside([0.49, 0.48]).refusal().unwrap().contains("the prior that ships with larder misses less"));
        let even = beside([0.49, 0.5]);
        assert_eq!(even.refusal(), None);
        assert!(even.doubt().unwrap().contains("no better by more than chance"));
        let better = beside([0.5, 0.51]);
        assert_eq!((better.refusal(), better.doubt()), (None, None));
        assert!(better.write().contains("| a | 1% | 50.00% | 50.00% | 49.50% | +1.00% |"));
        assert!(better.write().contains("Over the prior that ships with larder, on other traces, held out: +1.97%"));
    }

    #[test]
    fn what_is_held_out_is_a_table_too() {
        let rows = card(&[0.01], &[]).held_out();
        assert_eq!(rows, "trace\tcapacity\tsize\trequests\tcold\theld_out\na\t64\t1%\t1000\t0.5000000\t0.4950000\n");
    }

    #[test]
    fn the_card_shows_wins_and_losses() {
        let text = card(&[0.01, -0.03], &[0.002]).write();
        for line in [
            "**Published by force**: the prior does not beat the cold start",
            "| other traces, held out | -1.00% ±2.00% (2 families) | 1 | 1 | b 1% -3.00% |",
            "| a | 1% | 50.00% | 49.50% | +1.00% |",
            "| served | 2 | 50.0% | 0.6931 | 0.2500 | 0.0000 |",
            "| age | 0.2500 |",
            "| a | 1% | 50.0% | 75.0% |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
