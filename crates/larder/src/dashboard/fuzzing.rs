//! What the dashboard reads of its callers and peers, for bytes from anywhere.

use std::net::SocketAddr;

use super::address::Address;
use super::guard::Hosts;
use super::{discovery, peers};

/// How many caches another dashboard reports.
pub fn peer_frame(body: &[u8]) -> Option<usize> {
    peers::read("127.0.0.1:9465", body).ok().map(|shown| shown.len())
}

/// Whom to follow of those a registry tells of, beside `own`.
pub fn registered(found: &[&[u8]], own: &str) -> Vec<String> {
    let own = Address::parse(own).ok();
    discovery::chosen(found.iter().copied(), own.as_ref()).iter().map(ToString::to_string).collect()
}

/// Whether a request for `host` is meant for a page that listens on this machine alone.
pub fn host(host: &str) -> bool {
    Hosts::new(SocketAddr::from(([127, 0, 0, 1], 9465)), Vec::new()).knows(host)
}
