//! What instances of a service learned goes through a real Redis, and what is damaged there does no harm (I7).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::convert::Infallible;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder::report::SharingReport;
use larder::sharing::testing::conformance;
use larder::{Cache, Control, ModelStore, Sharing};
use larder_redis::{RedisConfig, RedisStore};
use support::proxy::{Proxy, Way};
use support::server::Server;
use support::{RECOVERY, eventually, unhurried};
use tokio::runtime::Handle;

const LOOK: Duration = Duration::from_millis(50);
const KEY: &str = "shared!models";

async fn connected(config: RedisConfig) -> Arc<RedisStore> {
    let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
    eventually("it connects", RECOVERY, async || store.state().connected).await;
    store
}

fn cache(store: Arc<RedisStore>) -> Cache<u64, u64> {
    Cache::builder()
        .name("shared")
        .capacity(200)
        .segments(1)
        .control(Control::none())
        .share_models(store)
        .sharing(Sharing { look: LOOK, publish: LOOK, lease: LOOK * 60 })
        .build()
        .unwrap()
}

async fn work(cache: &Cache<u64, u64>, reads: u32) {
    for _ in 0..reads {
        let key = (1000.0 * fastrand::f64().powi(3)) as u64;
        assert_eq!(cache.get_with(&key, async move || Ok::<_, Infallible>(key + 1)).await.unwrap(), key + 1);
    }
}

fn sharing(cache: &Cache<u64, u64>) -> SharingReport {
    cache.report().sharing.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    need_redis!();
    let server = Server::start(&[]);
    conformance(async || connected(unhurried(&server.url())).await as Arc<dyn ModelStore>).await;
    server.tell::<()>(&["SCRIPT", "FLUSH"]).unwrap();
    conformance(async || connected(unhurried(&server.url())).await as Arc<dyn ModelStore>).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_21_a_model_damaged_in_the_redis_is_refused_and_the_old_one_stays() {
    need_redis!();
    let server = Server::start(&[]);
    let one = cache(connected(unhurried(&server.url())).await);
    work(&one, 20_000).await;
    eventually("it publishes", RECOVERY, async || sharing(&one).published > 0).await;
    drop(one);
    let two = cache(connected(unhurried(&server.url())).await);
    eventually("the other takes it over", RECOVERY, async || sharing(&two).adopted == 1).await;
    let before = sharing(&two);

    let number = before.generation.unwrap();
    let good: Vec<u8> = server.tell(&["HGET", KEY, &format!("bytes:{number}")]).unwrap();
    let damaged = |damage: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        damage(&mut bytes);
        bytes
    };
    let cases: [(&str, Vec<u8>); 5] = [
        ("truncated", damaged(|bytes| bytes.truncate(bytes.len() / 3))),
        ("empty", Vec::new()),
        ("flipped", damaged(|bytes| bytes[5000] ^= 16)),
        // The schema's hash of the model within, with the frame's checksum in order.
        (
            "of another schema",
            damaged(|bytes| {
                bytes[12 + 8] ^= 1;
                let end = bytes.len() - 4;
                let sum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
                bytes[end..].copy_from_slice(&sum);
            }),
        ),
        ("of the future", damaged(|bytes| bytes[7] = b'2')),
    ];
    let mut refused = 0;
    let client = redis::Client::open(server.url()).unwrap();
    for (at, (what, bytes)) in cases.into_iter().enumerate() {
        let number = number + 100 + at as u64;
        redis::cmd("HSET")
            .arg(&[KEY, &format!("bytes:{number}")])
            .arg(bytes)
            .arg(&[format!("at:{number}"), "1".into(), "newest".into(), number.to_string()])
            .exec(&mut client.get_connection().unwrap())
            .unwrap();
        eventually(what, RECOVERY, async || sharing(&two).refused > refused).await;
        refused = sharing(&two).refused;
        work(&two, 100).await;
        let after = sharing(&two);
        assert_eq!((after.generation, &after.fingerprint), (before.generation, &before.fingerprint), "{what}");
    }
    // What somebody else keeps under the name is no model, and no harm either.
    server.tell::<()>(&["SET", KEY, "not a hash"]).unwrap();
    let failed = sharing(&two).failed;
    eventually("a wrong type fails", RECOVERY, async || sharing(&two).failed > failed).await;
    work(&two, 100).await;
    server.tell::<()>(&["DEL", KEY]).unwrap();
    // The hash that went begins anew: the first generation is one that is not known.
    work(&two, 20_000).await;
    eventually("it is published again", RECOVERY, async || sharing(&two).published > 0).await;
    assert!(sharing(&two).generation.unwrap() < number + 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_23_a_publisher_that_loses_its_redis_harms_no_read_and_another_takes_over() {
    need_redis!();
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.address()).await;
    let one = cache(connected(RedisConfig::single(&proxy.url()).unwrap()).await);
    work(&one, 20_000).await;
    eventually("it publishes", RECOVERY, async || sharing(&one).published > 0).await;
    let two = cache(connected(unhurried(&server.url())).await);
    work(&two, 20_000).await;
    assert!(!sharing(&two).leads);
    // It stalls in the middle of things: nothing comes through, nothing is refused.
    proxy.silence_all();
    proxy.set(Way { refuse: true, ..Way::default() });
    eventually("the other publishes", RECOVERY, async || {
        work(&one, 100).await;
        work(&two, 100).await;
        sharing(&two).leads && sharing(&two).published > 0
    })
    .await;
    eventually("the first has noticed", RECOVERY, async || sharing(&one).failed > 0 && !sharing(&one).leads).await;
    proxy.set(Way::default());
    eventually("and takes over what it missed", Duration::from_secs(20), async || sharing(&one).adopted > 0).await;
}

/// A process of its own: one of three instances, or a fresh one.
fn instance(kind: &str, url: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "models::instance_process"]);
    command.env("LARDER_INSTANCE", kind).env("LARDER_REDIS", url).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// The lines an instance printed about itself, once it has ended.
