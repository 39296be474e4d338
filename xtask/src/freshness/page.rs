//! How the figures read.

use std::fmt::Write as _;

use super::{Figures, Group, Measured, Record};

const HEAD: &str = "\
<!-- Made by `cargo xtask freshness` from the traces in LARDER_TRACES. -->

# Freshness: say how stale, not how many seconds

`EX 300` says: after five minutes, ask again. Whether that is often enough nobody knows, and it is the same for the logo that
never changes and the stock that changes every ten seconds. One number has to serve both, so it is too short for most keys,
which costs loads, and too long for some, which costs wrong answers.

An objective says what you care about instead: *of all answers, at most 1 % may be outdated*. The rest follows. larder watches
what every reload shows for free (was the value still the same?), learns how each key and each kind of key changes, and gives
each its own lifetime so that loads are as few as the objective allows. A small share of hits is checked at the origin, so that
the stale rate it reports is measured and not assumed; while its interval holds the objective it says *not certifiable yet*.

```rust
use std::time::Duration;
use larder::{Cache, Freshness};

let hour = Duration::from_secs(3600);
// At most 1 % of answers outdated by more than 30 s; never serve anything older than six hours.
let freshness = Freshness::stale_reads(0.01)?.older_than(Duration::from_secs(30)).max_ttl(6 * hour);

// It learns from what loads tell of changes: a digest of the value will do, a version or a time of change is better.
let cache: Cache<String, String> = Cache::builder().capacity(10_000).freshness(freshness).digest_by_hash().build()?;
```

Without a digest, a version or a time of change (`Fetched::changed_at`) nothing is learned and nothing measured; after a hundred such loads the
cache says so in the log.

| you write | it means |
|---|---|
| `stale_reads(0.01)` | at most 1 % of reads are served a value that the origin had already replaced |
| `.older_than(30 s)` | such a read counts only when the value had been replaced for longer than 30 s; whether it had is measured where loads tell times of change, and bounded where they do not |
| `.max_ttl(6 h)` | the hard limit, whatever is foreseen; one day where you give none |
| `.with_prefix(\"price:\", …)` | another objective for some keys |
| `.starting_ttl(300 s)` | exactly `EX 300` until enough is known to do better |
| `fixed_ttl(300 s)` | exactly `EX 300`, for ever |
| `share_of_age(0.1)` | for a tenth of the time the value had gone unchanged when it was loaded (Alex), as HTTP caches guess it |
| `never_stale()` | served only under a lease that a write notice ends |

Which share? 1 % stale means that 99 of 100 answers are what the origin would have said; most caches with a fixed lifetime
serve more than that without knowing. Begin with what you have: `larder freshness TRACE --policy static-deployed` shows
what a lifetime chosen yesterday really serves. If your application can say when a value changes, even for some of the
writes, say so (`changed(key)`): half of the notices saves more than any estimator.

A value that within five seconds keeps returning to what it was before the last change, or that differs at eight looks in a row of 50 ms and less,
is taken for one that says nothing: a page with the time in it, answers in turn. Such keys are reported by class (`larder_flipping_keys`) and are no
part of the objective. Whoever knows that a value changed says so (`Evidence::Changed`, a time of change), and it never is.

What is measured: the share of reads served within their time. A read that is answered beyond it because the origin failed or was slow is no part of
the rate, as nobody can say whether it was stale; there is a count of those. With `.older_than`, an audit that finds a change says whether that
came longer ago than is borne only where the load tells when it was. Without a time the published rate is modelled in this point, by the forecast; its
interval is not: it reaches from what was certainly stale to all that had changed, and is seldom narrow enough to certify anything. By a time of the *last* change,
an earlier one that it hides is foreseen.

