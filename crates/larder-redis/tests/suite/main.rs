//! All that needs no process of its own, as one program: each is a build of everything it uses.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod faults;
mod kernel;
mod learned;
mod models;
mod recording;
mod registry;
mod sentinel;
mod steer;
mod steer_cluster;
mod store;
mod stream;
mod tls;
mod two_processes;
