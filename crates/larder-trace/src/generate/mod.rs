//! Synthetic traces, reproducible bit for bit by seed: a pattern says which key comes next, [`Traffic`] the rest.

mod patterns;
mod spec;
mod traffic;
mod zipf;

pub use spec::Param;

use larder_policy::Rng;
use spec::{Spec, Values};
use traffic::{Generated, Traffic};

use crate::{Error, Reader};

/// What the crate knows about a generator.
#[derive(Debug)]
pub struct Generator {
    /// Its name in `gen:name:param=value/…`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Its own parameters; [`COMMON`](Generator::COMMON) ones apply to all and an own one shadows its namesake.
    pub params: &'static [Param],
    build: BuildFn,
}

/// Makes the pattern of checked parameters, and changes the traffic around it where it knows better.
type BuildFn = fn(&Values, &mut Traffic) -> Result<Box<dyn Pattern>, Error>;

impl Generator {
    /// The parameters every generator takes.
    pub const COMMON: &'static [Param] = &[
        Param { name: "requests", default: Some(1e6), about: "requests in all" },
        Param { name: "seed", default: Some(1.0), about: "same seed, same trace" },
        Param { name: "rate", default: Some(1000.0), about: "requests a second" },
        Param { name: "reads", default: Some(1.0), about: "share of gets; the others are sets" },
        Param { name: "size", default: Some(1.0), about: "mean size in bytes; a key keeps its size" },
        Param { name: "spread", default: Some(0.0), about: "standard deviation of the sizes' logarithm (log-normal)" },
        Param { name: "ttl", default: Some(0.0), about: "lifetime in seconds, 0 for none" },
    ];
}

/// Every generator.
pub const GENERATORS: &[Generator] = &[
    patterns::ZIPF,
    patterns::UNIFORM,
    patterns::SCAN,
    patterns::LOOP,
    patterns::PHASE,
    patterns::DIURNAL,
    patterns::FLASH,
];

/// Which key comes next.
trait Pattern: Send {
    /// The key of the request at `moment`.
    fn key(&mut self, moment: Moment, rng: &mut Rng) -> u64;

    /// Requests at `seconds` as a multiple of the mean rate; above 0.
    fn pace(&self, _seconds: f64) -> f64 {
        1.0
    }
}

/// Where in the trace a pattern is asked.
#[derive(Clone, Copy)]
struct Moment {
    index: u64,
    seconds: f64,
}

/// The reader of a description without its `gen:`.
pub(crate) fn reader(text: &str) -> Result<Box<dyn Reader>, Error> {
    let spec = Spec::parse(text)?;
    let (values, pattern, traffic) = build(&spec)?;
    let requests = values.whole("requests")?;
    Ok(Box::new(Generated::new(pattern, traffic, requests, values.whole("seed")?)))
}

fn build(spec: &Spec<'_>) -> Result<(Values, Box<dyn Pattern>, Traffic), Error> {
    let generator = GENERATORS.iter().find(|g| g.name == spec.generator).ok_or_else(|| {
        let known: Vec<_> = GENERATORS.iter().map(|g| g.name).collect();
        Error::option(format!("no generator {:?}; known are {}", spec.generator, known.join(", ")))
    })?;
    let values = Values::new(spec, &[generator.params, Generator::COMMON])?;
    let mut traffic = Traffic::new(&values)?;
    let pattern = (generator.build)(&values, &mut traffic)?;
    Ok((values, pattern, traffic))
}
