//! What a person wants of many cells: how far each policy is ahead of others.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::CellRecord;

/// How much less `ours` misses than `reference`: `(reference − ours) / reference`, or where it misses more,
/// `(reference − ours) / ours`, so that a factor counts the same in either direction and lies in (−1, 1].
pub fn reduction(reference: f64, ours: f64) -> f64 {
    let worse = reference.max(ours);
    if worse == 0.0 { 0.0 } else { (reference - ours) / worse }
}

/// The share of what the best possible saves over LRU that `ours` saves: `(lru − ours) / (lru − best)`; none where
/// there is nothing to save.
pub fn gap_closed(lru: f64, best: f64, ours: f64) -> Option<f64> {
    let gap = lru - best;
    // Below a thousandth of a percentage point the quotient is noise.
    (gap > 1e-5).then(|| (lru - ours) / gap)
}

/// A record set against the others of its trace and size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The trace's name.
    pub trace: String,
    /// The size as it was asked for.
    pub capacity_spec: String,
    /// The size, in objects or bytes.
    pub capacity: u64,
    /// The policy.
    pub policy: String,
    /// Its miss ratio.
    pub miss_ratio: f64,
    /// Reduction against FIFO, where it was run.
    pub against_fifo: Option<f64>,
    /// Reduction against LRU, where it was run.
    pub against_lru: Option<f64>,
    /// Reduction against the best policy that does not know the future.
    pub against_best: Option<f64>,
    /// The share of the gap between LRU and Bélády closed, where both were run.
    pub gap_closed: Option<f64>,
    /// That gap, by how much Bélády's miss ratio is below LRU's, where it has a share closed.
    pub gap: Option<f64>,
    /// Whether no policy that does not know the future misses less.
    pub is_best: bool,
    /// Whether it knows the future itself.
    pub knows_future: bool,
}

/// A policy over all traces and sizes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The policy.
    pub policy: String,
    /// Whether it knows the future.
    pub knows_future: bool,
    /// Cells it was compared in.
    pub cells: usize,
    /// Mean miss ratio.
    pub miss_ratio: f64,
    /// Mean reduction against FIFO.
    pub against_fifo: Option<f64>,
    /// Mean reduction against LRU.
    pub against_lru: Option<f64>,
    /// Mean reduction against the best of each cell.
    pub against_best: Option<f64>,
    /// The cell where it does worst against the best: trace, size, reduction.
    pub worst: Option<(String, String, f64)>,
    /// What it saves over LRU in all cells that have a gap, as a share of what Bélády saves in them: in a mean of the cells' own shares one
    /// of hardly any gap would outweigh the others.
    pub gap_closed: Option<f64>,
    /// Cells in which none misses less.
    pub best_in: usize,
}

/// Which miss ratio is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// The share of accesses that miss.
    #[default]
    Requests,
    /// The share of bytes that miss.
    Bytes,
}

impl Metric {
    /// That miss ratio of a record.
    pub fn of(self, record: &CellRecord) -> f64 {
        match self {
            Self::Requests => record.miss_ratio,
            Self::Bytes => record.byte_miss_ratio,
        }
    }

    /// What reports call that ratio.
    pub(crate) fn ratio(self) -> &'static str {
        match self {
            Self::Requests => "miss ratio",
            Self::Bytes => "byte miss ratio",
        }
    }

    /// What there should be few of.
    pub(crate) fn missed(self) -> &'static str {
        match self {
            Self::Requests => "misses",
            Self::Bytes => "bytes missed",
        }
    }
}

