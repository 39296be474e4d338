//! What instances of a service learned, in one hash a namespace, so that each step is one script on one key: `holder` and `until` say who
//! may publish, `newest` is the last generation's number, `bytes:N` and `at:N` are a generation and its time. Times are the server's, in ms.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::Error;
use larder::remote::Name;
use larder::sharing::{GENERATIONS, Generation, MOST_BYTES, ModelStore};
use redis::Value;

use crate::scripts::Script;
use crate::store::{RedisStore, millis};

/// A service that publishes nothing for so long is gone: 30 days.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

mod scripts {
    use std::sync::LazyLock;

    use super::{GENERATIONS, MOST_BYTES, Script};
    use crate::scripts::NOW;

    /// The generations there are, newest first, as number, age and bytes, unless ARGV[1] is the newest.
    pub(super) static FETCH: LazyLock<Script> = LazyLock::new(|| {
        Script::new(format!(
            "{NOW}local found = {{}}
local newest = tonumber(redis.call('HGET', KEYS[1], 'newest') or 0)
if newest == tonumber(ARGV[1]) then return found end
for number = newest, math.max(newest - {GENERATIONS} + 1, 1), -1 do
    local kept = redis.call('HMGET', KEYS[1], 'at:' .. number, 'bytes:' .. number)
    if kept[1] and kept[2] then
        found[#found + 1] = {{number, now - tonumber(kept[1]), kept[2]:sub(1, {MOST_BYTES} + 1)}}
    end
end
return found"
        ))
    });

    /// ARGV[1] may publish for ARGV[2] ms, unless another may; the hash is kept for ARGV[3] ms.
    pub(super) static LEAD: LazyLock<Script> = LazyLock::new(|| {
        Script::new(format!(
            "{NOW}local kept = redis.call('HMGET', KEYS[1], 'holder', 'until')
if kept[1] and kept[1] ~= ARGV[1] and tonumber(kept[2] or 0) > now then return 0 end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', string.format('%d', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1"
        ))
    });

    /// Keeps ARGV[2] as the next generation if ARGV[1] may publish, and says which it is; 0 if not.
    pub(super) static PUBLISH: LazyLock<Script> = LazyLock::new(|| {
        Script::new(format!(
            "{NOW}local kept = redis.call('HMGET', KEYS[1], 'holder', 'until')
if kept[1] ~= ARGV[1] or tonumber(kept[2] or 0) <= now then return 0 end
local number = redis.call('HINCRBY', KEYS[1], 'newest', 1)
redis.call('HSET', KEYS[1], 'bytes:' .. number, ARGV[2], 'at:' .. number, string.format('%d', now))
local gone = number - {GENERATIONS}
redis.call('HDEL', KEYS[1], 'bytes:' .. gone, 'at:' .. gone)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return number"
        ))
    });
}

impl ModelStore for RedisStore {
    fn fetch<'a>(&'a self, name: &'a Name, known: u64) -> BoxFuture<'a, Result<Vec<Generation>, Error>> {
        async move {
            let answer = self.script(&scripts::FETCH, name, vec![known.to_string().as_bytes()]).await?;
            let Value::Array(found) = answer else { return Err(self.link().confused()) };
            found.into_iter().map(|found| generation(found).ok_or_else(|| self.link().confused())).collect()
        }
        .boxed()
    }

    fn lead<'a>(&'a self, name: &'a Name, publisher: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            self.link().check_writes()?;
            let (publisher, ttl, kept) = (publisher.to_string(), millis(ttl), millis(KEPT.max(ttl)));
            let args = vec![publisher.as_bytes(), ttl.as_bytes(), kept.as_bytes()];
            match self.script(&scripts::LEAD, name, args).await? {
                Value::Int(answer @ 0..=1) => Ok(answer == 1),
                _ => Err(self.link().confused()),
            }
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        name: &'a Name,
        publisher: u64,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        async move {
            self.link().check_writes()?;
            let (publisher, kept) = (publisher.to_string(), millis(KEPT));
            let args = vec![publisher.as_bytes(), &bytes[..], kept.as_bytes()];
            match self.script(&scripts::PUBLISH, name, args).await? {
                Value::Int(number) => Ok(u64::try_from(number).ok().filter(|&number| number > 0)),
                _ => Err(self.link().confused()),
            }
        }
        .boxed()
    }
}

/// Number, age and bytes of one.
fn generation(found: Value) -> Option<Generation> {
    let Value::Array(parts) = found else { return None };
    let [Value::Int(number), Value::Int(age), Value::BulkString(bytes)] = <[Value; 3]>::try_from(parts).ok()? else {
        return None;
    };
    // A server whose clock went back says that something comes from the future: it is new.
    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
    Some(Generation { number: u64::try_from(number).ok()?, age, bytes: bytes.into() })
}
