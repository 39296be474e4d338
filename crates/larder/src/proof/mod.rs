//! What shows that the policy helps, and takes it back when it does not: a control beside every segment.
//!
//! * [`Control`] says what the policy is measured against, and how it comes into service.
//! * A [`Gauge`](gauge::Gauge) stands beside each segment, under its lock: a ghost of the control over a sample of the keys, and ghosts of other
//!   sizes.
//! * The [`Judge`](judge::Judge) hears once a slice what the gauges counted, rolls the policy back where a guardrail is hit, and reports.

mod control;
pub(crate) mod gauge;
pub(crate) mod judge;
pub(crate) mod lifetimes;
mod sizes;
pub(crate) mod turns;

use larder_policy::experiment::Arm;
use larder_policy::freshness::Freshness;
use larder_policy::{Capacity, Policy, PolicySpec, ttl};

use self::gauge::Gauge;
use self::judge::Judge;
use self::lifetimes::Trial;
use self::sizes::Sizes;
use crate::store::shares;
use crate::{Error, ErrorKind, Prices};

pub(crate) use control::Against;
pub use control::Control;
pub use larder_policy::experiment::{Guardrails, Settings as ExperimentSettings};

/// What a segment is made of, beside its values.
pub(crate) struct Part {
    pub(crate) capacity: Capacity,
    pub(crate) policy: Policy,
    pub(crate) gauge: Option<Box<Gauge>>,
    /// Who decides at first.
    pub(crate) arm: Arm,
    /// What values live by at first, where that is tried.
    pub(crate) lifetimes: Option<Freshness>,
    pub(crate) seed: u64,
}

/// What a cache was built to do, beside which its control stands.
pub(crate) struct Own<M> {
    /// Makes the policy of a part.
    pub(crate) make: M,
    /// Its name; none where it is the user's own.
    pub(crate) name: Option<String>,
    pub(crate) learns: bool,
    /// What values live by.
    pub(crate) freshness: Freshness,
    /// What its memory and loads cost.
    pub(crate) prices: Prices,
}

/// `count` parts of a capacity with the cache's own policy or its control, and who judges between the two.
///
/// # Errors
/// A control that is no policy, or an experiment that cannot be run.
pub(crate) fn parts<M: Fn(Capacity, u64) -> Policy + Send + Sync + 'static>(
    capacity: Capacity,
    count: usize,
    seed: u64,
    own: Own<M>,
    control: &Control,
) -> Result<(Vec<Part>, Option<Judge>), Error> {
    let Own { make, name, learns, freshness, prices } = own;
    // Lifetimes are the cache's.
    let given = |mut policy: Policy| {
        policy.ttl = Some(Box::new(ttl::Given));
        policy
    };
    let shares: Vec<_> = shares(capacity.limit, count).map(|limit| Capacity { limit, ..capacity }).collect();
    let seed_of = move |segment: usize| seed.wrapping_add(segment as u64);
    let Some(against) = control.against.policy(learns).map(str::to_owned) else {
        let part = |(segment, capacity): (usize, Capacity)| {
            let seed = seed_of(segment);
            let policy = given(make(capacity, seed));
            Part { capacity, policy, gauge: None, arm: Arm::Treatment, lifetimes: None, seed }
        };
        return Ok((shares.into_iter().enumerate().map(part).collect(), None));
    };
    let spec: PolicySpec = against.parse()?;
    refuse_oracle(&spec)?;
    let gauges = shares.iter().enumerate().map(|(segment, capacity)| {
        let seed = seed_of(segment);
        Gauge::new(*capacity, count, seed, |capacity| given(spec.build(capacity, seed)))
    });
    let gauges: Vec<Gauge> = gauges.collect::<Result<_, _>>()?;
    let of = shares.clone();
    let build = move |segment: usize, arm: Arm| {
        let (capacity, seed) = (of[segment], seed_of(segment));
        given(match arm {
            Arm::Treatment => make(capacity, seed),
            Arm::Control => spec.build(capacity, seed),
        })
    };
    let (settings, trial) = Trial::of(control, &freshness)?;
    let settings = ExperimentSettings { shards: count, seed, ..settings };
    let is_same = name.as_deref() == Some(against.as_str());
    let sizes = Sizes::new(prices, capacity.weigh);
    let judge = Judge::new(&against, control.slice, (settings, trial), Box::new(build), is_same, sizes)?;
    let part = |((segment, capacity), gauge): ((usize, Capacity), Gauge)| Part {
        capacity,
        policy: judge.first(segment),
        gauge: Some(Box::new(gauge)),
        arm: judge.arm(segment),
        lifetimes: judge.lifetimes(segment),
        seed: seed_of(segment),
    };
    let parts = shares.into_iter().enumerate().zip(gauges).map(part).collect();
    Ok((parts, Some(judge)))
}

/// A policy that needs the future has no place in a service.
///
/// # Errors
/// [`ErrorKind::Config`].
pub(crate) fn refuse_oracle(spec: &PolicySpec) -> Result<(), Error> {
    if spec.eviction().needs_oracle {
        let what = format!("the policy '{}' knows the future and serves replays alone", spec.eviction().name);
        return Err(Error::new(ErrorKind::Config, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