What it cannot do: a key that changes at random times, read rarely, has to be loaded at nearly every read; where all keys
change alike there is nothing to gain over one lifetime; and below about 300 expected stale reads nobody can say
whether 1 % was met. Where changes cause the reads (a feed, a push that makes clients fetch), loads find more changed than a read at another
time would, so values are taken for more fickle than they are, and the objective is not spent. Keys of a new kind are taken for what their class, prefix and size, has been so
far, until it has learned better: that can cost several times the objective for a while.

";

const GRACED: &str = "\
\n## Outdated values borne for a while, objective 1 %

`--grace TIME`, all seeds: the stale rate served, and how many of the published intervals hold it. Loads tell a digest, so that intervals are bounds, or the time of the \
last change (`--evidence`).\n\n";

const EVICTING_TITLE: &str = "\n## With a store that evicts\n\n";
const EVICTING: &str = "\
`--capacity SIZE --evict POLICY`: freshness ends entries, eviction shares the memory, in one replay. Lifetimes of the rule \
`static` are tuned to the stale rate of the learned ones beside them, so that two lines of a store compare at equal staleness; \
its entries leave the store at their end, as with `EX`. With `--rent 0.02` holding an object for a day costs 0.02 loads: an \
entry leaves when its next read no longer pays for that, each read renewing its time, and at three times the lifetime that was \
foreseen for it.\n\n";

/// The page.
pub(super) fn page(figures: &Figures) -> String {
    let mut page = String::from(HEAD);
    page.push_str("## What was reached\n\n");
    page.push_str(
        "Every trace with real times of change. `zipf:0.9:N` lays seeded Poisson reads over the keys' lives, N a key on \
         average, in place of the trace's own; where reads are a poller's own (`as-is`), hit ratios say little. Loads include \
         audits. Rules are tuned in hindsight to the stale rate the engine really served; ratios below 1 are wins of the \
         engine. The constants were chosen on the traces called seen, the others were run with them as they were. \
         Commands: `larder freshness TRACE --reads READS --max-ttl 10000d --seed 1,…`.\n\n",
    );
    page.push_str(&aims(figures));
    page.push_str("\n![Loads by stale reads on the outage feed](freshness.svg)\n");
    for (group, title) in [
        (Group::Seen, "Traces seen while constants were chosen"),
        (Group::Unseen, "Traces left out"),
        (Group::Synthetic, "Families made by rule (`changes:FAMILY`)"),
    ] {
        // Writing to a string does not fail, here and below.
        let _ = write!(page, "\n## {title}, objective 1 %\n\n{}", main_table(figures, group));
        let _ = write!(
            page,
            "\nOther rules, seed 1: loads of the engine by theirs at equal stale rates, and for rules tuned on the first fifth, the stale rate they really served over the objective.\n\n{}",
            further_table(figures, group)
        );
    }
    page.push_str("\n## Other objectives, seed 1\n\n");
    page.push_str(&objectives_table(figures));
    page.push_str("\n## Half of the writes noticed, seed 1\n\nThe static rule gets the same notices.\n\n");
    page.push_str(&noticed_table(figures));
    page.push_str(GRACED);
    page.push_str(&graced_table(figures));
    with_evicting(&page, figures)
}

/// The page with its last section, which is on stores that evict, written anew.
pub(super) fn with_evicting(page: &str, figures: &Figures) -> String {
    let before = page.split_once(EVICTING_TITLE).map_or(page, |(before, _)| before);
    format!("{before}{EVICTING_TITLE}{EVICTING}{}", evicting_table(figures))
}

/// Geometric mean; none without values.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

