//! What has to happen in one step on the server. Each script touches one key, so that it runs in a cluster.

use std::sync::LazyLock;

use larder::remote::envelope::{FENCE, MAGIC};
use redis::{Cmd, cmd};

/// A script, sent by its hash; by its text to a server that does not know it.
pub(crate) struct Script {
    text: String,
    hash: String,
}

/// Keeps ARGV[1] for ARGV[2] ms, unless what is kept is an envelope with another fence.
pub(crate) static PUT: LazyLock<Script> = LazyLock::new(|| {
    let magic: String = MAGIC.iter().map(|byte| format!("\\{byte:03}")).collect();
    // Lua counts from 1 and includes the end.
    let (from, to) = (FENCE.start + 1, FENCE.end);
    Script::new(format!(
        "local kept = redis.pcall('GETRANGE', KEYS[1], 0, {to} - 1)
if type(kept) == 'string' and #kept == {to} and kept:sub(1, {length}) == '{magic}'
    and kept:sub({from}, {to}) ~= ARGV[1]:sub({from}, {to}) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1",
        length = MAGIC.len(),
    ))
});

/// Takes the lease for ARGV[2] ms with the token ARGV[1], unless another token holds it.
pub(crate) static LEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1"
            .to_owned(),
    )
});

/// Gives the lease back, if the token ARGV[1] holds it.
pub(crate) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])"
            .to_owned(),
    )
});

impl Script {
    fn new(text: String) -> Self {
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// The call by hash.
    pub(crate) fn call(&self, key: &str, args: &[&[u8]]) -> Cmd {
        invoke("EVALSHA", &self.hash, key, args)
    }

    /// The call by text, from which the server learns the script.
    pub(crate) fn text(&self, key: &str, args: &[&[u8]]) -> Cmd {
        invoke("EVAL", &self.text, key, args)
    }
}

fn invoke(command: &str, script: &str, key: &str, args: &[&[u8]]) -> Cmd {
    let mut cmd = cmd(command);
    cmd.arg(script).arg(1).arg(key);
    for arg in args {
        cmd.arg(*arg);
    }
    cmd
}
