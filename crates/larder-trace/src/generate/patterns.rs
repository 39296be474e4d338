//! The patterns: which key a generated request asks for.

use larder_policy::Rng;

use super::{Generator, Moment, Param, Pattern, zipf::Zipf};

const ALPHA: Param = Param { name: "alpha", default: Some(0.9), about: "Zipf exponent; 0 is uniform" };
const KEYS: Param = Param { name: "keys", default: Some(100_000.0), about: "distinct keys" };

/// Rank 1 is key 0.
fn rank(zipf: &Zipf, rng: &mut Rng) -> u64 {
    zipf.sample(rng) - 1
}

/// A whole number below `n`.
fn below(rng: &mut Rng, n: u64) -> u64 {
    (rng.unit() * n as f64) as u64
}

pub(super) const ZIPF: Generator = Generator {
    name: "zipf",
    about: "independent requests whose popularity follows Zipf's law",
    params: &[ALPHA, KEYS],
    build: |values, _| Ok(Box::new(Independent(Zipf::new(values.count("keys")?, values.number("alpha")?)))),
};

struct Independent(Zipf);

impl Pattern for Independent {
    fn key(&mut self, _: Moment, rng: &mut Rng) -> u64 {
        rank(&self.0, rng)
    }
}

pub(super) const UNIFORM: Generator = Generator {
    name: "uniform",
    about: "independent requests, every key as likely",
    params: &[KEYS],
    build: |values, _| Ok(Box::new(Uniform(values.count("keys")?))),
};

struct Uniform(u64);

impl Pattern for Uniform {
    fn key(&mut self, _: Moment, rng: &mut Rng) -> u64 {
        below(rng, self.0)
    }
}

pub(super) const SCAN: Generator = Generator {
    name: "scan",
    about: "every key once, in order: nothing to gain for any cache",
    params: &[],
    build: |_, _| Ok(Box::new(Loop(u64::MAX))),
};

pub(super) const LOOP: Generator = Generator {
    name: "loop",
    about: "all keys in order, over and over: the worst case of LRU",
    params: &[KEYS],
    build: |values, _| Ok(Box::new(Loop(values.count("keys")?))),
};

struct Loop(u64);

impl Pattern for Loop {
    fn key(&mut self, moment: Moment, _: &mut Rng) -> u64 {
        moment.index % self.0
    }
}

pub(super) const PHASE: Generator = Generator {
    name: "phase",
    about: "Zipf traffic whose popular keys change all at once, every so many requests",
    params: &[
        ALPHA,
        KEYS,
        Param { name: "every", default: Some(100_000.0), about: "requests a phase" },
        Param { name: "shift", default: Some(1.0), about: "share of the keys each phase replaces by new ones" },
    ],
    build: |values, _| {
        let keys = values.count("keys")?;
        let step = (keys as f64 * values.share("shift")?) as u64;
        let zipf = Zipf::new(keys, values.number("alpha")?);
        Ok(Box::new(Phase { zipf, step, every: values.count("every")? }))
    },
};

struct Phase {
    zipf: Zipf,
    step: u64,
    every: u64,
}

impl Pattern for Phase {
    fn key(&mut self, moment: Moment, rng: &mut Rng) -> u64 {
        // The window over the keys moves on: the most popular leave it first.
        rank(&self.zipf, rng).wrapping_add((moment.index / self.every).wrapping_mul(self.step))
    }
}

pub(super) const DIURNAL: Generator = Generator {
    name: "diurnal",
    about: "day and night: the rate swings, and two sets of Zipf keys take turns",
    params: &[
        ALPHA,
        KEYS,
        Param { name: "rate", default: Some(5.0), about: "mean requests a second" },
        Param { name: "period", default: Some(86_400.0), about: "seconds a day" },
        Param {
            name: "swing",
            default: Some(0.8),
            about: "how far the rate leaves its mean, as a share of it of at most 0.99",
        },
    ],
    build: |values, _| {
        let keys = values.count("keys")?;
        let zipf = Zipf::new(keys, values.number("alpha")?);
        // A rate of zero would never see the next request.
        let swing = values.within("swing", 0.0..=0.99)?;
        Ok(Box::new(Diurnal { zipf, keys, period: values.positive("period")?, swing }))
    },
};

struct Diurnal {
    zipf: Zipf,
    keys: u64,
    period: f64,
    swing: f64,
}

impl Diurnal {
    /// From -1 at midnight to 1 at noon.
    fn sun(&self, seconds: f64) -> f64 {
        -libm::cos(std::f64::consts::TAU * seconds / self.period)
    }
}

impl Pattern for Diurnal {
    fn key(&mut self, moment: Moment, rng: &mut Rng) -> u64 {
        let night = rng.unit() * 2.0 - 1.0 > self.sun(moment.seconds);
        rank(&self.zipf, rng) + if night { self.keys } else { 0 }
    }

    fn pace(&self, seconds: f64) -> f64 {
        1.0 + self.swing * self.sun(seconds)
    }
}

pub(super) const FLASH: Generator = Generator {
    name: "flash",
    about: "Zipf traffic and once a flash crowd: a few new keys draw many times the usual requests",
    params: &[
        ALPHA,
        KEYS,
        Param { name: "start", default: Some(200.0), about: "second at which the crowd comes" },
        Param { name: "span", default: Some(60.0), about: "seconds it stays" },
        Param { name: "surge", default: Some(5.0), about: "the rate meanwhile, as a multiple of at least 1" },
        Param { name: "hot", default: Some(10.0), about: "keys it asks for" },
    ],
    build: |values, _| {
        let keys = values.count("keys")?;
        let zipf = Zipf::new(keys, values.number("alpha")?);
        let start = values.number("start")?;
        let crowd = start..start + values.number("span")?;
        Ok(Box::new(Flash { zipf, keys, crowd, surge: values.within("surge", 1.0..=1e6)?, hot: values.count("hot")? }))
    },
};

struct Flash {
    zipf: Zipf,
    keys: u64,
    crowd: std::ops::Range<f64>,
    surge: f64,
    hot: u64,
}

impl Pattern for Flash {
    fn key(&mut self, moment: Moment, rng: &mut Rng) -> u64 {
        // The usual traffic goes on below the crowd.
        if self.crowd.contains(&moment.seconds) && rng.unit() * self.surge > 1.0 {
            self.keys + below(rng, self.hot)
        } else {
            rank(&self.zipf, rng)
        }
    }

    fn pace(&self, seconds: f64) -> f64 {
        if self.crowd.contains(&seconds) { self.surge } else { 1.0 }
    }
}
