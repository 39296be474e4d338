//! A policy beside its standing control, as in a service where it is on everywhere: what its ghosts say it gains, next to the truth.

use std::time::Duration;

use larder_policy::experiment::{Arm, Experiment, Ghost, Guardrails, Measures, Probe, Settings, ShardSlice};
use larder_policy::{Access, Op};
use larder_trace::Request;
use serde::Serialize;

use crate::arms::ArmsRun;
use crate::progress::{Observer, Stage};
use crate::slices::Slices;
use crate::{BATCH, Error, Source};

/// What a standing control said, for scripts. Gains are differences of hit ratios (0.01 is a percentage point).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StandingRecord {
    /// The trace's name.
    pub trace: String,
    /// The policy.
    pub treatment: String,
    /// The one its ghosts run.
    pub control: String,
    /// The size in objects or bytes.
    pub capacity: u64,
    /// Shards.
    pub shards: usize,
    /// The share of the keys that ghosts saw.
    pub ghost_rate: f64,
    /// Slices that count.
    pub slices: u64,
    /// What the policy gains.
    pub gain: f64,
    /// Where that lies, for who looks as often as they like.
    pub anytime: [f64; 2],
    /// The truth: the control with all shards, on the same accesses.
    pub truth: f64,
    /// Looks at which something might be concluded.
    pub looks: u64,
    /// The slice that counts after which the interval did not hold the truth so far for the first time, looked at in each where something might
    /// be concluded.
    pub first_missed: Option<u64>,
    /// Why nothing may be concluded.
    pub refusals: Vec<String>,
}

/// A shard, its control, and the probe between them.
struct Pair {
    treatment: Ghost,
    control: Ghost,
    probe: Probe,
}

/// What treatment and control hit in a slice, of how many accesses.
#[derive(Clone, Copy, Debug, Default)]
struct Truth {
    treatment: u64,
    control: u64,
    accesses: u64,
}

impl ArmsRun {
    /// Runs the policy on all shards beside its ghosts, as a service does where it is on from the start.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn stand(&self, source: &mut Source, observer: &dyn Observer) -> Result<StandingRecord, Error> {
        let (survey, whole) = self.survey(source, observer)?;
        let ghost_rate = self.ghost_rate(whole, &survey);
        // Whether the interval is right is asked of policies that lose, too: nothing is rolled back.
        let guardrails = Guardrails { hit_ratio: 1.0, ..Guardrails::default() };
        let settings = Settings {
            adopted: true,
            holdout: 0.0,
            alpha: self.alpha,
            guardrails,
            ..Settings::new(self.shards, self.seed)
        };
        let mut experiment = Experiment::new(settings)?;
        let pair = |shard: usize| -> Result<Pair, Error> {
            let part = self.part(whole, shard);
            Ok(Pair {
                treatment: Ghost::new(part, self.policy(Arm::Treatment, shard, part)),
                control: Ghost::new(part, self.policy(Arm::Control, shard, part)),
                probe: self.probe(shard, part, ghost_rate)?,
            })
        };
        let mut pairs: Vec<Pair> = (0..self.shards).map(pair).collect::<Result<_, _>>()?;
        let mut slices = Slices::new(survey.rows, self.slices);
        let mut record = StandingRecord {
            trace: source.name().to_owned(),
            treatment: self.treatment.to_string(),
            control: self.control.to_string(),
            capacity: whole.limit,
            shards: self.shards,
            ghost_rate,
            slices: 0,
            gain: 0.0,
            anytime: [0.0; 2],
            truth: 0.0,
            looks: 0,
            first_missed: None,
            refusals: Vec::new(),
        };
        let (mut truths, mut now, mut done) = (Vec::new(), Truth::default(), 0);
        let mut reader = source.open()?;
        let mut batch: Vec<Request> = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            if reader.read(&mut batch, BATCH)? == 0 {
                break;
            }
            for request in &batch {
                let access = request.access();
                let given = (request.ttl > 0).then(|| Duration::from_secs(u64::from(request.ttl)));
                let counts = access.op == Op::Get || (access.op == Op::Set && !self.gets_only);
                pairs[self.shard_of(access.key)].answer(&access, given, counts, &mut now);
                done += 1;
                if slices.end() {
                    truths.push(std::mem::take(&mut now));
                    let traffic = experiment.traffic();
                    let end = |pair: &mut Pair| pair.probe.end_slice(traffic, Measures::default());
                    let slice: Vec<ShardSlice> = pairs.iter_mut().map(end).collect();
                    experiment.end_slice(access.at, &slice);
                    record.look(&experiment, &truths);
                }
            }
            observer.progress(Stage::Replay, done, reader.progress());
        }
        Ok(record)
    }
}

