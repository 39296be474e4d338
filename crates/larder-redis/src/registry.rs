//! Where the dashboards of a service are, in one sorted set a namespace, so that each step is one script on one key: a member is an address, its
//! score the end of its time by the server's clock, in ms. The set goes with the last of them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::remote::Name;
use larder::{Error, Registry};
use redis::{Value, cmd};

use crate::errors::translate;
use crate::store::{RedisStore, millis};

mod scripts {
    use std::sync::LazyLock;

    use larder::registry::{LONGEST_ADDRESS, MOST_ADDRESSES};

    use crate::scripts::{NOW, Script};

    /// Keeps ARGV[1] for ARGV[2] ms, and forgets those whose time has run out. That comes first: a server that is full refuses what takes room
    /// only from scripts that have not written yet, and to delete is allowed to all.
    pub(super) static REGISTER: LazyLock<Script> = LazyLock::new(|| {
        Script::new(format!(
            "{NOW}redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now))
redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[2]), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1"
        ))
    });

    /// The addresses whose time has not run out, those with most of it left first.
    pub(super) static REGISTERED: LazyLock<Script> = LazyLock::new(|| {
        Script::new(format!(
            "{NOW}local found =
    redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. string.format('%d', now), 'LIMIT', 0, {MOST_ADDRESSES})
for at, address in ipairs(found) do found[at] = address:sub(1, {LONGEST_ADDRESS} + 1) end
return found"
        ))
    });
}

impl Registry for RedisStore {
    fn register<'a>(&'a self, name: &'a Name, address: &'a str, ttl: Duration) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            // Also while other writes pause: a full server takes this one.
            let ttl = millis(ttl);
            match self.script(&scripts::REGISTER, name, vec![address.as_bytes(), ttl.as_bytes()]).await? {
                Value::Int(1) => Ok(()),
                _ => Err(self.link().confused()),
            }
        }
        .boxed()
    }

    fn withdraw<'a>(&'a self, name: &'a Name, address: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let mut remove = cmd("ZREM");
            remove.arg(&**name).arg(address);
            match self.link().many(vec![remove]).await?.pop() {
                Some(Ok(Value::Int(0..=1))) => Ok(()),
                Some(Err(error)) => Err(translate(error)),
                _ => Err(self.link().confused()),
            }
        }
        .boxed()
    }

    fn registered<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Vec<Bytes>, Error>> {
        async move {
            let answer = self.script(&scripts::REGISTERED, name, Vec::new()).await?;
            let Value::Array(found) = answer else { return Err(self.link().confused()) };
            let bytes = |value| match value {
                Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
                _ => Err(self.link().confused()),
            };
            found.into_iter().map(bytes).collect()
        }
        .boxed()
    }
}
