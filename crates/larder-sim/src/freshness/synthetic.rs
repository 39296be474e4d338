//! Families of change processes made by rule, for what no trace at hand shows: `changes:FAMILY`.

use larder_policy::{Op, Rng, Time};
use larder_trace::Request;

use crate::{Error, Source};

/// A family known by name.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    /// Keys, and the seconds they live.
    keys: u64,
    span: f64,
    /// The changes of one key over that time; the mean time between them is given.
    changes: fn(f64, u64, &mut Rng) -> Vec<f64>,
}

/// Keys, and the seconds they live, unless a family has its own.
const KEYS: u64 = 2000;
const SPAN: f64 = 14.0 * 86_400.0;

const fn family(name: &'static str, about: &'static str, changes: fn(f64, u64, &mut Rng) -> Vec<f64>) -> Family {
    Family { name, about, keys: KEYS, span: SPAN, changes }
}

/// Every family. But for the last one, mean times between changes lie between 10 minutes and 70 days, evenly in logarithms, by class of 250 keys
/// with some spread within.
pub const FAMILIES: &[Family] = &[
    family("poisson", "independent changes at a constant rate", |mean, _, rng| renewal(mean, 1.0, rng)),
    family("bursty", "a tenth of the time at ten times the rate", bursty),
    family("periodic", "a period of its own, a twentieth of it jitter", periodic),
    family("shifts", "classes change their rate by 15 or by 0.1 halfway", shifts),
    family("storms", "Poisson, and twice all keys of a class change at once", storms),
    family("ageing", "the rate falls as one by the age, like news", ageing),
    Family {
        name: "minutes",
        about: "written anew each minute, by a job: 200 keys, three days",
        keys: 200,
        span: 3.0 * 86_400.0,
        changes: minutes,
    },
];

/// The requests of `changes:FAMILY`; reads are to be laid over them.
///
/// # Errors
/// There is no family of that name.
pub fn synthetic(name: &str) -> Result<Source, Error> {
    let Some(family) = FAMILIES.iter().find(|family| family.name == name) else {
        let names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
        return Err(Error::option(format!("there is no family '{name}' of changes; there are: {}", names.join(", "))));
    };
    let mut rows = Vec::new();
    for key in 0..family.keys {
        let mut rng = Rng::new(KEYS * 31 + key);
        let class = key % 8;
        let mean = 600.0 * 10_000f64.powf((class as f64 + rng.unit()) / 8.0);
        let size = 1 << class;
        let row = |at: f64, op: Op| Request { at: Time((at * 1e6) as u64), key, size, op, ..Request::default() };
        rows.push(row(0.0, Op::Get));
        rows.push(row(family.span, Op::Get));
        let changes = (family.changes)(mean, class, &mut rng);
        rows.extend(changes.into_iter().filter(|at| (0.0..family.span).contains(at)).map(|at| row(at, Op::Set)));
    }
    rows.sort_by_key(|row| (row.at, row.key));
    Ok(Source::requests(format!("changes:{name}"), rows))
}

/// Exponential waits from 0 on, at `pace` times the mean rate.
fn renewal(mean: f64, pace: f64, rng: &mut Rng) -> Vec<f64> {
    let mut changes = Vec::new();
    let mut at = 0.0;
    loop {
        at += wait(mean / pace, rng);
        if at >= SPAN {
            return changes;
        }
        changes.push(at);
    }
}

fn wait(mean: f64, rng: &mut Rng) -> f64 {
    -mean * (1.0 - rng.unit()).ln()
}

fn bursty(mean: f64, _: u64, rng: &mut Rng) -> Vec<f64> {
    let mut changes = Vec::new();
    let mut at = 0.0;
    while at < SPAN {
        at += wait(9.0 * 3600.0, rng);
        let end = at + wait(3600.0, rng);
        let mut next = at + wait(mean / 10.0, rng);
        while next < end {
            changes.push(next);
            next += wait(mean / 10.0, rng);
        }
        at = end;
    }
    changes
}

fn periodic(mean: f64, _: u64, rng: &mut Rng) -> Vec<f64> {
    let start = rng.unit() * mean;
    let count = (SPAN / mean).ceil() as u32;
    (0..count).map(|at| start + mean * (f64::from(at) + 0.1 * (rng.unit() - 0.5))).collect()
}

fn minutes(_: f64, _: u64, rng: &mut Rng) -> Vec<f64> {
    let start = 60.0 * rng.unit();
    (0..3 * 1440).map(|at| start + 60.0 * f64::from(at)).collect()
}

fn shifts(mean: f64, class: u64, rng: &mut Rng) -> Vec<f64> {
    let later = if class.is_multiple_of(2) { 15.0 } else { 0.1 };
    let before = renewal(mean, 1.0, rng).into_iter().filter(|at| *at < SPAN / 2.0);
    let mut changes: Vec<f64> = before.collect();
    changes.extend(renewal(mean, later, rng).into_iter().filter(|at| *at >= SPAN / 2.0));
    changes
}

fn storms(mean: f64, class: u64, rng: &mut Rng) -> Vec<f64> {
    let mut changes = renewal(mean, 1.0, rng);
    for storm in [0.3, 0.7] {
        changes.push(SPAN * storm + 86_400.0 * class as f64 / 4.0 + 600.0 * rng.unit());
    }
    changes
}

/// By inversion: with the rate c/(1 + t/τ), the mean number of changes until t is c·τ·ln(1 + t/τ).
fn ageing(mean: f64, _: u64, rng: &mut Rng) -> Vec<f64> {
    const TAU: f64 = 3600.0;
    let mut changes = Vec::new();
    let mut sum = 0.0;
    loop {
        sum += wait(mean, rng) / 50.0;
        let at = TAU * ((sum / TAU).min(60.0).exp_m1());
        if at >= SPAN {
            return changes;
        }
        changes.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_changes_and_repeats() {
        for family in FAMILIES {
            let rows = |name| {
                let mut reader = synthetic(name).unwrap().open().unwrap();
                let mut rows = Vec::new();
                while reader.read(&mut rows, 1000).unwrap() > 0 {}
                rows
            };
            let all = rows(family.name);
            let sets = all.iter().filter(|row| row.op == Op::Set).count();
            assert!(sets > 20_000, "{}: {sets}", family.name);
            assert!(all.is_sorted_by_key(|row| row.at));
            assert_eq!(all, rows(family.name));
        }
        assert!(synthetic("none").is_err());
    }

    #[test]
    fn a_period_is_kept() {
        let changes = periodic(3600.0, 0, &mut Rng::new(1));
        assert!(changes.windows(2).all(|pair| (3200.0..4000.0).contains(&(pair[1] - pair[0]))));
    }
}