impl Pair {
    fn answer(&mut self, access: &Access, given: Option<Duration>, counts: bool, now: &mut Truth) {
        let (treatment, control) = (self.treatment.ask(access, given), self.control.ask(access, given));
        self.probe.record(access, treatment, given);
        if counts {
            now.accesses += 1;
            now.treatment += u64::from(treatment);
            now.control += u64::from(control);
        }
    }
}

impl StandingRecord {
    /// A look at the evidence, with the truth of the slices that it counts.
    fn look(&mut self, experiment: &Experiment, truths: &[Truth]) {
        let (gain, refusals) = experiment.own_gain();
        let counted = truths.len().saturating_sub(gain.counted as usize);
        let sum = |of: fn(&Truth) -> u64| truths[counted..].iter().map(of).sum::<u64>() as f64;
        let accesses = sum(|truth| truth.accesses).max(1.0);
        self.slices = gain.counted;
        self.gain = gain.estimate;
        self.anytime = [gain.anytime.low, gain.anytime.high];
        self.truth = (sum(|truth| truth.treatment) - sum(|truth| truth.control)) / accesses;
        let misses = self.truth < gain.anytime.low || self.truth > gain.anytime.high;
        if refusals.is_empty() {
            self.looks += 1;
            if misses {
                self.first_missed.get_or_insert(gain.counted);
            }
        }
        self.refusals = refusals.iter().map(ToString::to_string).collect();
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::Weigh;
    use larder_trace::Options;

    use super::*;
    use crate::Lifetimes;

    fn stand(arms: [&str; 2], seed: u64) -> StandingRecord {
        let [treatment, control] = arms.map(|policy| policy.parse().unwrap());
        let run = ArmsRun {
            treatment,
            control,
            capacity: "3200".parse().unwrap(),
            weigh: Weigh::Objects,
            shards: 8,
            slices: 100,
            ghosts: Some(0.5),
            alpha: 0.05,
            seed,
            gets_only: false,
            lifetimes: Lifetimes::Ignored,
            details: false,
        };
        let trace = format!("gen:zipf:alpha=0.9/keys=20000/requests=80000/seed={seed}");
        run.stand(&mut Source::trace(&trace, Options::default()), &()).unwrap()
    }

    /// Where ghosts see half the keys, each is a little too large or small for those it sees: more than slices alone tell.
    #[test]
    fn intervals_hold_the_truth_at_every_look() {
        for (arms, runs) in [(["lru", "lru"], 40), (["s3fifo", "lru"], 20), (["lru", "s3fifo"], 20)] {
            let records: Vec<_> = (0..runs).map(|seed| stand(arms, seed)).collect();
            // A run that never said anything would cover everything.
            assert!(records.iter().all(|record| record.looks > 0), "{arms:?}");
            let is_missed = |record: &&StandingRecord| record.first_missed.is_some();
            let missed = records.iter().filter(is_missed).count();
            // Of 40, 5 % are 2; three standard deviations are 4.
            assert!(missed as u64 <= runs / 7, "{arms:?}: {missed} of {runs}");
            let truth = records.iter().map(|record| record.truth).sum::<f64>() / runs as f64;
            assert!(if arms[0] == arms[1] { truth == 0.0 } else { truth.abs() > 0.02 }, "{truth}");
            let is_sure = |record: &&StandingRecord| record.anytime[0] > 0.0 || record.anytime[1] < 0.0;
            let sure = records.iter().filter(is_sure).count() as u64;
            assert!(if arms[0] == arms[1] { sure <= 3 } else { sure > runs / 2 }, "{arms:?}: {sure}");
        }
    }
}