impl Measured {
    fn of<'a>(&'a self, policy: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.policy == policy)
    }

    /// The engine's loads by those of `policy`, geometric mean over seeds.
    fn beside(&self, policy: &str) -> Option<f64> {
        let pairs = self.of(policy).filter_map(|other| {
            let own = self.of("learned").find(|own| own.seed == other.seed)?;
            Some(own.origin_loads_per_read / other.origin_loads_per_read)
        });
        mean(&pairs.collect::<Vec<_>>())
    }

    /// The engine's loads by those of the best of its own experts that kept to the objective as well as it did.
    fn beside_experts(&self) -> Option<f64> {
        let ratios = self.of("learned").filter_map(|own| {
            let experts = ["expert-global", "expert-class", "expert-alex"].into_iter().filter_map(|expert| {
                let other = self.of(expert).find(|other| other.seed == own.seed)?;
                (other.stale_rate <= own.stale_rate * 1.02).then_some(other.origin_loads_per_read)
            });
            Some(own.origin_loads_per_read / experts.reduce(f64::min)?)
        });
        mean(&ratios.collect::<Vec<_>>())
    }

    fn average(&self, policy: &str, value: impl Fn(&Record) -> f64) -> f64 {
        let values: Vec<f64> = self.of(policy).map(value).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    }

    /// The engine's runs in which at least 300 stale reads are expected.
    fn large(&self) -> impl Iterator<Item = &Record> {
        self.of("learned").filter(|record| record.reads as f64 * record.objective >= 300.0)
    }

    /// Whether the objective can be spent: never reloading serves at least 0.8 of it.
    fn can_be_spent(&self, record: &Record) -> bool {
        self.most_stale >= 0.8 * record.objective
    }

    /// Realised over objective of large runs whose objective can be spent.
    fn realised(&self) -> Vec<f64> {
        let can = self.large().filter(|record| self.can_be_spent(record));
        can.map(|record| record.stale_rate / record.objective).collect()
    }

    /// How many large runs have an objective that cannot be spent.
    fn beyond_reach(&self) -> usize {
        self.large().filter(|record| !self.can_be_spent(record)).count()
    }

    fn name(&self) -> String {
        let trace = self.records.first().map_or(self.case.trace, |record| &record.trace);
        format!("{trace} | {}", self.case.reads)
    }
}

impl Record {
    /// Whether the published interval holds the truth.
    fn is_covered(&self) -> bool {
        match (self.stale_rate_low, self.stale_rate_high) {
            (Some(low), Some(high)) => (low..=high).contains(&self.stale_rate),
            _ => false,
        }
    }

    /// Whether the objective is said to be met, where it is said to be certain.
    fn says_met(&self) -> Option<bool> {
        (self.certifiable == Some(true)).then(|| self.stale_rate_high.is_some_and(|high| high <= self.objective))
    }
}

impl Figures {
    /// What was steered by an objective, in a store that holds everything.
    fn steered(&self) -> impl Iterator<Item = &Measured> {
        self.main.iter().chain(&self.objectives).chain(&self.noticed)
    }
}

fn within(figures: &Figures, groups: &[Group], value: impl Fn(&Measured) -> Option<f64>) -> Vec<f64> {
    figures.main.iter().filter(|measured| groups.contains(&measured.case.group)).filter_map(value).collect()
}

