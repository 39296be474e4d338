//! The dashboard over real sockets: what it answers, whom it refuses, what it never says.
#![cfg(feature = "dashboard")]
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::net::SocketAddr;
use std::time::Duration;

use larder::{Cache, Dashboard, DashboardConfig, ErrorKind};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SECRET: &str = "iban:DE02120300000000202051";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One request on a connection of its own.
async fn send(address: SocketAddr, line: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = format!("localhost:{}", address.port());
    let named = headers.iter().any(|(name, _)| *name == "Host");
    let own = (!named).then_some(("Host", host.as_str()));
    let headers: String =
        headers.iter().copied().chain(own).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    stream.write_all(format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path}"), &[]).await
}

/// A cache of 100 that has read 300 keys, one of them a secret, several times.
async fn busy() -> Cache<String, u32> {
    let cache = Cache::builder().name("accounts").capacity(100).seed(1).build().unwrap();
    for round in 0..4u32 {
        for key in 0..300 {
            let key = if key == 7 { SECRET.to_owned() } else { format!("iban:{key}") };
            cache.get_with(&key, move || async move { Ok::<_, std::io::Error>(round) }).await.unwrap();
        }
    }
    cache
}

#[tokio::test]
async fn every_answer_has_the_strict_headers() {
    let cache = busy().await;
    let dashboard = cache.dashboard(LOOPBACK).await.unwrap();
    assert!(dashboard.address().ip().is_loopback());
    let kinds = [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/uplot.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/report", "application/json"),
        ("/hottest", "application/json"),
        ("/explain?key=iban:1", "application/json"),
        ("/decisions", "application/json"),
    ];
    for (path, kind) in kinds {
        let answer = get(dashboard.address(), path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
    }
    for path in kinds.map(|(path, _)| path).into_iter().chain(["/nothing", "/explain"]) {
        let answer = get(dashboard.address(), path).await;
        for header in [
            "content-security-policy: default-src 'self';",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
        ] {
            assert!(answer.head.contains(header), "{path} without {header}: {}", answer.head);
        }
    }
    assert_eq!(get(dashboard.address(), "/nothing").await.status, 404);
    assert_eq!(get(dashboard.address(), "/explain").await.status, 400);
    assert_eq!(get(dashboard.address(), "/hottest?cache=other").await.status, 404);
    // Nothing on the page is inline or from elsewhere.
    let page = get(dashboard.address(), "/").await.body;
    assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains("https://"), "{page}");
}

