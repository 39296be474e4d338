//! Synthetic traces, reproducible bit for bit by seed: a pattern says which key comes next, its traffic the rest.

mod patterns;
mod spec;
mod traffic;
mod twitter;
mod zipf;

pub use spec::Param;

use larder_policy::Rng;
use spec::{Spec, Values};
use traffic::{Generated, Part, Traffic};

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
    twitter::TWITTER,
    MIX,
];

const MIX: Generator = Generator {
    name: "mix",
    about: "requests drawn from parts by weight: mix:requests=1e6/+3*zipf/alpha=0.9/+1*scan",
    params: &[],
    build: |_, _| Err(Error::option("a mix needs parts, such as gen:mix:requests=1e6/+3*zipf/alpha=0.9/+1*scan")),
};

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
    /// How often it was asked before.
    index: u64,
    seconds: f64,
}

/// The reader of a description without its `gen:`.
pub(crate) fn reader(text: &str) -> Result<Box<dyn Reader>, Error> {
    let spec = Spec::parse(text)?;
    let generator = named(spec.generator)?;
    let values = Values::new(&spec, &[generator.params, Generator::COMMON])?;
    let parts = match (&*spec.parts, generator.name == MIX.name) {
        ([], _) => vec![part(generator, &values, 1.0)?],
        (parts, true) => {
            let all = parts.iter().map(|(weight, _)| weight).sum::<f64>();
            parts.iter().map(|(weight, spec)| mixed(spec, *weight, weight / all, &values)).collect::<Result<_, _>>()?
        }
        (_, false) => return Err(Error::option(format!("generator {} has no parts; only mix has", generator.name))),
    };
    let rate = match &*parts {
        [only] => only.traffic.rate,
        _ => values.positive("rate")?,
    };
    Generated::boxed(parts, rate, values.whole("requests")?, values.whole("seed")?)
}

fn named(name: &str) -> Result<&'static Generator, Error> {
    GENERATORS.iter().find(|g| g.name == name).ok_or_else(|| {
        let known: Vec<_> = GENERATORS.iter().map(|g| g.name).collect();
        Error::option(format!("no generator {name:?}; known are {}", known.join(", ")))
    })
}

fn part(generator: &Generator, values: &Values, weight: f64) -> Result<Part, Error> {
    let mut traffic = Traffic::new(values)?;
    let pattern = (generator.build)(values, &mut traffic)?;
    Ok(Part { weight, pattern, traffic, index: 0 })
}