/// The aims, and what was reached of them.
fn aims(figures: &Figures) -> String {
    let mut table = String::from("| measure | aim | reached |\n|---|---|---|\n");
    let mut line = |measure: &str, aim: &str, reached: String| {
        let _ = writeln!(table, "| {measure} | {aim} | {reached} |");
    };
    let of = |groups: &[Group], policy: &'static str| within(figures, groups, |measured| measured.beside(policy));
    let pair = |policy| {
        format!(
            "{} seen, {} left out, {} families",
            ratio(mean(&of(&[Group::Seen], policy))),
            ratio(mean(&of(&[Group::Unseen], policy))),
            ratio(mean(&of(&[Group::Synthetic], policy)))
        )
    };
    let real = [Group::Seen, Group::Unseen];
    line(
        "loads beside the best static lifetime in hindsight, geometric mean",
        "≤ 0.45 seen, ≤ 0.65 left out",
        pair("static"),
    );
    line("beside the best lifetime a class in hindsight", "≤ 0.75", pair("class-static"));
    line(
        "beside Alex with the best k in hindsight, at 1 %",
        "≤ 0.75, none above 1.02",
        format!("{}; greatest {}", pair("alex"), ratio(most(&of(&real, "alex")))),
    );
    let experts = within(figures, &real, Measured::beside_experts);
    let losses = experts.iter().filter(|ratio| **ratio > 1.01).count();
    line(
        "beside the best of static, class and Alex learned online (those that were no staler)",
        "≤ 1.01 in each case",
        format!(
            "mean {}, greatest {}, {losses} of {} above 1.01",
            ratio(mean(&experts)),
            ratio(most(&experts)),
            experts.len()
        ),
    );
    let steered = |groups: &[Group]| {
        let all = figures.steered();
        all.filter(|measured| groups.contains(&measured.case.group)).collect::<Vec<_>>()
    };
    let within_band = |groups: &[Group]| {
        let realised: Vec<f64> = steered(groups).into_iter().flat_map(Measured::realised).collect();
        let met = realised.iter().filter(|share| (0.8..=1.1).contains(*share)).count();
        format!("{met} of {}", realised.len())
    };
    let every = [Group::Seen, Group::Unseen, Group::Synthetic];
    let realised: Vec<f64> = steered(&every).into_iter().flat_map(Measured::realised).collect();
    let (low, high) =
        realised.iter().fold((f64::INFINITY, 0.0f64), |(low, high), &share| (low.min(share), high.max(share)));
    let beyond: usize = steered(&every).into_iter().map(Measured::beyond_reach).sum();
    line(
        "realised over objective at 0.1, 1 and 5 %, and at 1 % with half of the writes noticed, runs with at least 300 expected stale reads",
        "each in 0.80–1.10",
        format!(
            "{} runs: {} seen, {} left out, {} families; from {low:.2} to {high:.2}. Not counted: {beyond} runs in which even \
             never reloading serves less than 0.8 of the objective",
            within_band(&every),
            within_band(&[Group::Seen]),
            within_band(&[Group::Unseen]),
            within_band(&[Group::Synthetic]),
        ),
    );
    let windows = |policy: &'static str| -> Vec<f64> {
        let is_large = |record: &&Record| record.reads as f64 / 40.0 * record.objective >= 30.0;
        let all = figures.steered().flat_map(move |measured| measured.of(policy));
        all.filter(is_large).map(|record| record.worst_window_stale_rate / record.objective).collect()
    };
    let (own, fixed) = (windows("learned"), windows("static"));
    let calm = own.iter().filter(|worst| **worst <= 2.0).count();
    let better = own.iter().zip(&fixed).filter(|(own, fixed)| own <= fixed).count();
    line(
        "worst of 40 windows over objective, where a window holds at least 30 expected stale reads",
        "≤ 2, never above static's own",
        format!("{calm} of {} runs; greatest {}; no worse than static's in {better}", own.len(), ratio(most(&own))),
    );
    let published: Vec<&Record> = figures.steered().flat_map(|measured| measured.of("learned")).collect();
    let graced: Vec<&Record> = figures.graced.iter().flat_map(|(.., measured)| measured.of("learned")).collect();
    let covered = |records: &[&Record]| {
        let covered = records.iter().filter(|record| record.is_covered()).count();
        let (decided, right) = records.iter().fold((0, 0), |(decided, right), record| match record.says_met() {
            Some(met) => (decided + 1, right + usize::from(met == (record.stale_rate <= record.objective))),
            None => (decided, right),
        });
        format!("{covered} of {} runs; {decided} of them called certifiable, {right} rightly", records.len())
    };
    line("published interval covers the truth", "≥ 95 % of runs", covered(&published));
    line("the same where outdated values are borne for a while", "≥ 95 % of runs", covered(&graced));
    let noticed = |groups: &[Group]| -> Vec<f64> {
        figures
            .noticed
            .iter()
            .filter(|measured| groups.contains(&measured.case.group))
            .filter_map(|measured| measured.beside("static"))
            .collect()
    };
    line(
        "half of the writes noticed: loads beside the best static with the same notices",
        "≤ 0.60",
        format!(
            "{} seen, {} left out, {} families",
            ratio(mean(&noticed(&[Group::Seen]))),
            ratio(mean(&noticed(&[Group::Unseen]))),
            ratio(mean(&noticed(&[Group::Synthetic])))
        ),
    );
    table
}

