//! A service that runs, and the commands that ask it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The demonstration without an end; killed where a test fails.
struct Service {
    child: Child,
    url: String,
    /// What it says of its second tier.
    second: String,
}

impl Service {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["demo", "--serve", "127.0.0.1:0", "--rate", "2000", "--workers", "8"])
            .env_remove("LARDER_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        // On a busy machine warnings stand before it.
        let mut after = |what: &str| loop {
            let start = said.len();
            assert!(errors.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            if let Some(rest) = said[start..].strip_prefix(what) {
                break rest.trim().to_owned();
            }
        };
        let (url, second) = (after("Dashboard: "), after("Second tier:"));
        // Whoever reads nothing more must not stop it.
        std::thread::spawn(move || errors.read_to_string(&mut String::new()));
        Self { child, url, second }
    }

    /// The socket of its private Redis, if there is one.
    fn redis(&self) -> Option<String> {
        self.second.split_once(" at ").and_then(|(_, rest)| Some(rest.split_once(',')?.0.to_owned()))
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// As Ctrl-C does; what it says in the end.
    fn interrupt(mut self) -> String {
        self.signal("INT");
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success());
        said
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn larder(options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larder")).args(options).env_remove("LARDER_LOG").output().unwrap()
}

fn said(options: &[&str]) -> String {
    let output = larder(options);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_running_service_is_watched_and_asked() {
    let service = Service::start();
    let url = service.url.as_str();

    eventually("two looks see reads", || {
        let lines = said(&["top", url, "--count", "2"]);
        let lines: Vec<_> = lines.lines().collect();
        // A header, and two looks at two caches.
        assert_eq!(lines.len(), 5, "{lines:?}");
        let starts = ["cache ", "larder-1 ", "larder-2 "];
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
        assert!(lines[3].contains("adopted"), "{lines:?}");
        // A dash where the service has not reported anew.
        lines[3].split_whitespace().nth(1).unwrap().parse().is_ok_and(|reads: u64| reads > 0)
    });

    // A key that was asked for a moment ago, by its label and by its text.
    let told: Value =
        serde_json::from_str(&said(&["explain", "--url", url, "--key", "page:nobody", "--json"])).unwrap();
    assert_eq!(told["is_resident"], false);
    let label = told["key"].as_str().unwrap();
    assert!(label.len() == 16 && !told.to_string().contains("nobody"));
    let text = said(&["explain", "--url", url, "--key", "page:nobody", "--cache", "larder-2"]);
    assert!(text.starts_with("key ") && text.contains("Memory does not hold it."), "{text}");
    assert!(text.contains("What adds up to the score") && text.contains("the sum"), "{text}");

    let output = larder(&["explain", "--url", url, "--key", "x", "--cache", "other"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such cache"));
    let end = service.interrupt();
    assert!(end.contains("larder") && end.contains("objective"), "it ends with its table: {end}");
}

#[test]
fn nobody_there_is_said() {
    // A port that the system hands out to nobody.
    let nobody = "127.0.0.1:1";
    for command in [&["top", nobody, "--count", "1"][..], &["explain", "--url", nobody, "--key", "x"]] {
        let output = larder(command);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(nobody), "{errors}");
    }
    let output = larder(&["top", "https://example.org"]);
    assert_eq!(output.status.code(), Some(2));
    for wrong in [
        &["explain", "--key", "x"][..],
        &["explain", "t.csv", "--url", "x", "--key", "x"],
        &["demo", "--serve", "--json"],
    ] {
        assert_eq!(larder(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// What a Redis answers to a command.
fn ask(socket: &str, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_private_redis_is_used_lent_and_gone_with_its_service() {
    for end in ["INT", "TERM", "KILL"] {
        let mut service = Service::start();
        let Some(socket) = service.redis() else {
            let required = std::env::var("LARDER_REQUIRE_TRACES").is_ok_and(|value| value == "1");
            assert!(!required, "LARDER_REQUIRE_TRACES=1, but the second tier is {}", service.second);
            println!("skipped: the second tier is {}", service.second);
            return;
        };
        let settings = ask(&socket, "CONFIG GET maxmemory*").unwrap();
        assert!(settings.contains(&(64 << 20).to_string()) && settings.contains("allkeys-lru"), "{settings}");
        if end == "INT" {
            // Lent to another run, which leaves nothing there for ever, and this one's names alone.
            let url = format!("unix://{socket}");
            eventually("all arms of a run find rows there", || {
                let run = said(&["demo", "--redis", &url, "--json", "--seconds", "1", "--rate", "2000"]);
                let run: Value = serde_json::from_str(&run).unwrap();
                assert_eq!((&run["second_tier"], &run["remote_delay_ms"]), (&"redis".into(), &Value::Null));
                let arms = run["arms"].as_array().unwrap();
                assert!(arms.iter().all(|arm| arm["errors"] == 0), "{run:#}");
                arms.iter().all(|arm| arm["second_tier"]["reads"].as_u64() > Some(0))
            });
            let keys = ask(&socket, "INFO keyspace").unwrap();
            let figure =
                |name: &str| keys.split([',', ':', '\r']).find_map(|part| part.strip_prefix(name)?.parse::<u64>().ok());
            assert!(figure("keys=") > Some(0) && figure("keys=") == figure("expires="), "{keys}");
            // The page's report tells its figures.
            let page = service.url.split_once("/#").unwrap().0.to_owned();
            eventually("the report has figures of the Redis", || {
                report(&page)["caches"][0]["report"]["remote"]["server"]["limit_bytes"] == 64 << 20
            });
        }
        service.signal(end);
        service.child.wait().unwrap();
        eventually(&format!("after {end} it answers no more"), || ask(&socket, "PING").is_err());
    }
}

fn report(page: &str) -> Value {
    let mut stream = std::net::TcpStream::connect(page.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET /report HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
