//! What has to happen in one step on the server. Each script touches one key, so that it runs in a cluster; `EVICT` is given more on
//! a single server alone.

use std::sync::LazyLock;

use larder::remote::envelope::{AS_OF, FENCE, FORMATS, HAS_VERSION, KIND, Kind, MAGIC, VERSION};
use redis::{Cmd, cmd};

/// A script, sent by its hash; by its text to a server that does not know it.
pub(crate) struct Script {
    text: String,
    hash: String,
}

/// The server's time in ms, as `now`, at the beginning of a script.
pub(crate) const NOW: &str = "local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
";

/// Keeps ARGV[1] for ARGV[2] ms, unless what is kept is an envelope with another fence, or of a newer version.
pub(crate) static PUT: LazyLock<Script> = LazyLock::new(|| {
    let (from, to) = (FENCE.start + 1, FENCE.end);
    keep(&format!("kept:sub({from}, {to}) ~= new:sub({from}, {to}) or is_older()"))
});

/// Keeps ARGV[1] for ARGV[2] ms, unless what is kept is an envelope of a newer version.
pub(crate) static WRITE: LazyLock<Script> = LazyLock::new(|| keep("is_older()"));

/// Keeps the mark ARGV[1] for ARGV[2] ms, unless what is kept is a later mark.
pub(crate) static MARK: LazyLock<Script> = LazyLock::new(|| keep("is_earlier()"));

/// Keeps ARGV[1] for ARGV[2] ms, unless an envelope is kept of which `refuses` holds. Versions and times are compared byte by byte: as numbers Lua would
/// round them, and texts it compares as the server's language does.
fn keep(refuses: &str) -> Script {
    let magic = quoted(&MAGIC);
    // Lua counts from 1 and includes the end.
    let (fence_end, from, to) = (FENCE.end, VERSION.start + 1, VERSION.end);
    let (as_of, as_of_end) = (AS_OF.start + 1, AS_OF.end);
    let (oldest, newest) = FORMATS.into_inner();
    Script::new(format!(
        "local new, kept = ARGV[1], redis.pcall('GETRANGE', KEYS[1], 0, {to} - 1)
local function is_mark(head)
    local format = head:byte({length} + 1)
    if #head < {as_of_end} or format < {oldest} or format > {newest} then return nil end
    return head:byte({KIND} + 1) % 4 == {mark}
end
local function has_version(head)
    return #head >= {to} and is_mark(head) == false and math.floor(head:byte({KIND} + 1) / {HAS_VERSION}) % 2 == 1
end
local function is_less(from, to)
    for at = to, from, -1 do
        if new:byte(at) ~= kept:byte(at) then return new:byte(at) < kept:byte(at) end
    end
    return false
end
local function is_older() return has_version(new) and has_version(kept) and is_less({from}, {to}) end
local function is_earlier() return is_mark(new) and is_mark(kept) and is_less({as_of}, {as_of_end}) end
if type(kept) == 'string' and #kept >= {fence_end} and kept:sub(1, {length}) == '{magic}' and new:sub(1, {length}) == '{magic}'
    and ({refuses}) then return 0 end
redis.call('SET', KEYS[1], new, 'PX', ARGV[2])
return 1",
        length = MAGIC.len(),
        mark = Kind::Invalidated as u8,
    ))
}

/// Takes out those of the keys that hold a value of ours, and says how many: what somebody else keeps under a name, and marks of
/// invalidations, stay.
pub(crate) static EVICT: LazyLock<Script> = LazyLock::new(|| {
    let (magic, length) = (quoted(&MAGIC), MAGIC.len());
    let (oldest, newest) = FORMATS.into_inner();
    Script::new(format!(
        "local gone = 0
for _, key in ipairs(KEYS) do
    local head = redis.pcall('GETRANGE', key, 0, {KIND})
    if type(head) == 'string' and #head > {KIND} and head:sub(1, {length}) == '{magic}' and head:byte({KIND} + 1) % 4 ~= {mark}
        and head:byte({length} + 1) >= {oldest} and head:byte({length} + 1) <= {newest} then
        gone = gone + redis.call('UNLINK', key)
    end
end
return gone",
        mark = Kind::Invalidated as u8,
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

/// Adds to a stream those of a log's writes that are beyond its last entry, which names the log and the last write added. ARGV is the
/// log, the most entries (0 for no limit), whether replicas are waited for, and for each write its sequence, its name, whether it has
/// a value, and that. Answers 1 if the stream is another log's. `XSETID` changes nothing, but `WAIT` waits for no less than a write.
pub(crate) static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local log, most, has = ARGV[1], tonumber(ARGV[2]), -1
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then last = info[at + 1] end
    end
    local whose, sequence = last:match('(%d+)-(%d+)')
    if tonumber(whose) > tonumber(log) then return 1 end
    if whose == log then has = tonumber(sequence) end
end
local added = false
for at = 4, #ARGV, 4 do
    if tonumber(ARGV[at]) > has then
        local add = {'XADD', KEYS[1]}
        if most > 0 then
            for _, word in ipairs({'MAXLEN', '~', ARGV[2]}) do add[#add + 1] = word end
        end
        for _, word in ipairs({log .. '-' .. ARGV[at], 'name', ARGV[at + 1]}) do add[#add + 1] = word end
        if ARGV[at + 2] == '1' then
            add[#add + 1] = 'value'
            add[#add + 1] = ARGV[at + 3]
        end
        redis.call(unpack(add))
        added = true
    end
end
if not added and ARGV[3] ~= '0' then redis.call('XSETID', KEYS[1], log .. '-' .. string.format('%.0f', has)) end
return 0"
            .to_owned(),
    )
});

impl Script {
    pub(crate) fn new(text: String) -> Self {
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }
}

/// Bytes within quotes, as Lua reads them.
fn quoted(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03}")).collect()
}

/// A script and what it is given.
pub(crate) struct Call<'a> {
    pub(crate) script: &'static Script,
    pub(crate) keys: Vec<&'a str>,
    pub(crate) args: Vec<&'a [u8]>,
}

impl Call<'_> {
    /// The call by hash.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.invoke("EVALSHA", &self.script.hash)
    }

    /// The call by text, from which the server learns the script.
    pub(crate) fn by_text(&self) -> Cmd {
        self.invoke("EVAL", &self.script.text)
    }

    fn invoke(&self, command: &str, script: &str) -> Cmd {
        let mut cmd = cmd(command);
        cmd.arg(script).arg(self.keys.len()).arg(&self.keys);
        for arg in &self.args {
            cmd.arg(*arg);
        }
        cmd
    }
}
