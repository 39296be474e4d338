//! Instances of one service share what they learned: the model of reuse and what is known of classes of keys.
//!
//! ```text
//! every look:  fetch what is new ─▶ gate ─▶ every segment takes it over, as far as it has not learned better
//!              well? ─▶ lead: one instance at a time ─▶ now and then publish the next generation
//! ```
//!
//! * [`ModelStore`] keeps generations of bytes and says who may publish; `larder-redis` has one, and
//!   [`InProcess`](crate::remote::InProcess) is one for tests.
//! * `bundle` is what is shared, as bytes; its reader is the gate.
//! * `exchange` is the task. No read ever waits for it.

pub(crate) mod bundle;
mod exchange;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::remote::Name;
use crate::{Error, ErrorKind, bounds};

pub(crate) use exchange::{Exchange, run};

/// Generations a store keeps of a name.
pub const GENERATIONS: u64 = 3;
/// Bytes a generation may have.
pub const MOST_BYTES: usize = 1 << 20;

/// A generation of what was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// How long ago it was published, by the store's clock.
    pub age: Duration,
    /// What was published.
    pub bytes: Bytes,
}

/// Where instances of a service keep what they learned. An error means that the store could not be reached or did not answer properly.
/// Calls may be dropped at any moment.
pub trait ModelStore: Send + Sync + 'static {
    /// The generations kept under `name`, newest first, at most [`GENERATIONS`]; none if `known` is the newest. Of one that is too long, the
    /// first [`MOST_BYTES`] and one more.
    fn fetch<'a>(&'a self, name: &'a Name, known: u64) -> BoxFuture<'a, Result<Vec<Generation>, Error>>;

    /// Makes `publisher` the one who may publish under `name` for `ttl` from now, unless somebody else is; whether it is. To be asked again
    /// before that has passed.
    fn lead<'a>(&'a self, name: &'a Name, publisher: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>>;

    /// Keeps `bytes` as the next generation if `publisher` is the one who may publish *at that moment*, in one step: one that lost that right
    /// meanwhile can overwrite nothing, and gets `None`. Otherwise the generation's number.
    fn publish<'a>(&'a self, name: &'a Name, publisher: u64, bytes: Bytes)
    -> BoxFuture<'a, Result<Option<u64>, Error>>;
}

/// A store that is also held elsewhere: the one that is the second tier too.
impl<S: ModelStore + ?Sized> ModelStore for Arc<S> {
    fn fetch<'a>(&'a self, name: &'a Name, known: u64) -> BoxFuture<'a, Result<Vec<Generation>, Error>> {
        (**self).fetch(name, known)
    }

    fn lead<'a>(&'a self, name: &'a Name, publisher: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        (**self).lead(name, publisher, ttl)
    }

    fn publish<'a>(
        &'a self,
        name: &'a Name,
        publisher: u64,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        (**self).publish(name, publisher, bytes)
    }
}

/// When instances look, and publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// How often each looks for what is new, from 1 ms to a day, and whether it may publish; up to a quarter earlier, so that instances do not come in step.
    pub look: Duration,
    /// How often the one that may publish does.
    pub publish: Duration,
    /// For how long it may without asking again, up to a day.
    pub lease: Duration,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { look: Duration::from_secs(30), publish: Duration::from_secs(300), lease: Duration::from_secs(90) }
    }
}

impl Sharing {
    pub(crate) fn check(&self) -> Result<(), Error> {
        bounds::waits("sharing", &[("look", self.look), ("lease", self.lease)])?;
        if self.lease <= self.look {
            let what = "sharing: who publishes asks for the lease again at each look: make the lease longer than the time between looks";
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(())
    }
}
