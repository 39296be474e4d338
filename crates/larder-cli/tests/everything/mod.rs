//! A service that has what the demonstration has not: arms, lifetimes on trial, shared models, a write-behind log, a recorder.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::behind::{Behind, Options, Sink, Write};
use larder::metrics::CATALOGUE;
use larder::recorder::{self, Recorder};
use larder::remote::InProcess;
use larder::{Cache, Control, Error, Freshness, Guardrails, Sharing, codec};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

struct Database;

impl Sink for Database {
    fn write<'a>(&'a self, _: &'a [Write]) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        Box::pin(async { Ok(()) })
    }
}

/// Runs until it is dropped.
pub(super) struct Service {
    _runtime: Runtime,
    work: JoinHandle<()>,
}

impl Service {
    /// Fails the test where it has ended, which it never does by itself.
    pub(super) fn check(&self) {
        assert!(!self.work.is_finished(), "the service has ended");
    }
}

/// A service that answers scrapes at `at`.
pub(super) fn serve(at: SocketAddr, folder: &Path) -> Service {
    let runtime = Runtime::new().unwrap();
    let inside = runtime.enter();
    let builder = PrometheusBuilder::new().with_http_listener(at).with_recommended_naming(true);
    let histograms = CATALOGUE.iter().filter(|metric| !metric.kind.bounds().is_empty());
    let builder = histograms.fold(builder, |builder, metric| {
        builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &metric.kind.bounds()).unwrap()
    });
    builder.install().unwrap();
    let folder = folder.to_owned();
    let work = runtime.spawn(async move { work(&folder).await });
    drop(inside);
    Service { _runtime: runtime, work }
}

async fn work(folder: &Path) {
    let store = InProcess::new(1 << 20);
    let log = Behind::open(folder, Options::default(), Arc::new(Database)).await.unwrap();
    let recorder = Recorder::create(folder.with_extension("csv"), recorder::Options::default()).unwrap();
    // Whatever a busy machine does to latencies, nothing is rolled back, after which there would be no arms to tell of.
    let wide = Guardrails { hit_ratio: 1.0, origin_loads: 1e3, p99: 1e3, stale: Some(1.0), ..Guardrails::default() };
    // Every value changes with each thousand loads.
    let loads = Arc::new(AtomicU64::new(0));
    let cache: Cache<u64, u64> = Cache::builder()
        .name("everything")
        .capacity(256)
        // Of these eight are the control's: as many as an arm needs.
        .segments(32)
        .freshness(Freshness::stale_reads(0.02).unwrap())
        .digest(|value| *value)
        .control(
            Control::beside("lru")
                .ttl(Duration::from_secs(1))
                .holdout(0.25)
                .with(|settings| settings.guardrails = wide),
        )
        .remote(store.clone(), codec::MessagePack)
        .share_models(store)
        .sharing(Sharing { look: Duration::from_secs(1), publish: Duration::from_secs(2), ..Sharing::default() })
        .write_behind(log)
        .recorder(Arc::new(recorder))
        .loader(move |_| {
            let loads = loads.clone();
            async move { Ok::<_, Infallible>(loads.fetch_add(1, Ordering::Relaxed) / 1000) }
        })
        .seed(1)
        .build()
        .unwrap();
    for round in 0.. {
        for at in 0..200u64 {
            // Low keys are read more often.
            let key = (at * 7919 + round * 104_729) % 1000;
            cache.load(&(key * key / 1000)).await.unwrap();
        }
        cache.put(round % 50, round).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
