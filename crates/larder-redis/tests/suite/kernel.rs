//! Rows 3, 4 and 5 by the kernel itself: packets it loses, a link it makes thin, a connection whose packets it swallows. Each test runs
//! itself again in a network namespace of its own, where nobody else's packets are; where the machine allows none it is skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::support;

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder::{Cache, codec};
use larder_redis::{RedisConfig, RedisStore};
use support::server::{Server, is_required};
use support::{RECOVERY, Service, entry, eventually, name};
use tokio::runtime::Handle;
use tokio::time::sleep;

const KEYS: u32 = 100;
/// Set where a test runs in its namespace.
const WITHIN: &str = "LARDER_TEST_NAMESPACE";
/// The loopback interface, with packets as on a network: its own are larger than a thin link could ever let through.
const LINK: &str = "ip link set lo mtu 1500 up";

/// A shell's line, and whether it succeeded.
fn shell(line: &str) -> Result<String, String> {
    // Packets are the system's business: its tools are not on everybody's path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    // A user that is root in the namespace alone cannot write where iptables has its lock.
    let lock = std::env::temp_dir().join(format!("larder-xtables-{}.lock", std::process::id()));
    let output =
        Command::new("sh").args(["-ec", line]).env("PATH", path).env("XTABLES_LOCKFILE", lock).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn must(line: &str) -> String {
    shell(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Why there is no namespace to test in, or no way to break things there. Missing tools fail tests that are required; a kernel that does
/// not allow it never does.
fn obstacle() -> Option<String> {
    if let Err(error) = shell("unshare --map-root-user --net true") {
        return Some(format!("no network namespaces here: {error}"));
    }
    for (tool, package) in [("iptables", "iptables"), ("tc", "iproute2")] {
        if shell(&format!("command -v {tool}")).is_err() {
            assert!(!is_required(), "{tool} is missing: install the package {package}");
            return Some(format!("no {tool}"));
        }
    }
    let ways = [
        "iptables -A INPUT -p tcp --dport 1 -m statistic --mode random --probability 0.3 -j DROP",
        "tc qdisc add dev lo root tbf rate 160kbit burst 3000 latency 300ms",
    ];
    let tried = shell(&format!("unshare --map-root-user --net sh -ec '{LINK}; {}'", ways.join("; ")));
    tried.err().map(|error| format!("the kernel does not break things: {error}"))
}

/// Runs the test called `name` in a namespace of its own.
fn in_a_namespace(name: &str, test: impl Future<Output = ()>) {
    if std::env::var_os(WITHIN).is_some() {
        must(LINK);
        return tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(test);
    }
    if !support::server::installed() {
        return;
    }
    if let Some(why) = obstacle() {
        return eprintln!("skipped: {why}");
    }
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("kernel::{name}"), "--nocapture"])
        .env(WITHIN, "1")
        .status();
    assert!(status.unwrap().success(), "it failed in its namespace");
}

/// Lets rules of iptables for packets to and from `port` come into force, until it is dropped.
struct Rules(Vec<String>);

impl Rules {
    fn add(ports: &[u16], what: &str) -> Self {
        let ends = ports.iter().flat_map(|port| [format!("--dport {port}"), format!("--sport {port}")]);
        let rules: Vec<_> = ends.map(|end| format!("INPUT -i lo -p tcp {end} {what} -j DROP")).collect();
        rules.iter().for_each(|rule| drop(must(&format!("iptables -A {rule}"))));
        Self(rules)
    }

    /// How many packets they have swallowed.
    fn swallowed() -> u64 {
        let list = must("iptables -L INPUT -v -x -n");
        let drops = list.lines().filter(|line| line.contains("DROP") && !line.starts_with("Chain"));
        drops.map(|line| line.split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.0.iter().for_each(|rule| drop(must(&format!("iptables -D {rule}"))));
    }
}

#[test]
fn row_03_a_thin_link() {
    in_a_namespace("row_03_a_thin_link", async {
        let server = Server::start(&[]);
        let service = Service::new(&server.url());
        service.warm(KEYS).await;
        service.keep_large_values().await;
        must("tc qdisc add dev lo root tbf rate 160kbit burst 3000 latency 300ms");
        service.large_values_open_the_breaker().await;
        must("tc qdisc del dev lo root");
        service.recovers(KEYS).await;
    });
}

#[test]
fn row_04_a_connection_whose_packets_are_swallowed() {
    in_a_namespace("row_04_a_connection_whose_packets_are_swallowed", async {
        let server = Server::start(&[]);
        let service = Service::new(&server.url());
        service.warm(KEYS).await;
        let connects = service.store.state().connects;
        let clients: String = server.tell(&["CLIENT", "LIST"]).unwrap();
        let ports = clients.split_whitespace().filter_map(|field| field.strip_prefix("addr=127.0.0.1:"));
        // Nobody asks: the supervisor finds out by itself, and a new connection is another one.
        let one = Rules::add(&ports.map(|port| port.parse().unwrap()).collect::<Vec<_>>(), "");
        eventually("it is rebuilt", RECOVERY, async || service.store.state().connects > connects).await;
        service.recovers(KEYS).await;
        assert!(Rules::swallowed() > 0);
        drop(one);

        // Nothing gets through at all, so that nothing can be rebuilt either.
        let all = Rules::add(&[server.port], "");
        eventually("the connection is given up", RECOVERY, async || {
            service.pass(5).await;
            !service.store.state().connected
        })
        .await;
        service.pass(KEYS).await;
        let asked = service.tier.get(&[name("0")]).await;
        assert!(asked.is_err(), "there is nobody to ask");
        drop(all);
        service.recovers(KEYS).await;

        // What a connection took and could not deliver before it was given up does not arrive after what came later.
        let all = Rules::add(&[server.port], "");
        let written = name("written");
        assert!(service.tier.write(&written, &entry("early", 10)).await.is_err());
        eventually("the connection is given up", RECOVERY, async || !service.store.state().connected).await;
        drop(all);
        service.recovers(KEYS).await;
        eventually("it is written", RECOVERY, async || service.tier.write(&written, &entry("late", 10)).await.is_ok())
            .await;
        // Longer than the system waits to try again what was lost so long.
        sleep(Duration::from_secs(8)).await;
        let kept: Vec<u8> = server.tell(&["GET", &written]).unwrap();
        assert!(kept.windows(5).any(|part| part == b"late="), "{}", String::from_utf8_lossy(&kept));
    });
}

#[test]
fn row_05_lost_packets() {
    in_a_namespace("row_05_lost_packets", async {
        let server = Server::start(&[]);
        let service = Service::new(&server.url());
        service.warm(KEYS).await;
        let store = Arc::new(RedisStore::new(RedisConfig::single(&server.url()).unwrap(), &Handle::current()).unwrap());
        let cache: Cache<u64, u64> =
            Cache::builder().name("loss").capacity(1_000).remote(store.clone(), codec::MessagePack).build().unwrap();
        eventually("it is connected", RECOVERY, async || store.state().connected).await;
        let lossy = Rules::add(&[server.port], "-m statistic --mode random --probability 0.3");
        let loads = Arc::new(AtomicU64::new(0));
        for round in 0..150 {
            service.pass(5).await;
            // So that the breaker, once open, tries again and again.
            sleep(Duration::from_millis(20)).await;
            let readers = (0..20).map(|_| {
                let (cache, loads) = (cache.clone(), loads.clone());
                tokio::spawn(async move {
                    let load = move || async move {
                        loads.fetch_add(1, Relaxed);
                        sleep(Duration::from_millis(5)).await;
                        Ok::<_, Infallible>(round)
                    };
                    assert_eq!(cache.get_with(&round, load).await.unwrap(), round);
                })
            });
            for reader in readers.collect::<Vec<_>>() {
                reader.await.unwrap();
            }
        }
        assert_eq!(loads.load(Relaxed), 150, "a load a key (I4)");
        let swallowed = Rules::swallowed();
        println!("{swallowed} packets were lost; {:?}", service.tier.counts());
        assert!(swallowed > 20, "{swallowed} packets were lost");
        drop(lossy);
        service.recovers(KEYS).await;
    });
}
