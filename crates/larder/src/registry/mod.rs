//! Where the instances of a service say how their dashboards are reached, so that one page shows them all.
//!
//! A [`Registry`] keeps addresses for as long as they are renewed; `larder-redis` has one, and [`InProcess`](crate::remote::InProcess)
//! is one for tests. A dashboard that is given one registers itself and follows the others (`larder::Discovery`).

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Error;
use crate::remote::Name;

/// The most addresses a registry tells of a name.
pub const MOST_ADDRESSES: usize = 256;
/// The longest address, in bytes: a host name of 255, a colon, and a port.
pub const LONGEST_ADDRESS: usize = 261;

/// Addresses under a name, each for a time. An error means that the registry could not be reached or did not answer properly. Calls may be
/// dropped at any moment.
pub trait Registry: Send + Sync + 'static {
    /// Keeps `address` under `name` for `ttl` from now, by the registry's clock. To be called again before that has passed.
    fn register<'a>(&'a self, name: &'a Name, address: &'a str, ttl: Duration) -> BoxFuture<'a, Result<(), Error>>;

    /// Forgets `address`, if it is there.
    fn withdraw<'a>(&'a self, name: &'a Name, address: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// What is kept under `name` and has not run out, as it was written, by whomever: at most [`MOST_ADDRESSES`], in no order; of what is too
    /// long, the first [`LONGEST_ADDRESS`] bytes and one more.
    fn registered<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Vec<Bytes>, Error>>;
}

/// A registry that is also held elsewhere: the store that is the second tier too.
impl<R: Registry + ?Sized> Registry for Arc<R> {
    fn register<'a>(&'a self, name: &'a Name, address: &'a str, ttl: Duration) -> BoxFuture<'a, Result<(), Error>> {
        (**self).register(name, address, ttl)
    }

    fn withdraw<'a>(&'a self, name: &'a Name, address: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        (**self).withdraw(name, address)
    }

    fn registered<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Vec<Bytes>, Error>> {
        (**self).registered(name)
    }
}
