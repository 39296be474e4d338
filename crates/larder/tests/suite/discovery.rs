//! Dashboards that find each other through a registry that comes, goes, and tells nonsense.
#![cfg(feature = "dashboard")]
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use larder::remote::{Faults, InProcess, names};
use larder::{Cache, Dashboard, DashboardConfig, Discovery, Registry};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);

/// What the page's server reports.
async fn report(page: &Dashboard) -> Value {
    let mut stream = TcpStream::connect(page.address()).await.unwrap();
    stream.write_all(b"GET /report HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The ids of the caches shown, in order.
async fn shown(page: &Dashboard) -> Vec<String> {
    let frame = report(page).await;
    let mut ids: Vec<_> =
        frame["caches"].as_array().unwrap().iter().map(|cache| cache["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// The addresses that are followed, in order.
async fn followed(page: &Dashboard) -> Vec<String> {
    let frame = report(page).await;
    let peers = frame["peers"].as_array().unwrap().iter();
    let mut all: Vec<_> = peers.map(|peer| peer["address"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// An instance of the service, with a link to the registry of its own.
struct Instance {
    /// Which the dashboard does not keep alive.
    _cache: Cache<u64, u64>,
    page: Dashboard,
    link: Arc<InProcess>,
}

impl Instance {
    async fn start(registry: &InProcess) -> Self {
        // Held twice: a clone would be another link.
        let link = Arc::new(registry.clone());
        let cache = Cache::builder().name("users").capacity(10).build().unwrap();
        let mut config = DashboardConfig::default();
        config.discovery = Some(Discovery::new(link.clone(), "users").unwrap().every(LOOK));
        let page = Dashboard::serve(LOOPBACK, config).await.unwrap();
        page.add(&cache).unwrap();
        Self { _cache: cache, page, link }
    }

    /// What its cache is called elsewhere.
    fn id(&self) -> String {
        format!("{}/users", self.page.address())
    }
}

/// A page without a cache of its own.
async fn onlooker(link: Arc<InProcess>, look: Duration) -> Dashboard {
    let mut config = DashboardConfig::default();
    config.discovery = Some(Discovery::new(link, "users").unwrap().every(look).hidden());
    Dashboard::serve(LOOPBACK, config).await.unwrap()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn who_comes_appears_and_who_goes_leaves() {
    let registry = InProcess::new(1 << 20);
    let page = onlooker(Arc::new(registry.clone()), LOOK).await;
    let (one, two) = (Instance::start(&registry).await, Instance::start(&registry).await);
    let both = sorted(vec![one.id(), two.id()]);
    eventually("both are seen", async || shown(&page).await == both).await;
    eventually("each sees the other beside itself", async || {
        shown(&one.page).await == sorted(vec!["users".into(), two.id()])
            && shown(&two.page).await == sorted(vec!["users".into(), one.id()])
    })
    .await;
    let three = Instance::start(&registry).await;
    let all = sorted(vec![one.id(), two.id(), three.id()]);
    eventually("a newcomer is seen", async || shown(&page).await == all).await;
    // Whoever ends well says so: nothing is left once it has.
    let name = names::dashboards("users");
    let gone = two.page.address().to_string();
    two.page.close().await;
    let left = registry.registered(&name).await.unwrap();
    assert!(left.iter().all(|address| address != gone.as_bytes()), "{left:?}");
    eventually("it is followed no more", async || {
        followed(&page).await == sorted(vec![one.page.address().to_string(), three.page.address().to_string()])
    })
    .await;
    // Whoever is cut off from the registry is forgotten there, and followed no more.
    three.link.set_faults(Faults { down: true, ..Faults::default() });
    eventually("silence ends too", async || followed(&page).await == [one.page.address().to_string()]).await;
    three.link.set_faults(Faults::default());
    eventually("it comes back", async || shown(&page).await == sorted(vec![one.id(), three.id()])).await;
}

#[tokio::test]
async fn while_the_registry_fails_those_known_are_followed() {
    let registry = InProcess::new(1 << 20);
    let link = Arc::new(registry.clone());
    link.set_faults(Faults { down: true, ..Faults::default() });
    let page = onlooker(link.clone(), Duration::from_secs(1)).await;
    let one = Instance::start(&registry).await;
    eventually("it is said what is wrong", async || {
        report(&page).await["registry"].as_str().is_some_and(|why| why.contains("down"))
    })
    .await;
    assert_eq!(shown(&page).await, Vec::<String>::new());
    link.set_faults(Faults::default());
    eventually("it is found once the registry answers", async || shown(&page).await == [one.id()]).await;
    assert!(report(&page).await["registry"].is_null());
    // No call is answered: for longer than any registration lasts nothing changes.
    link.set_faults(Faults { hangs: true, ..Faults::default() });
    eventually("silence is said too", async || {
        report(&page).await["registry"].as_str().is_some_and(|why| why.contains("did not answer"))
    })
    .await;
    sleep(LOOK * 10).await;
    // It comes back without anything, and without whoever it was told of: who is known has a while to say so again.
    one.link.set_faults(Faults { down: true, ..Faults::default() });
    registry.restart();
    link.set_faults(Faults::default());
    eventually("it answers", async || report(&page).await["registry"].is_null()).await;
    assert_eq!(followed(&page).await, [one.page.address().to_string()]);
    one.link.set_faults(Faults::default());
    eventually("it is told again", async || registry.registered(&names::dashboards("users")).await.unwrap().len() == 1)
        .await;
    assert_eq!((shown(&page).await, followed(&page).await), (vec![one.id()], vec![one.page.address().to_string()]));
}

#[tokio::test]
async fn what_is_no_address_is_not_followed_and_a_named_instance_stays() {
    let registry = InProcess::new(1 << 20);
    let named = Instance::start(&InProcess::new(1 << 20)).await;
    let mut config = DashboardConfig::default();
    config.peers = vec![named.page.address().to_string()];
    config.discovery = Some(Discovery::new(registry.clone(), "users").unwrap().every(LOOK).hidden());
    let page = Dashboard::serve(LOOPBACK, config).await.unwrap();
    let name = names::dashboards("users");
    let long = "x".repeat(10_000);
    for nonsense in ["http://evil.example/", "evil", "a:1\r\nX: y", "user@evil:80", "0.0.0.0:80", "", long.as_str()] {
        registry.register(&name, nonsense, PATIENCE).await.unwrap();
    }
    // One that is named and registered is followed once.
    registry.register(&name, &named.page.address().to_string(), PATIENCE).await.unwrap();
    let one = Instance::start(&registry).await;
    eventually("what is one is followed", async || shown(&page).await == sorted(vec![named.id(), one.id()])).await;
    assert_eq!(followed(&page).await.len(), 2);
    registry.restart();
    let last = named.page.address().to_string();
    drop(one);
    eventually("the named one stays", async || followed(&page).await == [last.clone()]).await;
    let mut config = DashboardConfig::default();
    config.peers = vec!["http://10.0.0.2:9465/".into()];
    let error = Dashboard::serve(LOOPBACK, config).await.unwrap_err().to_string();
    assert!(error.contains("http://10.0.0.2:9465/") && error.contains("host:port"), "{error}");
}

#[tokio::test]
async fn an_advertised_name_is_registered_and_answered_to() {
    let registry = InProcess::new(1 << 20);
    // The port is not known before it listens.
    let free = std::net::TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let cache: Cache<u64, u64> = Cache::builder().name("users").capacity(10).build().unwrap();
    let advertised = format!("LOCALHOST:{}", free.port());
    let mut config = DashboardConfig::default();
    config.discovery =
        Some(Discovery::new(registry.clone(), "users").unwrap().every(LOOK).advertised(&advertised).unwrap());
    let own = Dashboard::serve(free, config).await.unwrap();
    own.add(&cache).unwrap();
    let page = onlooker(Arc::new(registry.clone()), LOOK).await;
    let id = format!("{}/users", advertised.to_lowercase());
    eventually("it is reached by its name", async || shown(&page).await == [id.clone()]).await;
    assert_eq!(followed(&own).await, Vec::<String>::new(), "nobody follows itself");
}
