//! `larder explain`: why a learned policy keeps or evicts a key.

mod live;
#[cfg(feature = "fuzzing")]
pub use live::told;

use std::io::{self, Write};

use larder_policy::learned::explanation::{Contribution, Decision, Explanation, Term};
use larder_policy::learned::{HORIZONS, Rule};
use larder_policy::{Access, Inserted, KeyHash, Lookup, Miss, Op, PolicySpec, Reuse, Shard};
use larder_sim::{Lifetimes, Observer, Source, Stage, Survey};
use larder_trace::{Request, key_number};
use serde_json::{Value, json};

use super::{print_json, tell_doubts};
use crate::args::WeighArg;
use crate::explain_args::ExplainArgs;
use crate::failure::Failure;
use crate::needs::Needs;
use crate::progress::Bar;
use crate::table::{self, Style, count, percent};

/// Requests read at a time.
const BATCH: usize = 1 << 14;
/// Keys named where the one asked for does not exist.
const NAMED: usize = 5;
/// The longest bar to either side, in characters.
const BAR: usize = 12;

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    match (&args.url, &args.trace) {
        (Some(url), _) => live::run(args, url),
        (None, Some(trace)) => replayed(args, trace),
        (None, None) => Err(Failure::Usage("of which trace? give one, or a service with --url".into())),
    }
}

fn replayed(args: &ExplainArgs, trace: &str) -> Result<(), Failure> {
    let policy = args.start.apply(std::slice::from_ref(&args.policy))?.remove(0);
    let mut source = args.reading.source(trace)?;
    source.make_repeatable()?;
    Needs::from(args.weigh).check(&source)?;
    let bar = Bar::new(source.name());
    let asked = Asked::find(args, &source, &bar)?;
    let answer = Answer::find(args, &policy, &asked, &source, &bar)?;
    bar.clear();
    tell_doubts(&source, Lifetimes::Ignored);
    if args.json { print_json([answer.json()]) } else { Ok(answer.print(&mut io::stdout().lock())?) }
}

/// Reads a trace until `each` says that it is enough.
fn read(source: &Source, bar: &Bar, stage: Stage, mut each: impl FnMut(u64, &Request) -> bool) -> Result<(), Failure> {
    let mut reader = source.open()?;
    let (mut batch, mut rows) = (Vec::with_capacity(BATCH), 0);
    while reader.read(&mut batch, BATCH)? > 0 {
        for request in &batch {
            rows += 1;
            if !each(rows, request) {
                return Ok(());
            }
        }
        batch.clear();
        bar.progress(stage, rows, reader.progress());
    }
    Ok(())
}

/// The access that is asked about.
struct Asked {
    key: u64,
    /// The number of the request before which it is asked.
    at: u64,
    /// Whether that request is of the key.
    is_of_key: bool,
    access: Access,
}

impl Asked {
    /// The request asked for, or else the key's last.
    fn find(args: &ExplainArgs, source: &Source, bar: &Bar) -> Result<Self, Failure> {
        let key = key_number(args.key.as_bytes());
        let limit = args.at.map_or(u64::MAX, |at| at.get());
        let (mut latest, mut rows, mut named) = (None, 0, Vec::new());
        read(source, bar, Stage::Survey, |row, request| {
            rows = row;
            if request.key == key && request.op != Op::Delete {
                latest = Some((row, request.access()));
            } else if named.len() < NAMED && !named.contains(&request.key) {
                named.push(request.key);
            }
            row < limit
        })?;
        if let Some(at) = args.at.filter(|at| at.get() > rows) {
            return Err(Failure::Usage(format!("there is no request {at}: the trace has {rows}")));
        }
        let Some((row, access)) = latest else {
            let when = args.at.map_or_else(|| " in the trace".to_owned(), |at| format!(" up to request {at}"));
            let named: Vec<String> = named.iter().map(u64::to_string).collect();
            let named = if named.is_empty() { "no other".to_owned() } else { named.join(", ") };
            let message = format!("there is no key '{}'{when}; there are: {named}", args.key);
            return Err(Failure::Usage(message));
        };
        let at = args.at.map_or(row, |at| at.get());
        Ok(Self { key, at, is_of_key: at == row, access })
    }
}

