//! Traffic like that of Twitter's cache clusters, by the table published with the 2020 traces (Yang, Yue & Rashmi,
//! OSDI 2020; <https://github.com/twitter/cache-trace>, CC BY 4.0).
//!
//! A cluster gives its mix of operations, Zipf exponent, lifetimes, mean sizes and rate. Of its keys, as many as the
//! requests over its mean frequency, the share of one-hit wonders is asked for once, and the others follow Zipf's law.
//! The table states means alone: sizes are all alike unless `spread` is given, and time has no tides.

use larder_policy::{Op, Rng};

use super::{Generator, Moment, Param, Pattern, zipf::Zipf};
use crate::{Error, formats::ops, parse};

const TABLE: &str = include_str!("twitter.tsv");

/// One-hit wonders are numbered from here, beyond the popular keys.
const FRESH: u64 = 1 << 48;

pub(super) const TWITTER: Generator = Generator {
    name: "twitter",
    about: "like one of the 54 clusters of Twitter's 2020 cache traces, by their published figures",
    params: &[
        Param { name: "cluster", default: Some(52.0), about: "which cluster, 1 to 54" },
        Param { name: "alpha", default: None, about: "Zipf exponent instead of the cluster's" },
        Param { name: "keys", default: None, about: "keys asked for more than once, instead of the cluster's share" },
    ],
    build: |values, traffic| {
        let cluster = Cluster::find(values.whole("cluster")?)?;
        if !values.given("rate") {
            traffic.rate = cluster.rate;
        }
        if !values.given("size") {
            traffic.size = cluster.size;
        }
        if !values.given("ttl") {
            traffic.ttls = cluster.ttls;
        }
        if !values.given("reads") {
            (traffic.reads, traffic.deletes) = (cluster.reads, cluster.deletes);
        }
        let alpha = values.maybe("alpha").or(cluster.alpha).ok_or_else(|| {
            Error::option(
                "the table of Twitter's clusters gives this one no Zipf exponent: give alpha, such as alpha=1",
            )
        })?;
        let share = (1.0 - cluster.one_hit) * values.number("requests")? / cluster.frequency;
        let keys = if values.given("keys") { values.count("keys")? } else { (share as u64).max(1) };
        Ok(Box::new(Twitter { zipf: Zipf::new(keys, alpha), fresh: cluster.one_hit / cluster.frequency }))
    },
};

struct Twitter {
    zipf: Zipf,
    /// Share of requests that ask for a one-hit wonder.
    fresh: f64,
}

impl Pattern for Twitter {
    fn key(&mut self, moment: Moment, rng: &mut Rng) -> u64 {
        if rng.unit() < self.fresh { FRESH + moment.index } else { self.zipf.sample(rng) - 1 }
    }
}

/// A row of the table.
struct Cluster {
    /// Mean size of key and value, in bytes.
    size: f64,
    /// Requests a second.
    rate: f64,
    /// Requests a key.
    frequency: f64,
    /// Share of keys asked for once.
    one_hit: f64,
    /// Lifetimes in seconds with the share of keys up to and including each.
    ttls: Vec<(u32, f64)>,
    reads: f64,
    deletes: f64,
    alpha: Option<f64>,
}

impl Cluster {
    fn find(number: u64) -> Result<Self, Error> {
        let number = number.to_string();
        let mut rows = TABLE.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('\t').collect::<Vec<_>>());
        let row = rows.find(|row| row.first() == Some(&&*number));
        let row = row.ok_or_else(|| Error::option(format!("no cluster {number}: Twitter's are 1 to 54")))?;
        Self::parse(&row).ok_or_else(|| {
            Error::option(format!("the table of Twitter's clusters has no figures for cluster {number}"))
        })
    }

    fn parse(row: &[&str]) -> Option<Self> {
        let [_, key_size, value_size, rate, frequency, one_hit, ttls, operations, alpha] = *row else { return None };
        let number = |text: &str| text.parse::<f64>().ok();
        let shares = || operations.split(' ').filter_map(|o| o.split_once(':')).map(|(op, s)| (op, number(s)));
        let total: f64 = shares().filter_map(|(_, share)| share).sum();
        let share_of = |wanted| {
            let these = shares().filter(|(op, _)| ops::of(op.as_bytes()) == Some(wanted));
            these.filter_map(|(_, share)| share).sum::<f64>() / total
        };
        Some(Self {
            size: number(key_size)? + number(value_size)?,
            rate: number(rate)? * 1000.0,
            frequency: number(frequency)?,
            one_hit: number(one_hit)? / 100.0,
            ttls: lifetimes(ttls)?,
            reads: share_of(Op::Get),
            deletes: share_of(Op::Delete),
            alpha: number(alpha),
        })
    }
}

/// `1.8h:0.28, 20s:0.03` in seconds, with cumulative shares; the table leaves out rare ones, so the last takes the rest.
fn lifetimes(text: &str) -> Option<Vec<(u32, f64)>> {
    let mut sum = 0.0;
    let one = |part: &str| {
        let (span, share) = part.trim().split_once(':')?;
        let (count, unit) = span.split_at_checked(span.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        sum += share.parse::<f64>().ok()?;
        Some((parse::cap((count.parse::<f64>().ok()? * unit) as u64), sum))
    };
    text.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_parses() {
        for number in (1..=54).filter(|n| *n != 5) {
            let cluster = Cluster::find(number).unwrap();
            assert!(cluster.size > 0.0 && cluster.rate > 0.0 && cluster.frequency >= 1.0, "{number}");
            assert!((0.0..=1.0).contains(&(cluster.reads + cluster.deletes)), "{number}");
            assert!(cluster.ttls.iter().all(|(ttl, share)| *ttl > 0 && (0.0..=1.02).contains(share)), "{number}");
        }
        assert!(Cluster::find(5).is_err(), "the table has no figures for cluster 5");
        assert!(Cluster::find(55).is_err());
    }

    #[test]
    fn a_row_means_what_it_says() {
        let cluster = Cluster::find(14).unwrap();
        assert_eq!((cluster.size, cluster.rate), (510.0, 5810.0));
        assert_eq!(cluster.ttls, [(86_400, 1.0)]);
        assert!((cluster.reads - 0.65).abs() < 1e-9 && (cluster.deletes - 0.22).abs() < 1e-9);
        assert_eq!(Cluster::find(7).unwrap().ttls[0], (6480, 0.28));
    }
}
