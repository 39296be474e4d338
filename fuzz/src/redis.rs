//! What a Redis says, and other processes by way of it.

use std::sync::LazyLock;

use bytes::Bytes;
use larder::registry::LONGEST_ADDRESS;
use larder::remote::Invalidation;
use larder_redis::{Steering, fuzzing};

use crate::Decoder;

const INFO: &str = "# Memory\r\nused_memory:1000000\r\nmaxmemory:2000000\r\nmem_not_counted_for_evict:50\r\n\
    maxmemory_policy:allkeys-lfu\r\n# Stats\r\nevicted_keys:3\r\nexpired_keys:4\r\nconnected_clients:5\r\n\
    # Replication\r\nconnected_slaves:1\r\nslave0:ip=127.0.0.1,port=1,state=online,offset=90,lag=0\r\n\
    master_repl_offset:100\r\n# Keyspace\r\ndb0:keys=7,expires=1,avg_ttl=0\r\ndb12:keys=5,expires=0,avg_ttl=0\r\n";
/// Who we are on the channel.
const US: u64 = 7;

static LRU: LazyLock<Steering> = LazyLock::new(|| {
    let mut steering = Steering::default().policy("lru").expect("a policy");
    // Without a scan it steers as soon as it knows as many keys as the server has.
    steering.scan = 0;
    steering
});

pub(crate) fn decoders() -> Vec<Decoder> {
    let announced = [
        Invalidation::Key("users:1".into()),
        Invalidation::Tag("users!tag:vip".into()),
        Invalidation::Clear("users!all".into()),
    ];
    let announced = announced.iter().filter_map(|what| fuzzing::announce(8, what));
    let names = ["users:1".into(), "users:2".into(), "other:1".into()];
    vec![
        Decoder::new("redis-info", |bytes| _ = fuzzing::server_info(&String::from_utf8_lossy(bytes))).sample(INFO),
        announced.fold(Decoder::new("announcement", announcement), Decoder::sample),
        Decoder::new("registered", registered)
            .sample("10.0.0.2:9465\n[fd00::2]:80\nCache-2.internal:65535")
            .sample("10.0.0.1:9465\nhttp://evil.example:80/\nuser@host:80\n0.0.0.0:1"),
        // Directory, sketch and guard take what they take, whatever is said.
        Decoder::new("steering", steering)
            .sample(steering_of(&[fuzzing::hits(&names), fuzzing::hello(9, 1_000)]))
            .sample(steering_of(&[fuzzing::hello(9, 1_000), fuzzing::hello(10, 5), fuzzing::hits(&names[..1])]))
            .sample(steering_of(&[fuzzing::hello(9, u64::MAX), fuzzing::hello(10, u64::MAX)]))
            .allocates(4 << 20, 1024),
    ]
}

fn announcement(bytes: &[u8]) {
    match fuzzing::announcement(US, bytes) {
        Some(Invalidation::Lost) => {}
        Some(what) => {
            let again = fuzzing::announce(8, &what).expect("what was heard can be said");
            assert_eq!(fuzzing::announcement(US, &again), Some(what));
        }
        // Our own, or a sign that the channel carries.
        None => assert!(bytes.len() >= 9 && (bytes[1..9] == US.to_le_bytes() || bytes.len() == 9 && bytes[0] == b'S')),
    }
}

/// What a registry tells, one a line: whom that makes us follow has a host and a port, is not ourselves, and is there once.
fn registered(bytes: &[u8]) {
    const OWN: &str = "10.0.0.1:9465";
    let found: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    let chosen = larder::fuzzing::registered(&found, OWN);
    assert!(chosen.len() <= 64 && chosen.is_sorted_by(|one, next| one < next));
    for address in chosen {
        let (host, port) = address.rsplit_once(':').expect("a port");
        assert!(address != OWN && address.len() <= LONGEST_ADDRESS && port.parse::<u16>().is_ok_and(|port| port > 0));
        assert!(!host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.[:]".contains(&byte)));
        assert_eq!(larder::fuzzing::registered(&[address.as_bytes()], OWN), [address.as_str()], "it means itself");
    }
}

/// `INFO`, a value, and messages, each behind its length.
fn steering_of(messages: &[Vec<u8>]) -> Vec<u8> {
    let parts = [INFO.as_bytes(), b"\xA7ldr\x01\0 a value"].into_iter().chain(messages.iter().map(Vec::as_slice));
    parts.flat_map(|part| [&(part.len() as u16).to_le_bytes()[..], part].concat()).collect()
}

fn steering(bytes: &[u8]) {
    let mut rest = bytes;
    let mut parts = std::iter::from_fn(|| {
        let (length, body) = rest.split_first_chunk()?;
        let (part, next) = body.split_at(usize::from(u16::from_le_bytes(*length)).min(body.len()));
        rest = next;
        Some(part)
    });
    let info = fuzzing::server_info(&String::from_utf8_lossy(parts.next().unwrap_or_default()));
    let value = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    // Each costs a reading of the server's memory.
    let state = fuzzing::steer(&LRU, &info, &"users:0".into(), &value, parts.take(16));
    assert!(state.processes >= 1 && state.keys <= 1 + bytes.len());
}
