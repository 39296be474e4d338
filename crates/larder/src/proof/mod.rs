//! What shows that the policy helps, and takes it back when it does not: a control beside every segment.
//!
//! * [`Control`] says what the policy is measured against, and how it comes into service.
//! * A [`Gauge`](gauge::Gauge) stands beside each segment, under its lock: a ghost of the control over a sample of the keys, and ghosts of other
//!   sizes.
//! * The [`Judge`](judge::Judge) hears once a slice what the gauges counted, rolls the policy back where a guardrail is hit, and reports.

mod control;
pub(crate) mod gauge;
pub(crate) mod judge;

use larder_policy::experiment::Arm;
use larder_policy::{Capacity, Policy, PolicySpec, ttl};

use self::gauge::Gauge;
use self::judge::Judge;
use crate::store::shares;
use crate::{Error, ErrorKind};

pub(crate) use control::Against;
pub use control::Control;
pub use larder_policy::experiment::{Guardrails, Settings as ExperimentSettings};

/// What a segment is made of, beside its values.
pub(crate) struct Part {
    pub(crate) capacity: Capacity,
    pub(crate) policy: Policy,
    pub(crate) gauge: Option<Box<Gauge>>,
    pub(crate) seed: u64,
}

/// `count` parts of a capacity with the policy that `make` makes or its control, and who judges between the two.
///
/// # Errors
/// A control that is no policy, or an experiment that cannot be run.
pub(crate) fn parts(
    capacity: Capacity,
    count: usize,
    seed: u64,
    make: impl Fn(Capacity, u64) -> Policy + Send + Sync + 'static,
    learns: bool,
    control: &Control,
) -> Result<(Vec<Part>, Option<Judge>), Error> {
    // Lifetimes are the cache's.
    let given = |mut policy: Policy| {
        policy.ttl = Some(Box::new(ttl::Given));
        policy
    };
    let shares: Vec<_> = shares(capacity.limit, count).map(|limit| Capacity { limit, ..capacity }).collect();
    let seed_of = move |segment: usize| seed.wrapping_add(segment as u64);
    let Some(against) = control.against.policy(learns) else {
        let part = |(segment, capacity): (usize, Capacity)| {
            let seed = seed_of(segment);
            Part { capacity, policy: given(make(capacity, seed)), gauge: None, seed }
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
    let judge = Judge::new(control, against, count, seed, Box::new(build))?;
    let part = |((segment, capacity), gauge): ((usize, Capacity), Gauge)| Part {
        capacity,
        policy: judge.first(segment),
        gauge: Some(Box::new(gauge)),
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
