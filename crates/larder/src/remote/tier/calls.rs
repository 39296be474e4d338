//! The tier's calls in boxes: compiled here and once, not again in every program that has a cache.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::lease::{self, Lease, Waited};
use super::{Core, Entry, Reply, Tier, read};
use crate::Error;
use crate::remote::{Invalidation, Name};

pub(super) fn get<'a>(core: &'a Core, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Reply>, Error>> {
    read::get(core, names).boxed()
}

pub(super) fn write<'a>(core: &'a Core, name: &'a Name, entry: &'a Entry) -> BoxFuture<'a, Result<(), Error>> {
    core.write(name, entry).boxed()
}

pub(super) fn invalidate<'a>(core: &'a Core, what: &'a [Invalidation]) -> BoxFuture<'a, Result<(), Error>> {
    core.invalidate(what).boxed()
}

pub(super) fn lease<'a>(core: &'a Arc<Core>, name: &'a Name, ttl: Duration) -> BoxFuture<'a, Lease> {
    lease::lease(core, name, ttl).boxed()
}

pub(super) fn wait_for<'a>(
    tier: &'a Tier,
    name: &'a Name,
    age: Option<Duration>,
    up_to: Duration,
) -> BoxFuture<'a, Waited> {
    lease::wait_for(tier, name, age, up_to).boxed()
}