/// What became of the request.
enum Done {
    Hit,
    Stored(Vec<u64>),
    Refused,
}

struct Answer<'a> {
    args: &'a ExplainArgs,
    trace: &'a str,
    capacity: u64,
    key: u64,
    at: u64,
    resident: bool,
    told: Explanation,
    /// The key of the runner-up.
    runner_up: Option<u64>,
    /// What then happened, if the request is of the key.
    done: Option<Done>,
}

impl<'a> Answer<'a> {
    /// Replays up to the request, asks, and replays the request.
    fn find(
        args: &'a ExplainArgs,
        policy: &PolicySpec,
        asked: &Asked,
        source: &'a Source,
        bar: &Bar,
    ) -> Result<Self, Failure> {
        let survey = match args.capacity.is_share() {
            true => Some(Survey::take(&mut *source.open()?, &[], bar)?.0),
            false => None,
        };
        let capacity = args.capacity.resolve(args.weigh.into(), survey.as_ref())?;
        if policy.eviction().needs_oracle {
            return Err(cannot_say(policy));
        }
        // The value of an entry is its key's number.
        let mut shard: Shard<u64> = Shard::new(capacity, policy.build(capacity, args.seed));
        let mut at_request = None;
        read(source, bar, Stage::Replay, |row, request| {
            if row == asked.at {
                at_request = Some(*request);
                return false;
            }
            serve(&mut shard, request);
            true
        })?;
        let told = shard.explain(&asked.access).ok_or_else(|| cannot_say(policy))?;
        let resident = shard.peek(asked.access.key).is_some();
        let key_of = |key: KeyHash| shard.peek(key).copied();
        let runner_up = told.ranked.and_then(|ranked| ranked.runner_up);
        let runner_up = runner_up.and_then(|it| shard.resident_at(it.slot)).and_then(key_of);
        let done = at_request.filter(|_| asked.is_of_key).and_then(|request| serve(&mut shard, &request));
        let (key, at) = (asked.key, asked.at);
        let capacity = capacity.limit;
        Ok(Self { args, trace: source.name(), capacity, key, at, resident, told, runner_up, done })
    }

