//! What people and their browsers write: settings, descriptions, requests.

use larder::{Config, Label};
use larder_policy::eviction::REGISTRY;
use larder_policy::{Capacity, PolicySpec};
use larder_redis::RedisConfig;

use crate::{Decoder, text};

pub(crate) fn decoders() -> Vec<Decoder> {
    let policies = REGISTRY.iter().filter(|policy| !policy.needs_oracle).map(|policy| policy.name);
    let policies = policies.chain(["s3fifo:small=0.2+tinylfu", "learned:rate=0.1"]);
    let frame = r#"{"caches":[{"id":"prices","report":{"hits":1,"arms":[0.5,null]}},{"id":"","report":null}]}"#;
    vec![
        Decoder::new("config", config)
            .sample(include_str!("../../larder.toml"))
            .sample("[cache]\ncapacity = \"64MiB\"\nrefresh = \"early:1\"\n[cache.freshness]\nobjective = 0.01\nmax_ttl = \"6h\"\n")
            .sample("[cache.freshness.prefixes.\"price:\"]\nttl = \"5s\"\n[cache.remote.breaker]\nin_a_row = 3\n")
            .allocates(1 << 20, 1024),
        policies.fold(Decoder::new("policy", policy), Decoder::sample).allocates(16 << 20, 1024),
        Decoder::new("peer-frame", |bytes| _ = larder::fuzzing::peer_frame(bytes)).sample(frame).allocates(64 << 10, 256),
        Decoder::new("request", request)
            .sample("localhost:9465")
            .sample("[::1]:9465")
            .sample("127.0.0.1")
            .sample("00ff00ff00ff00ff"),
        Decoder::new("redis-url", redis_url)
            .sample("redis://ann:secret@localhost:7000/2?protocol=resp3")
            .sample("unix:///run/redis.sock?db=1&user=ann&pass=secret"),
    ]
}

fn config(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match Config::from_toml(text, "cache") {
        Ok(config) => assert!(config.rules.check().is_ok(), "{config:?}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A policy that is accepted can be built, for few objects in little memory.
fn policy(bytes: &[u8]) {
    let Some(spec) = text(bytes).and_then(|text| text.parse::<PolicySpec>().ok()) else { return };
    if !spec.eviction().needs_oracle {
        drop(spec.build(Capacity::objects(100), 1));
    }
}

/// What a browser sends to a dashboard: the name it is called by, and a key's label.
fn request(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    larder::fuzzing::host(text);
    if let Ok(label) = text.parse::<Label>() {
        assert_eq!(label.to_string(), text.to_lowercase());
    }
}

fn redis_url(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(error) = RedisConfig::single(text) {
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