fn main_table(figures: &Figures, group: Group) -> String {
    let mut table = String::from(
        "| trace | reads | seeds | reads | stale / objective | worst window / objective (static's) | loads a read | audits a read | by static | by class-static | by Alex | by best expert | clairvoyant's loads |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for measured in figures.main.iter().filter(|measured| measured.case.group == group) {
        let average = |value: fn(&Record) -> f64| measured.average("learned", value);
        let _ = writeln!(
            table,
            "| {} | {} | {:.0} | {:.2} | {:.1} ({:.1}) | {:.4} | {:.2} % | {} | {} | {} | {} | {:.4} |",
            measured.name(),
            measured.case.seeds,
            average(|record| record.reads as f64),
            average(|record| record.stale_rate / record.objective),
            average(|record| record.worst_window_stale_rate / record.objective),
            measured.average("static", |record| record.worst_window_stale_rate / record.objective),
            average(|record| record.origin_loads_per_read),
            average(|record| 100.0 * record.audits as f64 / record.reads as f64),
            ratio(measured.beside("static")),
            ratio(measured.beside("class-static")),
            ratio(measured.beside("alex")),
            ratio(measured.beside_experts()),
            measured.average("clairvoyant", |record| record.origin_loads_per_read),
        );
    }
    let of = |policy: &'static str| ratio(mean(&within(figures, &[group], |measured| measured.beside(policy))));
    let experts = ratio(mean(&within(figures, &[group], Measured::beside_experts)));
    let _ = writeln!(
        table,
        "| **geometric mean** | | | | | | | | **{}** | **{}** | **{}** | **{experts}** | |",
        of("static"),
        of("class-static"),
        of("alex")
    );
    table
}

fn further_table(figures: &Figures, group: Group) -> String {
    let mut table = String::from(
        "| trace | reads | by quantile | by AIMD | by hot-longer | by known rates | static deployed: stale | class-static deployed: stale | Alex deployed: stale |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for measured in figures.further.iter().filter(|measured| measured.case.group == group) {
        let deployed = |policy| measured.average(policy, |record| record.stale_rate / record.objective);
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.2} |",
            measured.name(),
            ratio(measured.beside("quantile")),
            ratio(measured.beside("aimd")),
            ratio(measured.beside("hot-longer")),
            ratio(measured.beside("known-rate")),
            deployed("static-deployed"),
            deployed("class-static-deployed"),
            deployed("alex-deployed"),
        );
    }
    table
}

fn objectives_table(figures: &Figures) -> String {
    let mut table = String::from(
        "| trace | reads | objective | stale / objective | worst window / objective | loads a read | by static | by Alex |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for measured in &figures.objectives {
        let Some(own) = measured.of("learned").next() else { continue };
        let _ = writeln!(
            table,
            "| {} | {} % | {:.2} | {:.1} | {:.4} | {} | {} |",
            measured.name(),
            own.objective * 100.0,
            own.stale_rate / own.objective,
            own.worst_window_stale_rate / own.objective,
            own.origin_loads_per_read,
            ratio(measured.beside("static")),
            ratio(measured.beside("alex")),
        );
    }
    table
}

fn noticed_table(figures: &Figures) -> String {
    let mut table =
        String::from("| trace | reads | stale / objective | loads a read | by static |\n|---|---|--:|--:|--:|\n");
    for measured in &figures.noticed {
        let Some(own) = measured.of("learned").next() else { continue };
        let _ = writeln!(
            table,
            "| {} | {:.2} | {:.4} | {} |",
            measured.name(),
            own.stale_rate / own.objective,
            own.origin_loads_per_read,
            ratio(measured.beside("static")),
        );
    }
    table
}

