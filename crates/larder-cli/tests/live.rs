//! A service that runs, and the commands that ask it.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The demonstration without an end; killed where a test fails.
struct Service {
    child: Child,
    url: String,
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
        // Whoever reads nothing more must not stop it.
        std::thread::spawn(move || errors.read_to_string(&mut String::new()));
        Self { child, url }
    }

    /// As Ctrl-C does; what it says in the end.
    fn interrupt(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
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
