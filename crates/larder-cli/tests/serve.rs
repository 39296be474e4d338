//! `larder serve` beside real instances, each a process, that come and go, and a real Redis where they register.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

#[path = "../../larder-redis/tests/support/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "the servers of another crate's tests")]
mod server;

mod support {
    pub(crate) use crate::server;
}

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Cache, Dashboard, DashboardConfig, Discovery};
use larder_redis::{RedisConfig, RedisStore};
use serde_json::Value;
use server::Server;

const PASSWORD: &str = "hunter2";
/// How often instances renew what they registered, which lasts for five times as long: longer than a busy machine lets one wait.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed where a test fails.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Starts it, and waits until it says where its dashboard is.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told: Box<dyn Read + Send> = match command.get_program() == env!("CARGO_BIN_EXE_larder") {
            true => Box::new(child.stderr.take().unwrap()),
            false => Box::new(child.stdout.take().unwrap()),
        };
        let mut told = BufReader::new(told);
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            assert!(told.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            if let Some((_, address)) = said[start..].split_once("Dashboard: http://") {
                break address.trim().trim_end_matches('/').to_owned();
            }
        };
        // Whoever reads nothing more must not stop it.
        std::thread::spawn(move || told.read_to_string(&mut String::new()));
        Self { child, address }
    }

    fn page(words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("serve").args(words).args(["--listen", "127.0.0.1:0"]).env_remove("LARDER_LOG");
        Self::start(command)
    }

    /// An instance of the service, which registers in the Redis.
    fn instance(redis: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "instance_process"]).env("LARDER_REDIS", redis);
        Self::start(command)
    }

    fn id(&self) -> String {
        format!("{}/users", self.address)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// What its dashboard reports.
    fn report(&self) -> Value {
        let (status, body) = self.ask("GET /report");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn ask(&self, what: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{what} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn shown(&self) -> Vec<String> {
        sorted(self.report()["caches"].as_array().unwrap().iter().map(|cache| text(&cache["id"])).collect())
    }

    fn followed(&self) -> Vec<String> {
        sorted(self.report()["peers"].as_array().unwrap().iter().map(|peer| text(&peer["address"])).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What an instance does: it serves a cache and its dashboard until its standard input ends, then ends well.
#[test]
#[ignore = "a part of another test, which runs it in processes of its own"]
fn instance_process() {
    let url = std::env::var("LARDER_REDIS").expect("run by another test");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(RedisStore::new(RedisConfig::single(&url).unwrap(), runtime.handle()).unwrap());
        let cache: Cache<String, u64> = Cache::builder().name("users").capacity(100).build().unwrap();
        cache.insert("mine".into(), 1).await.unwrap();
        let mut config = DashboardConfig::default();
        config.discovery = Some(Discovery::new(store, "users").unwrap().every(LOOK));
        let page = Dashboard::serve(([127, 0, 0, 1], 0).into(), config).await.unwrap();
        page.add(&cache).unwrap();
        println!("Dashboard: http://{}/", page.address());
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
        page.close().await;
    });
}

#[test]
fn instances_that_register_in_a_redis_come_and_go() {
    need_redis!();
    let server = Server::start(&["--requirepass", PASSWORD]);
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", server.port);
    let page = Process::page(&[&url, "--namespace", "users"]);
    assert_eq!(page.shown(), Vec::<String>::new());
    let (killed, mut ended) = (Process::instance(&url), Process::instance(&url));
    eventually("both are seen", || page.shown() == sorted(vec![killed.id(), ended.id()]));
    eventually("each follows the other", || {
        killed.followed() == [ended.address.clone()] && ended.followed() == [killed.address.clone()]
    });
    // What is asked about a key is asked of the instance; actions stay with it.
    eventually("it explains", || {
        let (status, told) = page.ask(&format!("GET /explain?cache={}&key=mine", killed.id()));
        status == 200 && told.contains(r#""is_resident":true"#)
    });
    let (status, why) = page.ask(&format!("POST /roll-back?cache={}", killed.id()));
    assert_eq!(status, 403, "{why}");

    let joining = Process::instance(&url);
    eventually("a newcomer is seen", || page.shown().contains(&joining.id()));
    killed.signal("KILL");
    let left = sorted(vec![ended.address.clone(), joining.address.clone()]);
    eventually("who is killed is forgotten", || page.followed() == left);
    eventually("those left are seen", || page.shown() == sorted(vec![ended.id(), joining.id()]));
    eventually("by the other instances too", || ended.followed() == [joining.address.clone()]);
    // Its standard input ends, and it says where it was no longer.
    drop(ended.child.stdin.take());
    assert!(ended.child.wait().unwrap().success());
    eventually("who ends leaves", || page.followed() == [joining.address.clone()]);

    // A Redis that hangs for longer than any registration lasts takes nobody away.
    server.freeze();
    eventually("it is said", || page.report()["registry"].is_string());
    std::thread::sleep(LOOK * 6);
    assert_eq!(page.followed(), [joining.address.as_str()]);
    eventually("it is still seen", || page.shown() == [joining.id()]);
    server.thaw();
    eventually("it is looked up again", || page.report()["registry"].is_null());
    assert_eq!(page.followed(), [joining.address.as_str()]);
    eventually("it is seen again", || page.shown() == [joining.id()]);

    // A page that is told of addresses, and the same in a terminal.
    let listed = Process::page(&[&format!("http://{}/#token=ab", joining.address), "127.0.0.1:1"]);
    eventually("it is followed by its address", || listed.shown() == [joining.id()]);
    eventually("the other is not reached", || {
        let report = listed.report();
        let mut peers = report["peers"].as_array().unwrap().iter();
        peers.any(|peer| peer["address"] == "127.0.0.1:1" && peer["error"].is_string())
    });
    eventually("a terminal tells the same", || {
        let top = larder(&["top", &page.address, "--count", "1"]);
        String::from_utf8_lossy(&top.stdout).contains(&joining.id())
    });
    let mut page = page;
    page.signal("INT");
    assert!(page.child.wait().unwrap().success(), "Ctrl-C is a good end");
}

#[test]
fn instances_are_looked_up_at_the_master_that_sentinels_name() {
    need_redis!();
    let master = Server::start(&["--requirepass", PASSWORD]);
    let mut sentinel = Server::planned(&[]);
    let file = sentinel.dir.path().join("sentinel.conf");
    let lines = format!("sentinel monitor main 127.0.0.1 {} 1\nsentinel auth-pass main {PASSWORD}\n", master.port);
    std::fs::write(&file, lines).unwrap();
    sentinel.run_as_sentinel(&file);
    let instance = Process::instance(&format!("redis://:{PASSWORD}@127.0.0.1:{}", master.port));
    let words = [&sentinel.url(), "--master", &format!(":{PASSWORD}@main"), "--namespace", "users"];
    let page = Process::page(&words);
    eventually("it is seen", || page.shown() == [instance.id()]);
    let (code, errors) = refused(&["serve", &sentinel.url(), "--master", "other", "--namespace", "users"]);
    assert!(code == 1 && errors.contains("no instances can be looked up at 127.0.0.1"), "{code}, {errors}");
}

fn larder(options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larder")).args(options).env_remove("LARDER_LOG").output().unwrap()
}

/// The exit status and the message.
fn refused(options: &[&str]) -> (i32, String) {
    let output = larder(options);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_served_is_said() {
    // At a port that the system hands out to nobody.
    let nobody = format!("redis://ann:{PASSWORD}@127.0.0.1:1");
    for (options, status, part) in [
        (&["serve"][..], 2, "INSTANCE"),
        (&["serve", &nobody], 2, "--namespace NAME is missing"),
        (&["serve", "10.0.0.2:9465", "--namespace", "users"], 2, "none is named"),
        (&["serve", &nobody, "--namespace", "a:b"], 2, "'a:b' is no namespace"),
        (&["serve", &nobody, "--master", "", "--namespace", "users"], 2, "as the sentinels call it"),
        (&["serve", &nobody, "--master", "main"], 2, "--namespace"),
        (&["serve", "https://10.0.0.2:9465"], 2, "speaks http, not https"),
        (&["serve", "10.0.0.2"], 2, "host:port"),
        (&["serve", "10.0.0.2:9465", "--listen", "192.0.2.1:9466"], 2, "can listen on 192.0.2.1:9466"),
        (&["serve", &nobody, "--namespace", "users"], 1, "no instances can be looked up at 127.0.0.1"),
    ] {
        let (code, errors) = refused(options);
        assert!(code == status && errors.contains(part), "{options:?}: {code}, {errors}");
        assert!(!errors.contains(PASSWORD), "{errors}");
    }
    let (_, errors) = refused(&["serve", &nobody, "--namespace", "users"]);
    assert!(errors.to_lowercase().contains("refused"), "it says why: {errors}");
}