fn told(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().filter_map(|line| line.split_once("told ")).map(|(_, line)| line.to_owned()).collect()
}

/// What an instance does: it serves until what it came for has happened, says so, and ends with its standard input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of another test, which runs it in processes of its own"]
async fn instance_process() {
    let kind = std::env::var("LARDER_INSTANCE").expect("run by another test");
    let cache = cache(connected(unhurried(&std::env::var("LARDER_REDIS").unwrap())).await);
    if kind == "fresh" {
        eventually("it takes over", RECOVERY, async || sharing(&cache).adopted > 0).await;
    } else {
        work(&cache, 20_000).await;
        eventually("it publishes or takes over", RECOVERY, async || {
            let SharingReport { published, adopted, .. } = sharing(&cache);
            published + adopted > 0
        })
        .await;
    }
    let SharingReport { published, adopted, refused, failed, .. } = sharing(&cache);
    let model = cache.explain(&4711).score.unwrap().model;
    println!("told {published} {adopted} {refused} {failed} {model}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_four_processes_one_publishes_and_a_fresh_one_begins_with_it() {
    need_redis!();
    let server = Server::start(&[]);
    let mut three: Vec<Child> = (0..3).map(|_| instance("serving", &server.url())).collect();
    let newest = || server.tell::<Option<u64>>(&["HGET", KEY, "newest"]).unwrap();
    eventually("one publishes", RECOVERY * 2, async || newest().is_some()).await;
    let mut fresh = instance("fresh", &server.url());
    // Each ends once it has said what it came to say.
    three.iter_mut().chain([&mut fresh]).for_each(|child| drop(child.stdin.take()));
    let fresh = told(fresh).concat();
    let told: Vec<String> = three.into_iter().map(|child| told(child).concat()).collect();
    let numbers = |line: &str| line.split(' ').take(4).map(|word| word.parse().unwrap()).collect::<Vec<u64>>();
    let [published, adopted, refused, failed] = numbers(&fresh)[..] else { panic!("{fresh}") };
    assert!(published == 0 && adopted > 0 && refused + failed == 0, "{fresh}");
    assert!(fresh.contains("shared "), "{fresh}");
    let publishers = told.iter().filter(|line| numbers(line)[0] > 0).count();
    assert!(publishers >= 1 && told.iter().all(|line| numbers(line)[2..] == [0, 0]), "{told:?}");
}
