//! The metrics for OpenTelemetry.

use metrics_opentelemetry::opentelemetry::metrics::Meter;
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};

use super::CATALOGUE;

/// A recorder that hands every metric of the process to a meter of OpenTelemetry, with the buckets that a cache's histograms need. Which
/// exporter sends them is up to the meter's provider.
///
/// ```
/// use opentelemetry::metrics::MeterProvider;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
///
/// // With a reader, which sends to a collector: see examples/opentelemetry.rs.
/// let provider = SdkMeterProvider::builder().build();
/// metrics::set_global_recorder(larder::metrics::otel_recorder(provider.meter("service")))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn otel_recorder(meter: Meter) -> OpenTelemetryRecorder {
    let mut recorder = OpenTelemetryRecorder::new(OpenTelemetryMetrics::new(meter));
    for metric in CATALOGUE {
        let bounds = metric.kind.bounds();
        if !bounds.is_empty() {
            recorder.set_histogram_bounds_mut(std::iter::once(metric.name), &bounds);
        }
    }
    recorder
}
