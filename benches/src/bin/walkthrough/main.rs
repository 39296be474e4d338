//! A web API over SQLite, measured with and without each tier of a cache: the figures and the text of `docs/walkthrough.md`.
#![forbid(unsafe_code)]

mod client;
mod page;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use larder_benches::server::Server;
use larder_benches::workload::number_keys;
use larder_benches::{SEED, machine};
use larder_trace::{Options as TraceOptions, Reader, open};
use lexopt::prelude::*;
use tokio::net::TcpListener;

use client::{Answers, Load};
use service::{Database, Service, Tiers};

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin walkthrough [-- OPTIONS]

Starts a shop's API over SQLite and a private redis-server, asks it at a steady rate with and without each tier of a cache, and prints a
Markdown page that walks through it.

  --rate N       requests a second (default 10000)
  --seconds N    how long each is measured (default 20)
  --out FILE     write the page there too
  --help         this text";

/// Products in the shop.
const PRODUCTS: u32 = 10_000;
/// Products kept in memory: a tenth.
const MEMORY: u64 = PRODUCTS as u64 / 10;
/// How popular products are: Zipf's law.
const ALPHA: f64 = 0.9;
const CONNECTIONS: usize = 64;
/// Names changed a second.
const CHANGES: f64 = 20.0;
/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(5);
/// Requests of the trace, sent again and again.
const REQUESTS: usize = 1_000_000;