    fn decision(&self) -> &'static str {
        match self.told.decision {
            Decision::Admitted => "admitted",
            Decision::Refused => "refused",
            Decision::Kept => "kept",
            Decision::Evicted => "evicted",
        }
    }

    fn json(&self) -> Value {
        let told = &self.told;
        let contributions: Vec<Value> = told.contributions.iter().map(contribution_json).collect();
        let ranked = told.ranked.map(|ranked| {
            let runner_up = ranked.runner_up.map(|it| json!({ "key": self.runner_up.map(text), "score": it.score }));
            json!({ "rank": ranked.rank, "of": ranked.of, "runner_up": runner_up })
        });
        let standing = told.standing.map(|standing| {
            json!({
                "trials": standing.trials,
                "misses": standing.misses,
                "classic_misses": standing.classic_misses,
                "retreats": standing.retreats,
            })
        });
        let done = self.done.as_ref().map(|done| match done {
            Done::Hit => json!({ "result": "hit" }),
            Done::Stored(left) => {
                json!({ "result": "stored", "evicted": left.iter().map(|key| text(*key)).collect::<Vec<_>>() })
            }
            Done::Refused => json!({ "result": "refused" }),
        });
        json!({
            "trace": self.trace,
            "policy": self.args.policy.as_str(),
            "capacity": self.capacity,
            "key": text(self.key),
            "at": self.at,
            "resident": self.resident,
            "decision": self.decision(),
            "rule": rule(told.rule),
            "standing": standing,
            "horizons": told.horizons,
            "contributions": contributions,
            "logits": told.logits,
            "within": told.within,
            "worth": told.worth,
            "gain": told.gain,
            "score": told.score,
            "ranked": ranked,
            "done": done,
        })
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let told = &self.told;
        let unit = match self.args.weigh {
            WeighArg::Objects => "objects",
            WeighArg::Bytes => "bytes",
        };
        let (policy, state) = (self.args.policy.as_str(), if self.resident { "resident" } else { "absent" });
        let (at, capacity) = (count(self.at), count(self.capacity));
        writeln!(out, "{}: key {} before request {at}, {policy} with {capacity} {unit}\n", self.trace, self.key)?;
        let mut fact = |name: &str, value: String| writeln!(out, "  {name:12}{value}");
        fact("state", state.into())?;
        fact("decision", self.meaning())?;
        if let Some(ranked) = told.ranked {
            fact("rank", format!("{} of {} candidates, 1 leaves first", ranked.rank, ranked.of))?;
            if let (Some(runner_up), Some(key)) = (ranked.runner_up, self.runner_up) {
                fact(
                    "runner-up",
                    format!("key {key}, score {}, beside {}", number(runner_up.score), number(told.score)),
                )?;
            }
        }
        if let Some(done) = &self.done {
            fact("then", Self::what_happened(done))?;
        }
        fact("rule", format!("{}{}", rule(told.rule), self.guard()))?;
        let worth = format!("{} × gain {} a unit of weight", number(told.worth), number(told.gain));
        fact("worth", worth)?;
        writeln!(out, "\nUse within:")?;
        for (span, horizon) in told.horizons.into_iter().enumerate() {
            let within = percent(f64::from(told.within[span]));
            let logit = told.logits[span];
            writeln!(out, "  {:>14} accesses  {within:>8}   logit of the span {logit:+.3}", count(horizon as u64))?;
        }
        self.print_contributions(out)
    }

    fn print_contributions(&self, out: &mut impl Write) -> io::Result<()> {
        let mean = |contribution: &Contribution| contribution.adds.iter().sum::<f32>() / HORIZONS.len() as f32;
        let mut sorted: Vec<&Contribution> = self.told.contributions.iter().collect();
        sorted.sort_by(|one, other| mean(other).abs().total_cmp(&mean(one).abs()));
        let most = sorted.first().map_or(1.0, |first| mean(first).abs()).max(f32::MIN_POSITIVE);
        let mut table = table::table(Style::Plain, &["", "", "mean", "value", "span 1", "2", "3", "4"], 2);
        for contribution in sorted {
            let (name, value) = words(&contribution.term);
            let signed = contribution.adds.map(|add| format!("{add:+.3}"));
            let mean = mean(contribution);
            table.add_row([name, bar(mean / most), format!("{mean:+.3}"), value].into_iter().chain(signed));
        }
        let logits = self.told.logits.map(|logit| format!("{logit:+.3}"));
        let mean = self.told.logits.iter().sum::<f32>() / HORIZONS.len() as f32;
        let sum = ["logit".to_owned(), String::new(), format!("{mean:+.3}"), "the sum".to_owned()];
        table.add_row(sum.into_iter().chain(logits));
        writeln!(
            out,
            "\nWhat adds up to the logit of each span, − towards leaving, + towards staying:\n{}",
            table::text(&table)
        )
    }

    fn meaning(&self) -> String {
        let of_victim = || self.runner_up.map_or_else(String::new, |key| format!(" in place of key {key}"));
        match self.told.decision {
            Decision::Admitted if self.told.ranked.is_none() => "admitted: there is room".into(),
            Decision::Admitted => format!("admitted{}", of_victim()),
            Decision::Refused => "refused: worth less than every candidate".into(),
            Decision::Kept => "kept: if room were needed, another would leave".into(),
            Decision::Evicted => "evicted, if room were needed and it were drawn".into(),
        }
    }

    fn what_happened(done: &Done) -> String {
        match done {
            Done::Hit => "it hit".into(),
            Done::Refused => "it missed, and was refused".into(),
            Done::Stored(left) if left.is_empty() => "it missed, and was stored".into(),
            Done::Stored(left) => {
                let left: Vec<String> = left.iter().map(u64::to_string).collect();
                format!("it missed, and was stored; evicted: {}", left.join(", "))
            }
        }
    }

    /// Both of the guard's estimates.
    fn guard(&self) -> String {
        match self.told.standing {
            None => "; no guard yet".into(),
            Some(standing) if standing.trials < 1.0 => "; the guard has seen nothing yet".into(),
            Some(standing) => format!(
                "; the guard sees this cache miss {}, its small classical one {}, of {:.0} accesses; stepped back {} times",
                percent(standing.misses / standing.trials),
                percent(standing.classic_misses / standing.trials),
                standing.trials,
                standing.retreats,
            ),
        }
    }
}