/// Sets each record against the others of the same trace and size, in the records' order.
///
/// Sizes that come to the same are compared once: small shares of a small trace are all 64 objects, and would count
/// double.
pub fn compare(records: &[CellRecord], metric: Metric) -> Vec<Comparison> {
    let mut seen = BTreeSet::new();
    let records = records.iter().filter(|record| seen.insert((&record.trace, record.capacity, &record.policy)));
    let records: Vec<&CellRecord> = records.collect();
    let mut groups: BTreeMap<(&str, u64), Vec<&CellRecord>> = BTreeMap::new();
    for record in &records {
        groups.entry((&record.trace, record.capacity)).or_default().push(record);
    }
    let compared = records.iter().map(|record| {
        let group = &groups[&(record.trace.as_str(), record.capacity)];
        let ours = metric.of(record);
        let of = |name: &str| group.iter().find(|other| other.policy == name).map(|other| metric.of(other));
        let online = group.iter().filter(|other| !knows_future(&other.policy)).map(|other| metric.of(other));
        let best = online.min_by(f64::total_cmp);
        // Which of those that were run is nearest to the least there can be depends on sizes.
        let bound = ["belady", "belady-bypass", "belady-size"].into_iter().filter_map(of).min_by(f64::total_cmp);
        let gap_closed = of("lru").zip(bound).and_then(|(lru, bound)| gap_closed(lru, bound, ours));
        Comparison {
            trace: record.trace.clone(),
            capacity_spec: record.capacity_spec.clone(),
            capacity: record.capacity,
            policy: record.policy.clone(),
            miss_ratio: ours,
            against_fifo: of("fifo").map(|fifo| reduction(fifo, ours)),
            against_lru: of("lru").map(|lru| reduction(lru, ours)),
            against_best: best.map(|best| reduction(best, ours)),
            gap_closed,
            gap: gap_closed.and(of("lru").zip(bound)).map(|(lru, bound)| lru - bound),
            is_best: best.is_some_and(|best| ours <= best) && !knows_future(&record.policy),
            knows_future: knows_future(&record.policy),
        }
    });
    compared.collect()
}

/// One summary a policy, in the order of their first comparisons.
pub fn summarise(comparisons: &[Comparison]) -> Vec<Summary> {
    let mut policies: Vec<&str> = Vec::new();
    for comparison in comparisons {
        if !policies.contains(&comparison.policy.as_str()) {
            policies.push(&comparison.policy);
        }
    }
    let summary = |policy: &str| {
        let of = || comparisons.iter().filter(|comparison| comparison.policy == policy);
        let against = |other: fn(&Comparison) -> Option<f64>| mean(of().filter_map(other));
        let worst = of()
            .filter_map(|cell| Some((cell, cell.against_best?)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(cell, reduction)| (cell.trace.clone(), cell.capacity_spec.clone(), reduction));
        Summary {
            policy: policy.to_owned(),
            knows_future: knows_future(policy),
            cells: of().count(),
            miss_ratio: mean(of().map(|cell| cell.miss_ratio)).unwrap_or_default(),
            against_fifo: against(|cell| cell.against_fifo),
            against_lru: against(|cell| cell.against_lru),
            against_best: against(|cell| cell.against_best),
            worst,
            gap_closed: share_of_gaps(of()),
            best_in: of().filter(|cell| cell.is_best).count(),
        }
    };
    policies.into_iter().map(summary).collect()
}

fn share_of_gaps<'a>(cells: impl Iterator<Item = &'a Comparison>) -> Option<f64> {
    let gaps = cells.filter_map(|cell| Some((cell.gap?, cell.gap_closed?)));
    let (closed, all) = gaps.fold((0.0, 0.0), |(closed, all), (gap, share)| (closed + gap * share, all + gap));
    (all > 0.0).then(|| closed / all)
}

