//! The metrics of this process's caches, for Prometheus.

use std::net::SocketAddr;

use larder::metrics::CATALOGUE;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::failure::Failure;

/// Answers scrapes at an address, at any path, in the tokio runtime this is called in.
pub(crate) fn serve(at: SocketAddr) -> Result<(), Failure> {
    let builder = PrometheusBuilder::new().with_http_listener(at).with_recommended_naming(true);
    let mut histograms = CATALOGUE.iter().filter(|metric| !metric.kind.bounds().is_empty());
    histograms
        .try_fold(builder, |builder, metric| {
            builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &metric.kind.bounds())
        })
        // The exporter folds its samples into buckets every few seconds, whether it is scraped or not.
        .and_then(PrometheusBuilder::install)
        .map_err(|error| Failure::Failed(format!("metrics cannot be served at {at}: {error}")))
}