/// A key for programs, most of which round numbers so large.
fn text(key: u64) -> String {
    key.to_string()
}

fn cannot_say(policy: &PolicySpec) -> Failure {
    Failure::Usage(format!("policy {policy} cannot explain itself; learned, learned-bytes and learned-cost can"))
}

/// Replays a request; says what became of it, if it was no delete.
fn serve(shard: &mut Shard<u64>, request: &Request) -> Option<Done> {
    let access = request.access();
    if access.op == Op::Delete {
        shard.remove(access.key);
        return None;
    }
    let (hit, miss) = match shard.lookup(&access) {
        Lookup::Hit(_) if access.op == Op::Get => return Some(Done::Hit),
        // The resident is replaced.
        Lookup::Hit(_) => (true, Miss { reuse: Reuse::UNKNOWN, expired: false }),
        Lookup::Miss(miss) => (false, miss),
    };
    let plan = shard.plan(&access, miss, None);
    let mut evicted = Vec::new();
    let inserted = shard.insert(&access, request.key, &plan, &mut evicted);
    Some(match inserted {
        _ if hit => Done::Hit,
        Inserted::Refused(..) => Done::Refused,
        _ => Done::Stored(evicted.into_iter().map(|gone| gone.value).collect()),
    })
}

fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Learned => "learned",
        Rule::Lru => "lru",
        Rule::Frequency => "frequency",
    }
}

fn contribution_json(contribution: &Contribution) -> Value {
    let adds = contribution.adds;
    match contribution.term {
        Term::Feature { name, bin, reading } => {
            json!({ "feature": name, "bin": bin, "value": reading.to_string(), "adds": adds })
        }
        Term::Cross { names, bins } => json!({ "cross": names, "bins": bins, "adds": adds }),
        Term::Intercept => json!({ "intercept": true, "adds": adds }),
    }
}

/// The name and the value of a term.
fn words(term: &Term) -> (String, String) {
    match term {
        Term::Feature { name, reading, .. } => ((*name).to_owned(), reading.to_string()),
        Term::Cross { names: [left, right], bins: [a, b] } => (format!("{left} × {right}"), format!("cell {a}, {b}")),
        Term::Intercept => ("intercept".to_owned(), String::new()),
    }
}

/// A share from -1 to 1, drawn from the middle.
fn bar(share: f32) -> String {
    let length = ((share.abs() * BAR as f32).round() as usize).min(BAR);
    let (left, right) = if share < 0.0 { (length, 0) } else { (0, length) };
    format!("{}{}│{}{}", " ".repeat(BAR - left), "█".repeat(left), "█".repeat(right), " ".repeat(BAR - right))
}

/// A number to four digits that matter.
fn number(number: f32) -> String {
    if number == 0.0 || number.abs() >= 1000.0 { format!("{number:.0}") } else { format!("{number:.4}") }
}