fn knows_future(policy: &str) -> bool {
    policy.parse::<larder_policy::PolicySpec>().is_ok_and(|spec| spec.eviction().needs_oracle)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(trace: &str, policy: &str, miss_ratio: f64) -> CellRecord {
        CellRecord {
            trace: trace.into(),
            policy: policy.into(),
            capacity: 100,
            capacity_spec: "1%".into(),
            requests: 1000,
            gets: 1000,
            hits: 0,
            misses: 0,
            miss_ratio,
            byte_miss_ratio: miss_ratio,
            evictions: 0,
            seconds: 0.0,
            requests_per_second: 0.0,
            metadata_bytes: 0,
        }
    }

    #[test]
    fn reductions_are_signed_and_symmetric() {
        assert_eq!(reduction(0.5, 0.25), 0.5);
        assert_eq!(reduction(0.25, 0.5), -0.5);
        assert_eq!(reduction(0.0, 0.0), 0.0);
        assert_eq!(reduction(0.0, 0.5), -1.0);
        assert_eq!(gap_closed(0.5, 0.25, 0.375), Some(0.5));
        assert_eq!(gap_closed(0.5, 0.25, 0.75), Some(-1.0));
        assert_eq!(gap_closed(0.5, 0.5, 0.5), None);
    }

    #[test]
    fn sizes_that_come_to_the_same_count_once() {
        let other = CellRecord { capacity_spec: "0.1%".into(), ..record("a", "lru", 0.5) };
        assert_eq!(compare(&[record("a", "lru", 0.5), other], Metric::Requests).len(), 1);
    }

    #[test]
    fn the_gap_is_to_the_best_that_knows_the_future() {
        let records = [("lru", 0.65), ("gdsf", 0.5), ("belady", 0.64), ("belady-size", 0.45)];
        let compared = compare(&records.map(|(policy, ratio)| record("a", policy, ratio)), Metric::Requests);
        let closed = compared.iter().map(|cell| (cell.gap_closed.unwrap() * 1000.0).round()).collect::<Vec<_>>();
        assert_eq!(closed, [0.0, 750.0, 50.0, 1000.0]);
    }

    #[test]
    fn a_cell_of_hardly_any_gap_does_not_rule_the_share_closed() {
        let records = [
            record("a", "lru", 0.5),
            record("a", "s3fifo", 0.4),
            record("a", "belady", 0.25),
            record("b", "lru", 0.131),
            record("b", "s3fifo", 0.1331),
            record("b", "belady", 0.1303),
        ];
        let summaries = summarise(&compare(&records, Metric::Requests));
        let closed = |policy: &str| summaries.iter().find(|one| one.policy == policy).unwrap().gap_closed.unwrap();
        // Of 25.07 points, 10 and −0.21; the mean of 40 % and −300 % says nothing.
        assert!((closed("s3fifo") - 0.0979 / 0.2507).abs() < 1e-9, "{}", closed("s3fifo"));
        assert!((closed("belady") - 1.0).abs() < 1e-12 && closed("lru").abs() < 1e-12);
    }

    #[test]
    fn each_cell_is_set_against_its_own_trace_and_size() {
        let records = [
            record("a", "fifo", 0.8),
            record("a", "lru", 0.5),
            record("a", "s3fifo", 0.4),
            record("a", "belady", 0.25),
            record("b", "lru", 0.2),
            record("b", "s3fifo", 0.4),
        ];
        let compared = compare(&records, Metric::Requests);
        assert_eq!(compared[2].against_fifo, Some(0.5));
        assert!((compared[2].against_lru.unwrap() - 0.2).abs() < 1e-12);
        assert!((compared[2].gap_closed.unwrap() - 0.4).abs() < 1e-12);
        assert!(compared[2].is_best && !compared[3].is_best);
        assert_eq!(compared[3].gap_closed, Some(1.0));
        assert_eq!((compared[5].against_fifo, compared[5].gap_closed), (None, None));

        let summaries = summarise(&compared);
        let s3fifo = summaries.iter().find(|summary| summary.policy == "s3fifo").unwrap();
        assert_eq!((s3fifo.cells, s3fifo.best_in), (2, 1));
        assert!((s3fifo.against_lru.unwrap() - (0.2 - 0.5) / 2.0).abs() < 1e-12);
        assert_eq!(s3fifo.worst, Some(("b".into(), "1%".into(), -0.5)));
        assert!(summaries.iter().any(|summary| summary.knows_future && summary.policy == "belady"));
    }
}