/// What is set against each other, the least first.
fn ways(redis: &str) -> [(&'static str, Tiers); 4] {
    let redis = Some(redis.to_owned());
    [
        ("no cache", Tiers { memory: None, redis: None }),
        ("Redis alone", Tiers { memory: Some(1), redis: redis.clone() }),
        ("memory alone", Tiers { memory: Some(MEMORY), redis: None }),
        ("memory and Redis", Tiers { memory: Some(MEMORY), redis }),
    ]
}

struct Options {
    rate: f64,
    lasts: Duration,
    out: Option<PathBuf>,
}

/// A way, measured.
struct Row {
    name: &'static str,
    /// Requests at the rate that was asked for.
    steady: Answers,
    /// Products read from the database meanwhile, a second.
    queries: f64,
    /// As many as its connections can ask.
    most: Answers,
}

fn main() -> Result<()> {
    let Some(options) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let load_average = machine::load_average();
    let products = products()?;
    let folder = tempfile::tempdir()?;
    let database = Database::create(&folder.path().join("shop.sqlite"), PRODUCTS)?;
    let mut rows = Vec::new();
    for at in 0..ways("").len() {
        // Each way has a Redis of its own, so that none finds what another left.
        let redis = Server::start(None, &[("maxmemory", "256mb".to_owned()), ("hz", "10".to_owned())])?;
        let (name, tiers) = ways(&redis.url())[at].clone();
        eprintln!("{name}");
        rows.push(measure(name, &tiers, &database, &products, &options)?);
    }
    let page = page::page(&rows, &options, load_average);
    println!("{page}");
    if let Some(out) = &options.out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

/// Warms a service, and asks it as much as it carries, then at the rate.
fn measure(
    name: &'static str,
    tiers: &Tiers,
    database: &Database,
    products: &Arc<[u32]>,
    options: &Options,
) -> Result<Row> {
    let threads = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (service, clients) = (threads()?, tokio::runtime::Builder::new_current_thread().enable_all().build()?);
    let to = service.block_on(serve(database, tiers))?;
    let load = |rate, lasts| Load { connections: CONNECTIONS, rate, lasts, changes: CHANGES };
    clients.block_on(client::run(to, products, load(None, WARM_UP)))?;
    let most = clients.block_on(client::run(to, products, load(None, options.lasts / 4)))?;
    let before = database.queries();
    let steady = clients.block_on(client::run(to, products, load(Some(options.rate), options.lasts)))?;
    let queries = (database.queries() - before) as f64 / steady.took.as_secs_f64();
    Ok(Row { name, steady, queries, most })
}

/// Begins to serve, on a free port.
async fn serve(database: &Database, tiers: &Tiers) -> Result<SocketAddr> {
    let router = Service::new(database.clone(), tiers)?.router();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let to = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(to)
}

/// Who is asked for, as numbers below [`PRODUCTS`].
fn products() -> Result<Arc<[u32]>> {
    let trace = format!("gen:zipf:alpha={ALPHA}/keys={PRODUCTS}/requests={REQUESTS}/seed={SEED}");
    let mut reader = open(&*trace, &TraceOptions::default())?;
    let mut requests = Vec::new();
    while reader.read(&mut requests, 1 << 16)? > 0 {}
    let keys = number_keys(&mut requests);
    ensure!(keys <= PRODUCTS as usize, "{trace} has {keys} keys");
    // They are numbered from 1.
    Ok(requests.iter().map(|request| request.key as u32 - 1).collect())
}

fn parse() -> Result<Option<Options>> {
    let mut options = Options { rate: 10_000.0, lasts: Duration::from_secs(20), out: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rate") => options.rate = parser.value()?.parse()?,
            Long("seconds") => options.lasts = Duration::from_secs(parser.value()?.parse()?),
            Long("out") => options.out = Some(parser.value()?.into()),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(
        options.rate >= 1.0 && options.lasts >= Duration::from_secs(4),
        "ask for a rate of 1 and for 4 s, at least"
    );
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: u32 = 2000;

    fn load(rate: Option<f64>, connections: usize, millis: u64) -> Load {
        Load { connections, rate, lasts: Duration::from_millis(millis), changes: 20.0 }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_way_is_answered_by_its_tiers_alone() {
        let has_redis = std::process::Command::new("redis-server").arg("--version").output().is_ok();
        let required = std::env::var("LARDER_REQUIRE_TRACES").is_ok_and(|value| value == "1");
        assert!(has_redis || !required, "LARDER_REQUIRE_TRACES=1, but there is no redis-server");
        if !has_redis {
            println!("skipped: redis-server is not installed");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // All of them three times over, and between them the same few, which memory keeps.
        let products: Arc<[u32]> = (0..SHOP).flat_map(|product| [product, product % 10]).collect();
        let requests = 3 * products.len() as u64;
        let rate = 6000.0;
        for at in 0..4 {
            let redis = Server::start(None, &[]).unwrap();
            let (name, tiers) = ways(&redis.url())[at].clone();
            let database = Database::create(&folder.path().join(format!("{at}.sqlite")), SHOP).unwrap();
            let to = serve(&database, &tiers).await.unwrap();
            let answers = client::run(to, &products, load(Some(rate), 4, requests * 1000 / rate as u64)).await.unwrap();
            let [memory, remote, origin] = answers.tiers;
            assert_eq!((answers.latencies.len(), memory + remote + origin), (requests, requests), "{name}");
            assert!(origin >= u64::from(SHOP) && database.queries() >= u64::from(SHOP), "{name}");
            let fits = match name {
                "no cache" => origin == requests && database.queries() == requests,
                "Redis alone" => remote > memory,
                "memory alone" => memory > 0 && remote == 0,
                _ => memory > 0 && remote > 0,
            };
            assert!(fits, "{name}: {:?}", answers.tiers);
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_slow_answer_before_is_counted_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ([("x-cache", "Local")], "slow")
        };
        let router = axum::Router::new()
            .route("/products/{id}", axum::routing::get(slow).put(|| async { axum::http::StatusCode::NO_CONTENT }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        // 100 requests are due within half a second; they take two.
        let answers = client::run(to, &Arc::from([1]), load(Some(200.0), 1, 500)).await.unwrap();
        assert_eq!(answers.latencies.len(), 100);
        assert!(answers.latencies.max() > 1_400_000_000, "{}", answers.latencies.max());
    }
}
