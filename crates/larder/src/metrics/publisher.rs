//! Reports to the recorder, as what has changed since the last one.

use std::collections::HashSet;

use metrics::{Key, Label, Level, Metadata, Recorder};

use super::series::{Series, counters, gauges, histograms};
use crate::report::Report;
use crate::telemetry::Histogram;

static METADATA: Metadata<'static> = Metadata::new("larder", Level::INFO, Some(module_path!()));

/// Publishes the reports of one cache. It looks each series up anew, so that a recorder may come at any time: about a
/// hundred a second. A recorder tells a gauge until it hears otherwise: one that the report no longer has is withdrawn, and
/// all are when this is dropped.
pub(crate) struct Publisher {
    counted: Vec<u64>,
    noted: Vec<Vec<u64>>,
    /// The gauges that say something.
    told: HashSet<Key>,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        super::describe();
        Self { counted: Vec::new(), noted: Vec::new(), told: HashSet::new() }
    }

    pub(crate) fn publish(&mut self, report: &Report) {
        metrics::with_recorder(|recorder| self.publish_to(recorder, report));
    }

    fn publish_to(&mut self, recorder: &dyn Recorder, report: &Report) {
        let counters = counters(report);
        self.counted.resize(counters.len(), 0);
        for (series, before) in counters.iter().zip(&mut self.counted) {
            // Audits that came to nothing are taken back: such a count may be lower for a moment.
            let more = series.2.saturating_sub(*before);
            recorder.register_counter(&key(report, series), &METADATA).increment(more);
            *before += more;
        }
        let mut told = HashSet::with_capacity(self.told.len());
        for series in &gauges(report) {
            let key = key(report, series);
            recorder.register_gauge(&key, &METADATA).set(series.2);
            told.insert(key);
        }
        withdraw(recorder, self.told.difference(&told));
        self.told = told;
        let histograms = histograms(report);
        self.noted.resize(histograms.len(), Vec::new());
        for (series, before) in histograms.iter().zip(&mut self.noted) {
            let own = recorder.register_histogram(&key(report, series), &METADATA);
            let Histogram { bounds, counts, .. } = series.2;
            before.resize(counts.len(), 0);
            for (at, (&now, before)) in counts.iter().zip(before).enumerate() {
                own.record_many(middle(bounds, at), (now - *before) as usize);
                *before = now;
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        metrics::with_recorder(|recorder| withdraw(recorder, self.told.iter()));
    }
}

/// Nothing can be taken out of a recorder. No number is above or below a threshold, and charts have a gap there.
fn withdraw<'a>(recorder: &dyn Recorder, gone: impl Iterator<Item = &'a Key>) {
    gone.for_each(|key| recorder.register_gauge(key, &METADATA).set(f64::NAN));
}

/// A time that stands for a bucket: the geometric mean of its ends.
fn middle(bounds: &[f64], at: usize) -> f64 {
    let upper = bounds.get(at).copied().unwrap_or_else(|| bounds[at - 1] * 2.0);
    upper / std::f64::consts::SQRT_2
}

fn key<T>(report: &Report, (name, labels, _): &Series<T>) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, value.clone()));
    Key::from_parts(*name, std::iter::once(Label::new("cache", report.name.clone())).chain(labels).collect::<Vec<_>>())
}
