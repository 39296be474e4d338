//! How long an entry may stay.

use std::time::Duration;

use crate::{Access, Reuse};

/// Chooses an entry's lifetime when it is stored.
pub trait Ttl: Send {
    /// The lifetime, or `None` for no limit. `given` is what the origin or the caller asked for.
    fn ttl(&mut self, access: &Access, reuse: Reuse, given: Option<Duration>) -> Option<Duration>;
}

/// The lifetime the origin or the caller gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given;

impl Ttl for Given {
    fn ttl(&mut self, _: &Access, _: Reuse, given: Option<Duration>) -> Option<Duration> {
        given
    }
}

/// One lifetime for every entry.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Duration);

impl Ttl for Fixed {
    fn ttl(&mut self, _: &Access, _: Reuse, _: Option<Duration>) -> Option<Duration> {
        Some(self.0)
    }
}