/// A part of a mix: its share of the whole's requests, and the whole's seed and rate.
fn mixed(spec: &Spec<'_>, weight: f64, share: f64, whole: &Values) -> Result<Part, Error> {
    let generator = named(spec.generator)?;
    let mut values = Values::new(spec, &[generator.params, Generator::COMMON])?;
    for name in ["requests", "seed", "rate"] {
        if values.given(name) {
            return Err(Error::option(format!("{name} belongs to the whole mix, not to its part {}", spec.generator)));
        }
        values.inherit(name, whole);
    }
    values.scale("requests", share);
    for name in ["reads", "size", "spread", "ttl"] {
        if whole.given(name) && !values.given(name) {
            values.inherit(name, whole);
        }
    }
    part(generator, &values, weight)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use larder_policy::{Op, Time};

    use super::*;
    use crate::{Request, key::text};

    fn all(spec: &str) -> Vec<Request> {
        let mut reader = reader(spec).unwrap_or_else(|e| panic!("{spec}: {e}"));
        let mut rows = Vec::new();
        while reader.read(&mut rows, 1000).unwrap() > 0 {}
        rows
    }

    fn distinct(rows: &[Request]) -> usize {
        rows.iter().map(|r| r.key).collect::<HashSet<_>>().len()
    }

    #[test]
    fn parts_of_a_mix_are_as_the_whole_says_unless_they_say_otherwise() {
        let rows = all("mix:requests=4000/reads=0.2/size=500/+1*zipf/keys=100/+1*scan/size=7/reads=1");
        let (scans, others): (Vec<&Request>, Vec<&Request>) = rows.iter().partition(|row| row.size == 7);
        assert!(scans.len() > 1000 && scans.iter().all(|row| row.op == Op::Get));
        let sets = others.iter().filter(|row| row.op == Op::Set).count();
        assert!(others.iter().all(|row| row.size == 500) && sets * 10 > others.len() * 7, "{sets} of {}", others.len());
    }

    #[test]
    fn every_generator_is_reproducible_and_ordered() {
        for generator in GENERATORS {
            let parts = if generator.name == MIX.name { "/+2*zipf/+1*loop/keys=10" } else { "" };
            let spec = |seed| format!("{}:requests=5000/seed={seed}{parts}", generator.name);
            let rows = all(&spec(1));
            assert_eq!(rows.len(), 5000);
            assert_eq!(rows, all(&spec(1)), "{}", generator.name);
            assert!(rows.is_sorted_by_key(|r| r.at), "{}", generator.name);
            let random = !["scan", "loop"].contains(&generator.name);
            assert_eq!(rows != all(&spec(2)), random, "{}", generator.name);
        }
    }

    /// The traces themselves are pinned: a change of one bit would change every result made with a seed.
    #[test]
    fn seeds_are_forever() {
        let digest = |spec: &str| {
            let row =
                |r: &Request| [r.at.0, r.key, r.size.into(), r.ttl.into(), r.op as u64].map(u64::to_le_bytes).concat();
            text(&all(spec).iter().flat_map(row).collect::<Vec<_>>())
        };
        let zipf = digest("zipf:requests=2000/size=4096/spread=1/reads=0.9");
        assert_eq!(zipf, ZIPF_DIGEST, "{zipf:#018x}");
        let twitter = digest("twitter:cluster=24/requests=2000");
        assert_eq!(twitter, TWITTER_DIGEST, "{twitter:#018x}");
    }

    const ZIPF_DIGEST: u64 = 0x514c_09e1_3711_f7ea;
    const TWITTER_DIGEST: u64 = 0x01fd_0475_6360_e417;

    #[test]
    fn patterns_are_what_they_say() {
        assert_eq!(distinct(&all("scan:requests=3000")), 3000);
        assert_eq!(distinct(&all("loop:requests=3000/keys=70")), 70);
        assert_eq!(distinct(&all("uniform:requests=3000/keys=70")), 70);

        let rows = all("phase:requests=4000/keys=100/every=1000");
        let phases: Vec<HashSet<u64>> = rows.chunks(1000).map(|c| c.iter().map(|r| r.key).collect()).collect();
        assert!(phases.windows(2).all(|w| w[0].is_disjoint(&w[1])));

        let rows = all("flash:requests=300000/keys=1000/start=200/span=20/surge=5/hot=10");
        let hot = rows.iter().filter(|r| r.key >= 1000);
        let during = |r: &Request| (200_000_000..220_000_001).contains(&r.at.0);
        assert!(hot.clone().all(during));
        let share = hot.count() as f64 / rows.iter().filter(|r| during(r)).count() as f64;
        assert!((share - 0.8).abs() < 0.02, "{share}");

        let rows = all("diurnal:requests=400000/rate=5");
        let hour = |r: &Request| r.at.0 / 3_600_000_000 % 24;
        let (noon, midnight) =
            (rows.iter().filter(|r| hour(r) == 12).count(), rows.iter().filter(|r| hour(r) == 0).count());
        assert!(noon > 5 * midnight, "{noon} {midnight}");
    }

    #[test]
    fn traffic_is_what_it_says() {
        let rows = all("zipf:requests=100000/keys=50000/reads=0.7/size=1000/spread=1/ttl=60/rate=50");
        let gets = rows.iter().filter(|r| r.op == Op::Get).count() as f64 / rows.len() as f64;
        assert!((gets - 0.7).abs() < 0.01, "{gets}");
        assert!(rows.iter().all(|r| r.ttl == 60));
        assert_eq!(rows[50].at, Time(1_000_000));
        let sizes: std::collections::HashMap<u64, u32> = rows.iter().map(|r| (r.key, r.size)).collect();
        assert!(rows.iter().all(|r| sizes[&r.key] == r.size), "a key keeps its size");
        let mean = sizes.values().map(|s| f64::from(*s)).sum::<f64>() / sizes.len() as f64;
        assert!((mean - 1000.0).abs() < 50.0, "{mean}");
    }

    #[test]
    fn clusters_keep_their_figures() {
        // Cluster 14: get 0.65, delete 0.22, set 0.13; a key and its value of 510 bytes; 5810 requests a second.
        let rows = all("twitter:cluster=14/requests=200000");
        for (op, share) in [(Op::Get, 0.65), (Op::Delete, 0.22), (Op::Set, 0.13)] {
            let found = rows.iter().filter(|r| r.op == op).count() as f64 / rows.len() as f64;
            assert!((found - share).abs() < 0.01, "{op:?}: {found}");
        }
        assert!(rows.iter().all(|r| (r.size, r.ttl) == (510, 86_400)));
        assert_eq!(rows[58_100].at.0.div_ceil(1000), 10_000);
        // Cluster 32: 97.56 % of the keys are asked for once, 1.0 times on average.
        let rows = all("twitter:cluster=32/requests=100000");
        assert!(distinct(&rows) > 97_000);
    }

    #[test]
    fn mixes_keep_weights_and_keys_apart() {
        let rows = all("mix:requests=40000/+3*loop/keys=10/size=7/+1*scan/ttl=9");
        let part = |r: &&Request| r.size == 7;
        let first = rows.iter().filter(part).count() as f64 / rows.len() as f64;
        assert!((first - 0.75).abs() < 0.02, "{first}");
        let scanned: Vec<_> = rows.iter().filter(|r| !part(r)).collect();
        assert!(scanned.windows(2).all(|w| w[1].key == w[0].key + 1 && w[0].ttl == 9));
        assert_eq!(distinct(&rows), 10 + scanned.len());
    }

    #[test]
    fn a_cluster_in_a_mix_has_keys_for_its_part_of_the_requests() {
        let own = |rows: &[Request]| distinct(rows) as f64;
        let alone = own(&all("twitter:cluster=52/requests=20000"));
        let rows = all("mix:requests=200000/+1*twitter/cluster=52/size=7/+9*scan");
        let part: Vec<Request> = rows.into_iter().filter(|row| row.size == 7).collect();
        assert!((own(&part) / alone - 1.0).abs() < 0.1, "{} {alone}", own(&part));
    }

    #[test]
    fn wrong_descriptions_are_refused() {
        for spec in [
            "",
            "zipp",
            "zipf:keys",
            "zipf:keys=",
            "zipf:keys=0",
            "zipf:keys=-1",
            "zipf:keys=1.5",
            "zipf:what=1",
            "zipf:alpha=NaN",
            "zipf:rate=0",
            "zipf:reads=2",
            "zipf:seed=1e300",
            "mix",
            "mix:+0*zipf",
            "mix:+x*zipf",
            "zipf:+1*scan",
            "mix:+1*zipf/seed=2",
            "mix:+1*mix",
            "flash:surge=0.5",
            "diurnal:swing=1",
            "twitter:cluster=5",
            "twitter:cluster=43",
            "twitter:cluster=99",
        ] {
            let error = reader(spec).err().unwrap_or_else(|| panic!("{spec}"));
            assert_eq!(error.kind(), crate::ErrorKind::BadOption, "{spec}: {error}");
        }
    }
}
