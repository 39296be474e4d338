//! The dashboard and the alerts, against a real scrape of the demonstration and a real Prometheus.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

mod everything;
#[path = "../../larder-redis/tests/support/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "the servers of another crate's tests")]
mod server;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use server::free_port;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program is here. Where the tests are required to run, its absence is a failure.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let required = std::env::var("LARDER_REQUIRE_TRACES").is_ok_and(|value| value == "1");
    assert!(found || !required, "LARDER_REQUIRE_TRACES=1, but there is no {program}");
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards")
}

/// What a server on the loopback interface says, once it says something.
fn scrape(port: u16) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(body) = fetch(port).filter(|body| !body.is_empty()) {
            return body;
        }
        assert!(Instant::now() < until, "nobody answers at port {port}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn fetch(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

/// Expressions of every panel, as Grafana would send them, each with its panel's title.
fn expressions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(dashboards().join("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    panels
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap();
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty() && panel["description"].is_string(), "{title}");
            targets.iter().map(move |target| {
                let expression = target["expr"].as_str().unwrap();
                (title.to_owned(), expression.replace("$cache", ".*").replace("$__rate_interval", "10s"))
            })
        })
        .collect()
}

/// The metrics that an expression or a rule names.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':');
    words.filter(|word| word.starts_with("larder_")).map(str::to_owned).collect()
}

fn is_scraped(metric: &str, scrape: &str) -> bool {
    scrape.lines().any(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])))
}

fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .current_dir(dashboards())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn each_alert_fires_and_stays_silent() {
    let rules = std::fs::read_to_string(dashboards().join("alerts.yml")).unwrap();
    let cases = std::fs::read_to_string(dashboards().join("alerts_test.yml")).unwrap();
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        for case in ["fires", "stays silent"] {
            assert!(cases.contains(&format!("- name: {alert} {case}\n")), "there is no case in which {alert} {case}");
        }
    }
    let catalogues = larder::metrics::CATALOGUE.iter().chain(larder_redis::metrics::CATALOGUE);
    let known: BTreeSet<_> = catalogues.map(|metric| metric.name).collect();
    for metric in metrics_in(&rules) {
        assert!(
            known.contains(metric.trim_end_matches("_bucket")),
            "no alert can use {metric}: there is no such metric"
        );
    }
    if !installed("promtool") {
        return;
    }
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let (is_good, text) = promtool(&arguments, "");
        assert!(is_good, "{arguments:?}\n{text}");
    }
}

#[test]
fn every_panel_has_data() {
    let demo_port = free_port();
    let _demo = Running::start(Command::new(env!("CARGO_BIN_EXE_larder")).args([
        "demo",
        "--seconds",
        "3600",
        "--rate",
        "1500",
        "--workers",
        "16",
        "--metrics",
        &format!("127.0.0.1:{demo_port}"),
    ]));
    // Its second tier is a Redis then.
    let has_redis = installed("redis-server");
    let folder = tempfile::tempdir().unwrap();
    let service_port = free_port();
    let service = everything::serve(([127, 0, 0, 1], service_port).into(), &folder.path().join("log"));
    let expressions: Vec<_> =
        expressions().into_iter().filter(|(_, text)| has_redis || !text.contains("larder_redis_")).collect();
    assert!(expressions.len() > 30);
    let mut wanted: BTreeSet<_> = expressions.iter().flat_map(|(_, text)| metrics_in(text)).collect();
    // Both capacities are in entries.
    wanted.retain(|metric| !["larder_capacity_bytes", "larder_weight_bytes"].contains(&metric.as_str()));
    let until = Instant::now() + PATIENCE;
    let text = loop {
        // Each has its part of the series, and headers of its own.
        let text = [scrape(demo_port), scrape(service_port)];
        let missing: Vec<_> =
            wanted.iter().filter(|metric| !text.iter().any(|text| is_scraped(metric, text))).collect();
        if missing.is_empty() {
            break text;
        }
        service.check();
        assert!(Instant::now() < until, "never scraped: {missing:?}");
        std::thread::sleep(Duration::from_millis(500));
    };

    if !(installed("promtool") && installed("prometheus")) {
        return;
    }
    for text in &text {
        let (is_good, complaints) = promtool(&["check", "metrics"], text);
        assert!(is_good && complaints.is_empty(), "promtool check metrics:\n{complaints}");
    }

    let prometheus_port = free_port();
    let config = folder.path().join("prometheus.yml");
    let rules = dashboards().canonicalize().unwrap().join("alerts.yml");
    let settings = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n  - job_name: larder\n    \
         static_configs: [{{targets: ['127.0.0.1:{demo_port}', '127.0.0.1:{service_port}']}}]\n",
        rules.display()
    );
    std::fs::write(&config, settings).unwrap();
    let _prometheus = Running::start(Command::new("prometheus").current_dir(folder.path()).args([
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{prometheus_port}"),
    ]));
    let server = format!("http://127.0.0.1:{prometheus_port}");
    let until = Instant::now() + PATIENCE;
    let mut waiting = expressions;
    while !waiting.is_empty() {
        service.check();
        assert!(Instant::now() < until, "no data for {waiting:#?}");
        std::thread::sleep(Duration::from_secs(1));
        waiting.retain(|(_, expression)| !has_data(&server, expression));
    }
}

/// Whether an expression has a value that is a number.
fn has_data(server: &str, expression: &str) -> bool {
    let (is_good, text) = promtool(&["query", "instant", server, expression], "");
    // Refused by the parser: no patience helps.
    assert!(is_good || !text.contains("bad_data"), "{expression}\n{text}");
    let value = |line: &str| line.rsplit_once("=> ")?.1.split(' ').next()?.parse::<f64>().ok();
    is_good && text.lines().filter_map(value).any(f64::is_finite)
}
