//! From what the kernel tells to plain data and sentences.

use std::time::Duration;

use larder_policy::freshness::Known;
use larder_policy::learned::explanation::{Decision, Explanation, Term};
use larder_policy::learned::{Prior, Rule};

use super::{Contribution, Evidence, Explained, Lifetime, Logged, RunnerUp, Score};
use crate::decisions::{Decided, Label};

impl Explained {
    pub(super) fn new(
        key: Label,
        is_resident: bool,
        policy: &str,
        score: Option<Score>,
        lifetime: Option<Lifetime>,
        decisions: Vec<Logged>,
    ) -> Self {
        let mut words = Vec::new();
        let held = if is_resident { "Memory holds it." } else { "Memory does not hold it." };
        words.push(held.to_owned());
        match &score {
            Some(score) => words.extend(score.words()),
            None => {
                words.push(format!("The policy '{policy}' keeps no scores that could be told; a learned one does."))
            }
        }
        words.extend(lifetime.iter().map(Lifetime::words));
        words.extend(decisions.first().map(Logged::words));
        Self { key, is_resident, policy: policy.to_owned(), arm: None, words, score, lifetime, decisions }
    }

    /// Of a key that nothing is known of.
    pub(super) fn unknown(key: Label, policy: &str) -> Self {
        let words = vec![
            "Memory does not hold it, and nothing is remembered of it.".to_owned(),
            "It was never read here, it left a while ago, or it is written otherwise.".to_owned(),
        ];
        let policy = policy.to_owned();
        Self { key, is_resident: false, policy, arm: None, words, score: None, lifetime: None, decisions: Vec::new() }
    }
}

impl Score {
    /// `shared` is the model that came from another instance, if one did.
    pub(super) fn of(told: &Explanation, runner_up: Option<RunnerUp>, shared: Option<&Prior>) -> Self {
        let decision = match told.decision {
            Decision::Admitted => "admitted",
            Decision::Refused => "refused",
            Decision::Kept => "kept",
            Decision::Evicted => "evicted",
        };
        let rule = match told.rule {
            Rule::Learned => "learned",
            Rule::Lru => "lru",
            Rule::Frequency => "frequency",
        };
        let contributions = told.contributions.iter().map(|contribution| {
            let (name, value) = match &contribution.term {
                Term::Feature { name, reading, .. } => ((*name).to_owned(), reading.to_string()),
                Term::Cross { names: [one, other], bins: [a, b] } => {
                    (format!("{one} × {other}"), format!("cell {a}, {b}"))
                }
                Term::Intercept => ("intercept".to_owned(), String::new()),
            };
            Contribution { name, value, adds: contribution.adds.to_vec() }
        });
        let model = match (shared, Prior::general()) {
            (Some(prior), _) => format!("shared {:08x}", prior.version()),
            (None, Ok(prior)) => format!("general {:08x}", prior.version()),
            (None, Err(_)) => "general unknown".into(),
        };
        Self {
            decision,
            rule,
            model,
            score: told.score,
            worth: told.worth,
            gain: told.gain,
            horizons: told.horizons.to_vec(),
            within: told.within.to_vec(),
            logits: told.logits.to_vec(),
            contributions: contributions.collect(),
            rank: told.ranked.map(|ranked| ranked.rank),
            of: told.ranked.map(|ranked| ranked.of),
            runner_up,
        }
    }

    fn words(&self) -> Vec<String> {
        let decision = match (self.decision, self.of) {
            ("admitted", None) => "If it arrived now, it would be let in: there is room.",
            ("admitted", _) => "If it arrived now, it would be let in, and the runner-up would leave.",
            ("refused", _) => "If it arrived now, it would be refused: it is worth less than all candidates to leave.",
            ("kept", _) => "If room were needed now, another would leave.",
            _ => "If room were needed now and it were drawn, it would leave.",
        };
        let mut words = vec![decision.to_owned()];
        if let (Some(rank), Some(of)) = (self.rank, self.of) {
            let beside = self.runner_up.map_or_else(String::new, |other| format!("; the next has {:.4}", other.score));
            words.push(format!("Its score is {:.4}: number {rank} of {of} candidates to leave{beside}.", self.score));
        }
        if let (Some(within), Some(horizon)) = (self.within.first(), self.horizons.first()) {
            let share = within * 100.0;
            words.push(format!("The model gives it {share:.0} % to be used within the next {horizon:.0} reads."));
        }
        if self.rule == "lru" {
            words.push("The guard has stepped back to LRU for now: the oldest leaves, whatever the model says.".into());
        }
        words
    }
}

impl Lifetime {
    pub(super) fn of(age: Duration, lifetime: Duration, known: Option<Known>, reads: f32) -> Self {
        let evidence = known.map(|known| Evidence {
            looks: known.looks,
            changes: known.changes,
            rate: known.rate,
            shape: known.shape,
            is_flipping: known.is_flipping,
            stale: known.value.map(|value| value.stale),
            index: known.value.map(|value| value.index),
            threshold: known.value.map(|value| value.threshold),
        });
        Self {
            age: age.as_secs_f64(),
            lifetime: lifetime.as_secs_f64(),
            is_learned: known.is_some(),
            reads: known.map_or_else(|| f64::from(reads), |known| known.reads),
            evidence,
        }
    }

    fn words(&self) -> String {
        let (age, lifetime) = (span(self.age), span(self.lifetime));
        let Some(evidence) = &self.evidence else {
            return format!("It was loaded {age} ago, with a given lifetime of {lifetime}.");
        };
        let changes = match (evidence.looks, evidence.changes) {
            (0, 0) => "nobody has looked yet whether it changes, so its class decides".to_owned(),
            (looks, changes) => format!(
                "{changes} changes were found in {looks} looks, which makes one in {}",
                span(1.0 / evidence.rate.max(1e-12))
            ),
        };
        let stale = match evidence.stale {
            Some(stale) => format!(" The chance that it is stale by now is {:.2} %.", stale * 100.0),
            None => String::new(),
        };
        format!("It was loaded {age} ago and was expected to stay good for {lifetime}: {changes}.{stale}")
    }
}

impl Logged {
    fn words(&self) -> String {
        let span = span(f64::from(self.seconds));
        let what = match self.what {
            Decided::Admitted => format!("it was let in, to live {span}"),
            Decided::Refused => "it was refused".to_owned(),
            Decided::TooHeavy => "it was refused, for it weighs more than a segment's share of the capacity".to_owned(),
            Decided::Evicted => format!("it was evicted at the age of {span}"),
            Decided::Expired => format!("it left at the end of its life, {span} old"),
            Decided::Renewed => format!("it was renewed ahead of its end, {span} old"),
            Decided::Audited => format!("it was audited, {span} old"),
            Decided::Outdated => format!("it was too old to be served, {span} old, and loaded anew"),
        };
        format!("Last, {what}.")
    }
}

/// Seconds, as people say them.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.0995 => format!("{:.0} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        let spans =
            [(0.0123, "12 ms"), (1.0, "1.0 s"), (59.7, "60 s"), (300.0, "5 min"), (7200.0, "2.0 h"), (4e5, "4.6 d")];
        for (seconds, text) in spans {
            assert_eq!(span(seconds), text);
        }
    }
}