#[tokio::test]
async fn the_report_is_that_of_the_cache() {
    let cache = busy().await;
    let dashboard = cache.dashboard(LOOPBACK).await.unwrap();
    dashboard.add(&cache).unwrap();
    let frame = get(dashboard.address(), "/report").await.json();
    let caches = frame["caches"].as_array().unwrap();
    assert_eq!(
        caches.iter().map(|cache| cache["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["accounts", "accounts-2"]
    );
    // Read from its text, as the answer is: parsing may move the last bit of a number.
    let text = serde_json::to_value(cache.report()).unwrap().to_string();
    let mut own: Value = serde_json::from_str(&text).unwrap();
    let mut shown = caches[0]["report"].clone();
    for moving in ["at", "uptime"] {
        own[moving] = Value::Null;
        shown[moving] = Value::Null;
    }
    // Counts of control slices may have moved on between the two.
    own["control"] = Value::Null;
    shown["control"] = Value::Null;
    assert_eq!(shown, own);
    assert_eq!(shown["counts"]["misses"].as_u64().unwrap() + shown["counts"]["hits"].as_u64().unwrap(), 1200);
    drop(cache);
}

#[tokio::test]
async fn a_cache_that_is_gone_leaves_the_page() {
    let dashboard = Dashboard::serve(LOOPBACK, DashboardConfig::default()).await.unwrap();
    let (kept, gone) = (busy().await, busy().await);
    dashboard.add(&kept).unwrap();
    dashboard.add(&gone).unwrap();
    drop(gone);
    // Adding one asks them all.
    dashboard.add(&kept).unwrap();
    let frame = get(dashboard.address(), "/report").await.json();
    let ids: Vec<_> = frame["caches"].as_array().unwrap().iter().map(|cache| cache["id"].clone()).collect();
    assert_eq!(ids, ["accounts", "accounts-3"]);
}

#[tokio::test]
async fn actions_ask_for_the_token_and_the_page_itself() {
    let cache = busy().await;
    let dashboard = cache.dashboard(LOOPBACK).await.unwrap();
    let address = dashboard.address();
    let right = format!("Bearer {}", dashboard.token());
    let wrong = format!("Bearer {}", dashboard.token().replace(char::is_numeric, "x"));
    let own = format!("http://localhost:{}", address.port());
    let refused: [&[(&str, &str)]; 6] = [
        &[],
        &[("Authorization", "Bearer ")],
        &[("Authorization", &wrong)],
        &[("Authorization", &right), ("Origin", "http://evil.example")],
        &[("Authorization", &right), ("Sec-Fetch-Site", "cross-site")],
        &[("Authorization", &right), ("Host", "evil.example")],
    ];
    for headers in refused {
        let answer = send(address, "POST /roll-back", headers).await;
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(answer.head.contains("nosniff") && !answer.body.contains(dashboard.token()));
    }
    assert_eq!(cache.report().control.unwrap().rollbacks, 0);
    // A link or a form elsewhere cannot act.
    assert_eq!(send(address, "GET /roll-back", &[("Authorization", &right)]).await.status, 405);
    let allowed: &[(&str, &str)] = &[("Authorization", &right), ("Origin", &own), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(send(address, "POST /roll-back?cache=accounts", allowed).await.status, 204);
    let frame = get(address, "/report").await.json();
    assert_eq!(frame["caches"][0]["report"]["control"]["state"], "cooling-down", "{frame:#}");
    assert_eq!(send(address, "POST /resume", allowed).await.status, 204);
    let control = cache.report().control.unwrap();
    assert_eq!((control.state, control.rollbacks), ("adopted", 1));
    assert_eq!(send(address, "POST /resume?cache=other", allowed).await.status, 404);
}

#[tokio::test]
async fn without_a_control_there_is_nothing_to_roll_back() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(10).control(larder::Control::none()).build().unwrap();
    let dashboard = cache.dashboard(LOOPBACK).await.unwrap();
    let right = format!("Bearer {}", dashboard.token());
    let answer = send(dashboard.address(), "POST /roll-back", &[("Authorization", &right)]).await;
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("no control"), "{}", answer.body);
}

#[tokio::test]
async fn other_names_are_refused_unless_they_are_known() {
    let cache = busy().await;
    let mut config = DashboardConfig::default();
    config.hosts = vec!["cache.internal".into()];
    let dashboard = Dashboard::serve(LOOPBACK, config).await.unwrap();
    dashboard.add(&cache).unwrap();
    for (host, status) in [("evil.example", 403), ("cache.internal", 200), ("127.0.0.1", 200)] {
        assert_eq!(send(dashboard.address(), "GET /report", &[("Host", host)]).await.status, status, "{host}");
    }
}

/// The lines of events until `wanted` of a kind have come.
async fn events(address: SocketAddr, wanted: usize) -> (String, Vec<(String, Value)>) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    stream.get_mut().write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let (mut head, mut found, mut kind) = (String::new(), Vec::new(), String::new());
    let mut line = String::new();
    while found.iter().filter(|(kind, _)| kind == "report").count() < wanted {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the stream ended");
        if let Some(name) = line.strip_prefix("event: ") {
            kind = name.trim().to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            found.push((kind.clone(), serde_json::from_str(data).unwrap()));
        } else if found.is_empty() {
            head.push_str(&line.to_lowercase());
        }
    }
    (head, found)
}

#[tokio::test]
async fn events_tell_what_was_and_then_what_is() {
    let cache = busy().await;
    let dashboard = cache.dashboard(LOOPBACK).await.unwrap();
    let (head, found) = events(dashboard.address(), 2).await;
    assert!(head.contains("content-type: text/event-stream") && head.contains("nosniff"), "{head}");
    let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["history", "report", "report"]);
    let point = &found[0].1[0]["caches"][0];
    assert_eq!((&point["id"], point["hits"].as_u64()), (&"accounts".into(), Some(cache.stats().counts.hits)));
    let [first, second] = [1, 2].map(|at| found[at].1["at"].as_u64().unwrap());
    assert!(first < second && found[2].1["caches"][0]["report"]["name"] == "accounts");
}

#[tokio::test]
async fn pages_beyond_the_limit_are_refused_until_one_closes() {
    let cache = busy().await;
    let mut config = DashboardConfig::default();
    config.viewers = 1;
    let dashboard = Dashboard::serve(LOOPBACK, config).await.unwrap();
    dashboard.add(&cache).unwrap();
    let mut first = TcpStream::connect(dashboard.address()).await.unwrap();
    first.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut some = [0; 64];
    assert!(first.read(&mut some).await.unwrap() > 0);
    let refused = get(dashboard.address(), "/events").await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("too many pages"), "{}", refused.body);
    // The report is no stream, and goes on.
    assert_eq!(get(dashboard.address(), "/report").await.status, 200);
}

