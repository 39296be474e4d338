//! Traffic that fills a Redis.

use std::time::Duration;

use larder::Error;
use larder::remote::envelope::{Envelope, Fence, Form, Kind};
use larder::remote::{Item, Name, RemoteStore, names};
use larder_redis::{RedisStore, Steering};

use super::server::Server;

const SIZE: usize = 2_000;
/// Longer than any test takes.
pub const HOUR: Duration = Duration::from_secs(3600);

pub fn quick() -> Steering {
    let mut steering = Steering::default();
    steering.every = Duration::from_millis(20);
    steering
}

pub fn name(key: u64) -> Name {
    names::key("test", &key.to_string())
}

fn envelope(name: &str, fence: Fence) -> Envelope {
    let mut envelope = Envelope::invalidated(1, fence);
    // Noise, so that nothing makes it small.
    envelope.payload = std::iter::repeat_with(|| fastrand::u8(..)).take(SIZE).collect::<Vec<_>>().into();
    envelope.kind = Kind::Value;
    assert!(Envelope::decode(name, &Form::default(), envelope.encode(name, &Form::default()).unwrap()).is_ok());
    envelope
}

pub fn item(name: &Name) -> Item {
    let bytes = envelope(name, Fence(0)).encode(name, &Form::default()).unwrap();
    Item { name: name.clone(), bytes, ttl: HOUR }
}

/// Reads a key, loads it if need be; whether it was there.
pub async fn try_read(store: &RedisStore, key: u64) -> Result<bool, Error> {
    let name = name(key);
    if store.get(std::slice::from_ref(&name)).await?[0].is_some() {
        return Ok(true);
    }
    store.put(&[item(&name)]).await?;
    Ok(false)
}

pub async fn read(store: &RedisStore, key: u64) -> bool {
    try_read(store, key).await.unwrap()
}

/// New keys and a few old ones.
pub async fn traffic(store: &RedisStore, keys: std::ops::Range<u64>) {
    for key in keys {
        read(store, key).await;
        read(store, key % 10).await;
    }
}

/// How many keys the server has evicted by itself.
pub fn evicted(server: &Server) -> u64 {
    let info: String = server.tell(&["INFO", "stats"]).unwrap();
    info.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap().trim().parse().unwrap()
}

/// How many keys of ours the server has.
pub fn ours(server: &Server) -> usize {
    server.tell::<Vec<String>>(&["KEYS", "test:[0-9]*"]).unwrap().len()
}
