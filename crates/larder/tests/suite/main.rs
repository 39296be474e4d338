//! All that needs no process of its own, as one program: each is a build of everything it uses.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod behind;
mod behind_kill;
mod changed_at;
mod consistency;
mod dashboard;
mod discovery;
mod ends;
mod events;
mod explain;
mod faults;
mod inspected;
mod nested;
mod numbers;
mod outages;
mod overlaps;
mod panics;
mod patterns;
mod recorded;
mod recorder;
mod refreshes;
mod removals;
mod runtimes;
mod shared_lifetimes;
mod sharing;
mod snapshot;
mod told;
mod wall_clock;
mod warm;
mod writes;
