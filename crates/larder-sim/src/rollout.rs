//! A rollout rehearsed on a trace: the experiment decides, and shards change sides as they would in a service.

use std::time::Duration;

use larder_policy::Time;
use larder_policy::experiment::{Arm, Breach, Event, Experiment, Ghost, Measures, Probe, Settings, ShardSlice, Won};
use larder_trace::Request;
use serde::Serialize;

use crate::arms::{ArmsRun, Tally};
use crate::progress::{Observer, Stage};
use crate::slices::Slices;
use crate::{BATCH, Error, Source};

/// What a rollout came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutRecord {
    /// The trace's name.
    pub trace: String,
    /// The policy that is rolled out.
    pub treatment: String,
    /// The one that stood before.
    pub control: String,
    /// The size in objects or bytes.
    pub capacity: u64,
    /// Slices of the trace.
    pub slices: u64,
    /// What happened, in order.
    pub events: Vec<RolloutEvent>,
    /// The share of accesses that hit, over the whole trace.
    pub hit_ratio: f64,
    /// Its course; only with [`ArmsRun::details`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<RolloutSlice>,
}

/// A slice of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutSlice {
    /// The slice, counted from 1.
    pub slice: u64,
    /// The share of the shards that were treated in it.
    pub treated: f64,
    /// The share of all accesses that hit.
    pub hit_ratio: f64,
    /// Hits of the treated shards minus those of their ghosts of the control, an access; none where nobody is treated.
    pub gain: Option<f64>,
}

/// Something that happened at the end of a slice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutEvent {
    /// The slice, counted from 1.
    pub slice: u64,
    /// `ramped`, `adopted`, `rolled-back` or `restarted`.
    pub event: &'static str,
    /// The share treated, the effect, or why it was rolled back.
    pub detail: String,
}

struct Store {
    shard: Ghost,
    arm: Arm,
    probe: Probe,
    misses: u64,
}

impl ArmsRun {
    /// Rolls the treatment out over the trace, by the kernel's defaults.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn rehearse(&self, source: &mut Source, observer: &dyn Observer) -> Result<RolloutRecord, Error> {
        let (survey, whole) = self.survey(source, observer)?;
        let rate = self.ghost_rate(whole, &survey);
        let mut experiment = Experiment::new(Settings { alpha: self.alpha, ..Settings::new(self.shards, self.seed) })?;
        let store = |shard: usize| -> Result<Store, Error> {
            let part = self.part(whole, shard);
            let (arm, probe) = (Arm::Control, self.probe(shard, part, rate)?);
            Ok(Store { shard: Ghost::new(part, self.policy(arm, shard, part)), arm, probe, misses: 0 })
        };
        let mut stores: Vec<Store> = (0..self.shards).map(store).collect::<Result<_, _>>()?;
        let mut slices = Slices::new(survey.rows, self.slices);
        let mut record = RolloutRecord {
            trace: source.name().to_owned(),
            treatment: self.treatment.to_string(),
            control: self.control.to_string(),
            capacity: whole.limit,
            slices: 0,
            events: Vec::new(),
            hit_ratio: 0.0,
            course: Vec::new(),
        };
        let (mut hits, mut accesses, mut done) = (0, 0, 0);
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
                let store = &mut stores[self.shard_of(access.key)];
                let hit = store.shard.ask(&access, given);
                store.misses += u64::from(!hit);
                store.probe.record(&access, hit, given);
                done += 1;
                if slices.end() {
                    record.slices += 1;
                    let slice = end_slice(&mut stores, experiment.traffic());
                    hits += slice.iter().map(|slice| slice.hits.requests).sum::<u64>();
                    accesses += slice.iter().map(|slice| slice.accesses.requests).sum::<u64>();
                    if self.details {
                        record.course.push(course(record.slices, &stores, &slice));
                    }
                    let event = experiment.end_slice(access.at, &slice);
                    record.events.extend(event.map(|event| told(record.slices, &event)));
                    self.change_sides(&mut stores, &experiment, access.at);
                }
            }
            observer.progress(Stage::Replay, done, reader.progress());
        }
        record.hit_ratio = crate::experiment::ratio(hits, accesses);
        Ok(record)
    }

    /// Swaps the policies of the shards that belong to another arm than before.
    fn change_sides(&self, stores: &mut [Store], experiment: &Experiment, now: Time) {
        for (shard, store) in stores.iter_mut().enumerate() {
            let arm = experiment.arm(shard);
            if std::mem::replace(&mut store.arm, arm) != arm {
                let part = store.shard.capacity();
                store.shard.swap_policy(self.policy(arm, shard, part), now);
                store.probe.begin_anew(self.policy(Arm::Control, shard, part), now);
            }
        }
    }
}

fn end_slice(stores: &mut [Store], traffic: u64) -> Vec<ShardSlice> {
    let end = |store: &mut Store| {
        let origin_loads = std::mem::take(&mut store.misses);
        store.probe.end_slice(traffic, Measures { origin_loads, ..Measures::default() })
    };
    stores.iter_mut().map(end).collect()
}

fn course(number: u64, stores: &[Store], slice: &[ShardSlice]) -> RolloutSlice {
    let (mut all, mut treated, mut shards) = (Tally::default(), Tally::default(), 0);
    for (store, slice) in stores.iter().zip(slice) {
        all.add(slice);
        if store.arm == Arm::Treatment {
            treated.add(slice);
            shards += 1;
        }
    }
    RolloutSlice {
        slice: number,
        treated: f64::from(shards) / stores.len().max(1) as f64,
        hit_ratio: crate::experiment::ratio(all.hits, all.requests),
        gain: treated.gain(),
    }
}

fn told(slice: u64, event: &Event) -> RolloutEvent {
    let points = |effect: f64| format!("{:+.2} points", effect * 100.0);
    let (event, detail) = match *event {
        Event::Ramped { share } => ("ramped", format!("{:.0} %", share * 100.0)),
        Event::Adopted { won: Won::HitRatio { effect } } => ("adopted", points(effect)),
        Event::Adopted { won } => ("adopted", won.to_string()),
        Event::RolledBack { breach, .. } => (
            "rolled-back",
            match breach {
                Breach::HitRatio { at_most } => format!("hit ratio at most {}", points(at_most)),
                Breach::OriginLoads { p } => format!("loads of the origin, p = {p:.0e}"),
                Breach::Latency { p } => format!("latency, p = {p:.0e}"),
                Breach::Stale { at_least } => format!("stale answers at least {:.2} %", at_least * 100.0),
                Breach::Worse { effect } => format!("worse by {}", points(effect)),
                other => format!("{other:?}"),
            },
        ),
        Event::Restarted => ("restarted", "a new assignment".to_owned()),
    };
    RolloutEvent { slice, event, detail }
}
