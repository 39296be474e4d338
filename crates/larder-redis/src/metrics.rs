//! How the link and the server are, as metrics of the `metrics` facade:
//! [`RedisConfig::metrics`](crate::RedisConfig::metrics) asks for them.

use std::sync::Arc;
use std::time::Duration;

use larder::metrics::{Kind, Metric, describe_all};
use metrics::{Unit, counter, gauge};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Publish;
use crate::info::{ServerInfo, server_info};
use crate::link::{Link, LinkState};

/// Asked more often, a server has better things to do.
const LEAST: Duration = Duration::from_millis(100);

/// Every metric of a Redis. All carry the label `redis`, its name.
pub const CATALOGUE: &[Metric] = &[
    Metric::gauge("larder_redis_connected", Unit::Count, "1 while there is a connection."),
    Metric::gauge("larder_redis_listening", Unit::Count, "1 while announcements of other processes are heard."),
    Metric::gauge("larder_redis_writes_paused", Unit::Count, "1 while the server takes no writes."),
    Metric::counter("larder_redis_connects_total", &[], "Connections made."),
    Metric::counter(
        "larder_redis_failures_total",
        &[("kind", "`connect`, `login`, `distrusted` an answer to another question, `unanswered`, `channel` was down")],
        "What went wrong on the link.",
    ),
    Metric::gauge("larder_redis_memory_bytes", Unit::Bytes, "Memory the server uses."),
    Metric::gauge("larder_redis_memory_limit_bytes", Unit::Bytes, "Memory it may use; 0 for no limit."),
    Metric::counter(
        "larder_redis_evicted_keys_total",
        &[],
        "Keys the server evicted to make room, since it is watched.",
    ),
    Metric::counter("larder_redis_expired_keys_total", &[], "Keys that expired there, since it is watched."),
    Metric::gauge("larder_redis_clients", Unit::Count, "Connections to the server."),
    Metric::gauge("larder_redis_replicas", Unit::Count, "Replicas that are connected."),
    Metric::gauge("larder_redis_replication_lag_bytes", Unit::Bytes, "By how much the slowest replica lags."),
];

/// Publishes for ever, if that was asked for. A cluster has no figures of one server: of those, the link's alone.
pub(crate) async fn publish(link: Arc<Link>) {
    let Some(Publish { name, every }) = link.config.metrics.clone() else { return };
    describe_all(CATALOGUE);
    let mut before: Option<ServerInfo> = None;
    let mut told = LinkState::default();
    let mut shown = Shown { name: &name, server: false };
    let mut ticks = interval(every.max(LEAST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = link.state();
        publish_link(&name, &told, &now);
        told = now;
        let info = server_info(&link, None).await.ok();
        link.set_figures(info.map(Into::into));
        match info {
            Some(now) => {
                publish_server(&name, before.as_ref().unwrap_or(&now), &now);
                before = Some(now);
            }
            None if shown.server => withdraw(&name, |gauge| !LINK.contains(&gauge)),
            None => {}
        }
        shown.server = info.is_some();
    }
}

/// What is told of the link, whether or not a server answers.
const LINK: [&str; 3] = ["larder_redis_connected", "larder_redis_listening", "larder_redis_writes_paused"];

/// Gauges that say something until this is dropped, with the store: those of the link, and of a server that answers.
struct Shown<'a> {
    name: &'a str,
    server: bool,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        withdraw(self.name, |gauge| self.server || LINK.contains(&gauge));
    }
}

/// Nothing can be taken out of a recorder: what is no longer known is no number.
fn withdraw(name: &str, which: impl Fn(&str) -> bool) {
    let gauges = CATALOGUE.iter().filter(|metric| metric.kind == Kind::Gauge && which(metric.name));
    gauges.for_each(|metric| gauge!(metric.name, "redis" => name.to_owned()).set(f64::NAN));
}

fn publish_link(name: &str, before: &LinkState, now: &LinkState) {
    let set = |metric: &'static str, is: bool| gauge!(metric, "redis" => name.to_owned()).set(f64::from(u8::from(is)));
    set("larder_redis_connected", now.connected);
    set("larder_redis_listening", now.listening);
    set("larder_redis_writes_paused", now.writes_paused);
    counter!("larder_redis_connects_total", "redis" => name.to_owned())
        .increment(now.connects.saturating_sub(before.connects));
    let failed = |kind: &'static str, of: fn(&LinkState) -> u64| {
        let more = of(now).saturating_sub(of(before));
        counter!("larder_redis_failures_total", "redis" => name.to_owned(), "kind" => kind).increment(more);
    };
    failed("connect", |state| state.failed_connects.saturating_sub(state.refused_logins));
    failed("login", |state| state.refused_logins);
    failed("distrusted", |state| state.distrusted);
    failed("unanswered", |state| state.unanswered);
    failed("channel", |state| state.losses);
}

fn publish_server(name: &str, before: &ServerInfo, now: &ServerInfo) {
    let set = |metric: &'static str, number: u64| gauge!(metric, "redis" => name.to_owned()).set(number as f64);
    set("larder_redis_memory_bytes", now.used_memory);
    set("larder_redis_memory_limit_bytes", now.maxmemory);
    set("larder_redis_clients", now.connected_clients);
    set("larder_redis_replicas", now.connected_replicas);
    set("larder_redis_replication_lag_bytes", now.replication_lag);
    let count = |metric: &'static str, of: fn(&ServerInfo) -> u64| {
        // A server that started again counts from zero.
        let more = of(now).checked_sub(of(before)).unwrap_or_else(|| of(now));
        counter!(metric, "redis" => name.to_owned()).increment(more);
    };
    count("larder_redis_evicted_keys_total", |info| info.evicted_keys);
    count("larder_redis_expired_keys_total", |info| info.expired_keys);
}