fn graced_table(figures: &Figures) -> String {
    let mut table = String::from(
        "| trace | reads | grace | told | stale / objective | published / objective | intervals that hold it | certifiable | loads a read |\n\
         |---|---|--:|---|--:|--:|--:|--:|--:|\n",
    );
    for (grace, evidence, measured) in &figures.graced {
        let average = |value: fn(&Record) -> f64| measured.average("learned", value);
        let count = |is: fn(&Record) -> bool| measured.of("learned").filter(|record| is(record)).count();
        let _ = writeln!(
            table,
            "| {} | {grace} | {evidence} | {:.2} | {:.2}–{:.2} | {} of {} | {} | {:.4} |",
            measured.name(),
            average(|record| record.stale_rate / record.objective),
            average(|record| record.stale_rate_low.unwrap_or(0.0) / record.objective),
            average(|record| record.stale_rate_high.unwrap_or(1.0) / record.objective),
            count(Record::is_covered),
            count(|_| true),
            count(|record| record.says_met().is_some()),
            average(|record| record.origin_loads_per_read),
        );
    }
    table
}

fn evicting_table(figures: &Figures) -> String {
    let mut table = String::from(
        "| trace | reads | store | lifetimes | hits | stale | loads a read |\n|---|---|---|---|--:|--:|--:|\n",
    );
    for (title, measured) in &figures.evicting {
        for record in &measured.records {
            let _ = writeln!(
                table,
                "| {} | {title} | {} | {:.1} % | {:.2} % | {:.4} |",
                measured.name(),
                record.policy,
                record.hit_ratio * 100.0,
                record.stale_rate * 100.0,
                record.origin_loads_per_read,
            );
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::case;
    use super::*;

    fn record(policy: &str, seed: u64, loads: f64, stale_rate: f64) -> Record {
        Record {
            trace: "t".into(),
            policy: policy.into(),
            seed,
            objective: 0.01,
            reads: 100_000,
            stale_rate,
            stale_rate_low: Some(0.0),
            stale_rate_high: Some(1.0),
            certifiable: Some(true),
            worst_window_stale_rate: stale_rate,
            audits: 10,
            origin_loads_per_read: loads,
            hit_ratio: 1.0 - loads,
        }
    }

    fn measured() -> Measured {
        let records = vec![
            record("learned", 1, 0.2, 0.01),
            record("static", 1, 0.4, 0.01),
            record("learned", 2, 0.2, 0.02),
            record("static", 2, 0.1, 0.02),
            record("expert-alex", 1, 0.1, 0.03),
            record("expert-class", 1, 0.25, 0.01),
        ];
        Measured { case: case(Group::Seen, "t.csv", "as-is", 2), records, most_stale: 0.5 }
    }

    #[test]
    fn ratios_are_by_seed_and_experts_that_are_staler_do_not_count() {
        let measured = measured();
        assert!((measured.beside("static").unwrap() - 1.0).abs() < 1e-9);
        assert!((measured.beside_experts().unwrap() - 0.8).abs() < 1e-9);
        assert_eq!(measured.realised(), [1.0, 2.0]);
        let calm = Measured { most_stale: 0.001, ..measured.clone() };
        assert_eq!((calm.realised().len(), calm.beyond_reach()), (0, 2));
        assert_eq!(measured.beside("aimd"), None);
    }

    #[test]
    fn the_page_holds_every_section() {
        let figures = Figures { main: vec![measured()], ..Figures::default() };
        let page = page(&figures);
        for part in ["EX 300", "## What was reached", "## Traces left out", "| t | as-is | 2 | 100000 |"] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(with_evicting(&page, &figures), page, "written anew it is the same");
    }
}