#[tokio::test]
async fn it_ends_when_it_is_closed() {
    let cache = busy().await;
    let dashboard = cache.dashboard(LOOPBACK).await.unwrap();
    let address = dashboard.address();
    let mut viewer = TcpStream::connect(address).await.unwrap();
    viewer.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut some = [0; 64];
    assert!(viewer.read(&mut some).await.unwrap() > 0);
    dashboard.close().await;
    let mut rest = Vec::new();
    viewer.read_to_end(&mut rest).await.unwrap();
    // The child of another test may have the socket until it becomes another program.
    let ended = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The port is free, and the cache serves on.
        loop {
            match cache.dashboard(address).await {
                Ok(again) => return again,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the port is free").close().await;
    assert_eq!(cache.get("iban:1").await.is_some(), cache.local("iban:1").is_some());
}

#[tokio::test]
async fn other_machines_are_let_in_only_on_purpose() {
    let everywhere = SocketAddr::new([0, 0, 0, 0].into(), 0);
    let cache = busy().await;
    let error = cache.dashboard(everywhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("is_public"), "{error}");
    let mut config = DashboardConfig::default();
    config.is_public = true;
    let dashboard = Dashboard::serve(everywhere, config).await.unwrap();
    dashboard.add(&cache).unwrap();
    let port = dashboard.address().port();
    assert_eq!(get(SocketAddr::new([127, 0, 0, 1].into(), port), "/report").await.status, 200);
    let taken = cache.dashboard(SocketAddr::new([127, 0, 0, 1].into(), port)).await.unwrap_err();
    assert!(taken.to_string().contains("can listen"), "{taken}");
}

#[tokio::test]
async fn no_key_is_told_in_clear() {
    let cache = busy().await;
    let dashboard = cache.dashboard(LOOPBACK).await.unwrap();
    let told = get(dashboard.address(), &format!("/explain?key={SECRET}")).await;
    assert_eq!(told.json()["key"].as_str().unwrap().len(), 16);
    for path in ["/report", "/hottest?n=200", "/decisions"] {
        let answer = get(dashboard.address(), path).await;
        assert!(answer.body.len() > 100 && !answer.body.contains("DE0212") && !answer.body.contains("iban"), "{path}");
    }
    assert!(!told.body.contains("DE0212") && !told.body.contains("iban"), "{}", told.body);
    let (_, found) = events(dashboard.address(), 1).await;
    assert!(found.iter().all(|(_, data)| !data.to_string().contains("iban")));
    // The label leads back to the key, here alone.
    let label = told.json()["key"].as_str().unwrap().to_owned();
    let again = get(dashboard.address(), &format!("/explain?key={label}")).await.json();
    assert_eq!(again["key"], label.as_str());
    let other = busy().await;
    let elsewhere: Cache<String, u32> = Cache::builder().capacity(100).build().unwrap();
    assert_eq!(other.explain(SECRET).key.to_string(), label, "the same seed");
    assert_ne!(elsewhere.explain(SECRET).key.to_string(), label, "another process");
}

#[tokio::test]
async fn other_instances_are_shown_and_asked() {
    let ours = busy().await;
    let theirs: Cache<String, u32> = Cache::builder().name("accounts").capacity(100).build().unwrap();
    for key in ["only there", "a", "b", "c"] {
        theirs.insert(key.into(), 1).await.unwrap();
    }
    let other = theirs.dashboard(LOOPBACK).await.unwrap();
    let mut config = DashboardConfig::default();
    // Bound, and nobody listens.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind(LOOPBACK).unwrap();
    let nobody = silent.local_addr().unwrap();
    config.peers = vec![other.address().to_string(), nobody.to_string()];
    let dashboard = Dashboard::serve(LOOPBACK, config).await.unwrap();
    dashboard.add(&ours).unwrap();
    let id = format!("{}/accounts", other.address());
    let frame = loop {
        let frame = get(dashboard.address(), "/report").await.json();
        if frame["caches"].as_array().unwrap().len() == 2 {
            break frame;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&frame["caches"][0]["id"], &frame["caches"][1]["id"]), (&"accounts".into(), &id.clone().into()));
    let entries = theirs.stats().entries;
    assert_eq!(frame["caches"][1]["report"]["entries"], entries);
    let peers = frame["peers"].as_array().unwrap();
    assert!(peers[0]["error"].is_null() && peers[1]["error"].is_string(), "{peers:?}");
    // Whoever follows us gets ours alone.
    let own = get(dashboard.address(), "/report?own=true").await.json();
    assert_eq!(own["caches"].as_array().unwrap().len(), 1);
    let told = get(dashboard.address(), &format!("/explain?cache={id}&key=only%20there")).await.json();
    assert_eq!(told["is_resident"], true);
    assert_eq!(get(dashboard.address(), "/explain?key=only%20there").await.json()["is_resident"], false);
    assert_eq!(get(dashboard.address(), &format!("/hottest?cache={id}&n=3")).await.json().as_array().unwrap().len(), 3);
    let right = format!("Bearer {}", dashboard.token());
    let refused = send(dashboard.address(), &format!("POST /roll-back?cache={id}"), &[("Authorization", &right)]).await;
    assert_eq!(refused.status, 409);
    drop(other);
    let gone = get(dashboard.address(), &format!("/decisions?cache={}/accounts", nobody)).await;
    assert_eq!(gone.status, 502, "{}", gone.body);
}
