//! What a cache reports, as metrics of the [`metrics`](https://docs.rs/metrics) facade: whichever recorder the process
//! installs gets them, once a second. Without one nothing happens: install it before caches are built, for what they counted until
//! then is in no counter. Never is a key a label.
//!
//! A gauge that no longer says anything is set to NaN, for nothing can be taken out of a recorder: all of them once a cache is dropped.
//!
//! A Prometheus recorder needs buckets for the histograms: [`CATALOGUE`] has them.
//!
//! ```
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
//! for metric in larder::metrics::CATALOGUE.iter().filter(|metric| !metric.kind.bounds().is_empty()) {
//!     builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &metric.kind.bounds())?;
//! }
//! let recorder = builder.build_recorder();
//! // A recorder that is built or installed without an exporter keeps every time it is told until somebody asks it to fold them into the
//! // buckets: without this its memory grows.
//! let handle = recorder.handle();
//! std::thread::spawn(move || {
//!     loop {
//!         std::thread::sleep(std::time::Duration::from_secs(5));
//!         handle.run_upkeep();
//!     }
//! });
//! # Ok::<(), metrics_exporter_prometheus::BuildError>(())
//! ```
//!
//! `PrometheusBuilder::install`, which serves scrapes by itself, does that too; `build_recorder` and `install_recorder` leave it to you.

mod catalogue;
#[cfg(feature = "otel")]
mod otel;
mod publisher;
mod series;

use metrics::{KeyName, SharedString};

pub use catalogue::{CATALOGUE, Kind, Metric};
#[cfg(feature = "otel")]
pub use otel::otel_recorder;
pub(crate) use publisher::Publisher;

/// Tells the recorder what each metric means. Caches do so when they are built: only a recorder installed later needs to
/// be told.
pub fn describe() {
    describe_all(CATALOGUE);
}

/// As [`describe`], for a catalogue of one's own.
pub fn describe_all(catalogue: &[Metric]) {
    metrics::with_recorder(|recorder| {
        for &Metric { name, kind, unit, help, .. } in catalogue {
            // OpenTelemetry's collectors take a gauge of unit 1 for a ratio, and name it so.
            let is_number = kind == Kind::Gauge && unit == metrics::Unit::Count && !name.ends_with("_ratio");
            let unit = (!is_number).then_some(unit);
            let (name, help) = (KeyName::from_const_str(name), SharedString::const_str(help));
            match kind {
                Kind::Counter => recorder.describe_counter(name, unit, help),
                Kind::Gauge => recorder.describe_gauge(name, unit, help),
                Kind::Latency | Kind::Wait | Kind::Span => recorder.describe_histogram(name, unit, help),
            }
        }
    });
}
