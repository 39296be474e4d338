//! What steering hears of peers and servers, for bytes from anywhere.

use bytes::Bytes;
use larder::remote::Name;
use larder_policy::Time;

use super::Steering;
use super::peers::{Event, Hello, Kind, served};
use super::pilot::Pilot;
use crate::{ServerInfo, SteeringState};

/// What a peer says each second.
pub fn hello(id: u64, used: u64) -> Vec<u8> {
    let serves = ["users", "other"].map(|namespace| served(0, namespace)).into();
    Hello { id, used, keys: used / 1_000, steers: true, knows_all: true, node: None, serves }.encode()
}

/// What a peer says of hits on these names.
pub fn hits(names: &[Name]) -> Vec<u8> {
    let mut message = Vec::new();
    for name in names {
        Event { kind: Kind::Hit, weight: 100, ttl: None, name: name.clone() }.encode(&mut message);
    }
    message
}

/// A process that steers a server which says `info`, reads `value` under `name`, and then hears `messages`, a second each.
///
/// # Panics
/// When it breaks a rule of its own.
pub fn steer<'a>(
    steering: &Steering,
    info: &ServerInfo,
    name: &Name,
    value: &Bytes,
    messages: impl Iterator<Item = &'a [u8]>,
) -> SteeringState {
    let mut pilot = Pilot::new(steering.clone(), 1, 0);
    pilot.read(info, Time(0));
    pilot.seen(name, Some(value), Time(0));
    for (message, second) in messages.zip(1..) {
        let now = Time(second * 1_000_000);
        match Hello::decode(message) {
            Some(hello) => pilot.greeted(hello, now),
            None => Event::decode(message).for_each(|event| pilot.told(&event, now)),
        }
        pilot.read(info, now);
    }
    let victims = pilot.take_evicted().len() as u64;
    let state = pilot.state();
    assert!(victims <= state.evicted, "{victims} victims of {state:?}");
    state
}
