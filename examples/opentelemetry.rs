//! Metrics and traces for a collector that takes OTLP over HTTP:
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run -p larder-examples --example opentelemetry`.
//!
//! larder speaks the `metrics` and `tracing` facades. Its feature `otel` hands the first to OpenTelemetry; `tracing-opentelemetry` hands it the
//! second. A load is a span of its own, `larder::load` at the level debug, within the request that waits for it.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use larder::Cache;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Instrument;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What sends to a collector.
struct Telemetry {
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
}

impl Telemetry {
    /// For the whole process, once: before caches are built.
    fn install(endpoint: &str) -> Result<Self, Box<dyn Error>> {
        let metrics = MetricExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/metrics")).build()?;
        let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics).build();
        metrics::set_global_recorder(larder::metrics::otel_recorder(meters.meter("service")))?;

        let spans = SpanExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/traces")).build()?;
        let tracers = SdkTracerProvider::builder().with_batch_exporter(spans).build();
        let layer = tracing_opentelemetry::layer().with_tracer(tracers.tracer("service"));
        // Not what the exporter's own client says of its requests.
        let ours = Targets::new()
            .with_target("larder", tracing::Level::DEBUG)
            .with_target("opentelemetry", tracing::Level::INFO);
        tracing_subscriber::registry().with(ours).with(layer).try_init()?;
        Ok(Self { meters, tracers })
    }

    /// Sends what is left. It waits for the collector: in a runtime, on a thread that may.
    fn end(self) -> OTelSdkResult {
        self.tracers.shutdown()?;
        self.meters.shutdown()
    }
}

async fn answer(cache: &Cache<u64, u64>, number: u64) -> Result<u64, larder::Error> {
    let square = move || async move { Ok::<_, Infallible>(number * number) };
    cache.get_with(&number, square).instrument(tracing::info_span!("request", number)).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|_| "http://127.0.0.1:4318".into());
    let telemetry = Telemetry::install(&endpoint)?;
    let cache = Cache::builder().name("squares").capacity(1000).build()?;
    for number in [2, 3, 3, 4] {
        println!("{}", answer(&cache, number).await?);
    }
    // Caches tell their metrics once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    tokio::task::spawn_blocking(|| telemetry.end()).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::State;
    use axum::routing::post;
    use larder::metrics::CATALOGUE;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt;
    use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    use super::*;

    /// What a collector got.
    #[derive(Clone, Default)]
    struct Collector(Arc<Mutex<(Vec<Metric>, Vec<Span>)>>);

    impl Collector {
        async fn serve(&self) -> String {
            let metrics = async |State(own): State<Self>, body: Bytes| {
                let request = ExportMetricsServiceRequest::decode(body).unwrap();
                let scopes = request.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
                own.0.lock().unwrap().0.extend(scopes.flat_map(|of| of.metrics));
            };
            let traces = async |State(own): State<Self>, body: Bytes| {
                let request = ExportTraceServiceRequest::decode(body).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|of| of.scope_spans);
                own.0.lock().unwrap().1.extend(scopes.flat_map(|of| of.spans));
            };
            let app = Router::new().route("/v1/metrics", post(metrics)).route("/v1/traces", post(traces));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let app = app.with_state(self.clone());
            tokio::spawn(async move { axum::serve(listener, app).await });
            endpoint
        }
    }

    fn named<'a>(metrics: &'a [Metric], name: &str) -> Option<&'a Metric> {
        metrics.iter().rfind(|metric| metric.name == name)
    }

    /// How many gets had this result.
    fn gets(metrics: &[Metric], result: &str) -> Option<i64> {
        let Data::Sum(gets) = named(metrics, "larder_gets_total")?.data.as_ref()? else { panic!("no sum") };
        assert!(gets.is_monotonic);
        let wanted = [("cache", "squares"), ("tier", "l1"), ("arm", "policy"), ("result", result)];
        let mut points = gets.data_points.iter();
        let point =
            points.find(|point| wanted.iter().all(|(name, value)| label(&point.attributes, name) == Some(value)));
        match point?.value? {
            AsInt(gets) => Some(gets),
            other => panic!("{other:?} is no count"),
        }
    }

    fn label<'a>(labels: &'a [KeyValue], name: &str) -> Option<&'a str> {
        let label = labels.iter().find(|label| label.key == name)?;
        match label.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_gets_metrics_and_traces() {
        let collector = Collector::default();
        let telemetry = Telemetry::install(&collector.serve().await).unwrap();
        let cache = Cache::builder().name("squares").capacity(1000).build().unwrap();
        for number in [2, 3, 3] {
            assert_eq!(answer(&cache, number).await.unwrap(), number * number);
        }
        let is_told = |metrics: &[Metric]| {
            let names = ["larder_load_duration_seconds", "larder_entries"];
            [gets(metrics, "hit"), gets(metrics, "miss")] == [Some(1), Some(2)]
                && names.iter().all(|name| named(metrics, name).is_some())
        };
        // Caches tell their metrics once a second.
        let until = Instant::now() + Duration::from_secs(60);
        while !is_told(&collector.0.lock().unwrap().0) {
            assert!(Instant::now() < until, "{:#?}", collector.0.lock().unwrap().0);
            let meters = telemetry.meters.clone();
            let _ = tokio::task::spawn_blocking(move || meters.force_flush()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::task::spawn_blocking(|| telemetry.end()).await.unwrap().unwrap();
        let (metrics, spans) = &*collector.0.lock().unwrap();

        let metric = |name: &str| named(metrics, name).unwrap();
        let Some(Data::Histogram(loads)) = &metric("larder_load_duration_seconds").data else { panic!("no histogram") };
        let known = CATALOGUE.iter().find(|metric| metric.name == "larder_load_duration_seconds").unwrap();
        assert_eq!((loads.data_points[0].count, &loads.data_points[0].explicit_bounds), (2, &known.kind.bounds()));
        assert_eq!(metric(known.name).description, known.help);
        assert_eq!([known.name, "larder_entries"].map(|name| metric(name).unit.as_str()), ["s", ""]);

        let called = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
        let (requests, loads) = (called("request"), called("load"));
        assert_eq!((requests.len(), loads.len()), (3, 2));
        for load in loads {
            let request = requests.iter().find(|request| request.span_id == load.parent_span_id).unwrap();
            assert_eq!(request.trace_id, load.trace_id);
            assert_eq!(label(&load.attributes, "cache"), Some("squares"));
        }
    }
}
