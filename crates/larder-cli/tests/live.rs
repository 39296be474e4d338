//! A service that runs, and the commands that ask it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The demonstration without an end; killed where a test fails.
struct Service {
    child: Child,
    url: String,
    /// The socket of its private Redis, if there is one.
    redis: Option<String>,
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
        let mut first = String::new();
        errors.read_line(&mut first).unwrap();
        let url = first.strip_prefix("Dashboard: ").unwrap_or_else(|| panic!("{first}")).trim().to_owned();
        let second = errors.by_ref().lines().map(Result::unwrap).find(|line| line.starts_with("Second tier:")).unwrap();
        let redis = second.split_once(" at ").and_then(|(_, rest)| Some(rest.split_once(',')?.0.to_owned()));
        // Whoever reads nothing more must not stop it.
        std::thread::spawn(move || errors.read_to_string(&mut String::new()));
        Self { child, url, redis }
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

    let lines = said(&["top", url, "--count", "2"]);
    let lines: Vec<_> = lines.lines().collect();
    // A header, and two looks at two caches.
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[0].starts_with("cache ") && lines[1].starts_with("larder-1 ") && lines[2].starts_with("larder-2 "));
    let reads: u64 = lines[3].split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(reads > 0 && lines[3].contains("adopted"), "{lines:?}");

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
    // Nothing listens on the port of a socket that is gone.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for command in [&["top", free.as_str()][..], &["explain", "--url", free.as_str(), "--key", "x"]] {
        let output = larder(command);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(&free), "{errors}");
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
        let Some(socket) = service.redis.clone() else {
            let required = std::env::var("LARDER_REQUIRE_TRACES").is_ok_and(|value| value == "1");
            assert!(!required, "LARDER_REQUIRE_TRACES=1, but there is no redis-server");
            println!("skipped: redis-server is not installed");
            return;
        };
        let settings = ask(&socket, "CONFIG GET maxmemory*").unwrap();
        assert!(settings.contains(&(64 << 20).to_string()) && settings.contains("allkeys-lru"), "{settings}");
        if end == "INT" {
            // Lent to another run, which leaves nothing there for ever, and this one's names alone.
            let url = format!("unix://{socket}");
            let run = said(&["demo", "--redis", &url, "--json", "--seconds", "1", "--rate", "2000"]);
            let run: Value = serde_json::from_str(&run).unwrap();
            assert_eq!((&run["second_tier"], &run["remote_delay_ms"]), (&"redis".into(), &Value::Null));
            for arm in run["arms"].as_array().unwrap() {
                assert!(arm["second_tier"]["reads"].as_u64() > Some(0) && arm["errors"] == 0, "{arm:#}");
            }
            let keys = ask(&socket, "INFO keyspace").unwrap();
            let figure =
                |name: &str| keys.split([',', ':', '\r']).find_map(|part| part.strip_prefix(name)?.parse::<u64>().ok());
            assert!(figure("keys=") > Some(0) && figure("keys=") == figure("expires="), "{keys}");
            // The page's report tells its figures.
            let page = service.url.split_once("/#").unwrap().0.to_owned();
            let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while report(&page)["caches"][0]["report"]["remote"]["server"]["limit_bytes"] != 64 << 20 {
                assert!(std::time::Instant::now() < until, "the report has no figures of the Redis");
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
        service.signal(end);
        service.child.wait().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while ask(&socket, "PING").is_ok() {
            assert!(std::time::Instant::now() < until, "after {end} it still answers");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn report(page: &str) -> Value {
    let mut stream = std::net::TcpStream::connect(page.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET /report HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
