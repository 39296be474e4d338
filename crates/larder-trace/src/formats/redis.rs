//! What `redis-cli monitor` prints: `1339518083.107412 [0 127.0.0.1:60866] "GET" "key"`.
//!
//! Commands that read a key are gets, that change its value sets, that remove it deletes; the whole value under a key
//! is one entry, whatever its type. EXPIRE and its kin write no value and are passed over, like PERSIST and TOUCH, but where the lifetime they give
//! is over: that deletes. All others are passed over.
//!
//! A set's size is that of its arguments; where they change a part of the value, at least what it was. A get's, and that of a set without arguments,
//! is what is known by earlier rows.

use std::ops::Range;

use larder_policy::{Op, Time};

use super::{Format, likely, memcached::hex, whole_lines};
use crate::{
    Carries, Confidence, Request,
    key::{key_number, text},
    lines::{Bad, LineParser, Lines, Rows},
    open::HEAD,
    parse,
    sizes::{Sizes, Told},
};

pub(super) const FORMAT: Format = Format {
    name: "redis-monitor",
    about: "output of `redis-cli monitor`",
    extensions: &["monitor", "log"],
    carries: Carries { costs: false, ..Carries::ALL },
    mapped: false,
    detect: |head| {
        let likely = likely(head, |line| line == b"OK" || front(line).is_some());
        // Nothing else has a time and a bracketed client before quoted words.
        if likely == Confidence::Likely && memchr::memchr(b'[', head).is_some() { Confidence::Certain } else { Confidence::No }
    },
    open: |mut input, options| {
        // Where nothing is set no size is known.
        let sizes = whole_lines(input.head(HEAD)?).any(sets);
        let carries = Carries { sizes, judged: !sizes, ..FORMAT.carries };
        Lines::boxed(input, options, Monitor { carries, text: Vec::new(), words: Vec::new(), sizes: Sizes::default() })
    },
    create: None,
    sample: b"OK\n1339518083.107412 [0 127.0.0.1:60866] \"GET\" \"user:1\"\n\
              1339518083.2 [0 127.0.0.1:60866] \"set\" \"user:1\" \"a \\\"name\\\" \\x00\\n\" \"EX\" \"60\"\n\
              1339518084.0 [0 lua] \"MGET\" \"user:1\" \"user:2\"\n1339518085.0 [0 127.0.0.1:60866] \"PING\"\n\
              1339518086.0 [3 127.0.0.1:60866] \"DEL\" \"user:1\"\n1339518087.0 [0 unix:/run/r.sock] \"EXPIRE\" \"user:2\" \"10\"\n",
};

/// What a command does with its arguments.
#[derive(Clone, Copy)]
enum Action {
    /// Reads, changes a part of, or removes its first argument.
    One(Op),
    /// Counts in its first argument.
    Counts,
    /// The same to all arguments.
    All(Op),
    /// Sets every other argument to the one after it.
    Pairs,
    /// `SET key value [EX s | PX ms | EXAT s | PXAT ms]`.
    Set,
    /// Sets its first argument to its third, with a lifetime in its second.
    Lives(Life),
    /// Gives its first argument the lifetime in its second, which deletes it where that is over.
    Ends(Life),
    /// Removes its first argument and sets its second.
    Rename,
}

/// How a lifetime is given.
#[derive(Clone, Copy)]
enum Life {
    Seconds,
    Millis,
    UntilSeconds,
    UntilMillis,
}

fn action(command: &[u8]) -> Option<Action> {
    let upper = command.to_ascii_uppercase();
    Some(match &*upper {
        b"GET" | b"GETEX" | b"GETRANGE" | b"SUBSTR" | b"STRLEN" | b"GETBIT" | b"BITCOUNT" | b"BITPOS" | b"HGET"
        | b"HMGET" | b"HGETALL" | b"HEXISTS" | b"HKEYS" | b"HVALS" | b"HLEN" | b"HSTRLEN" | b"LRANGE" | b"LINDEX"
        | b"LLEN" | b"SMEMBERS" | b"SISMEMBER" | b"SMISMEMBER" | b"SCARD" | b"SRANDMEMBER" | b"ZRANGE"
        | b"ZRANGEBYSCORE" | b"ZREVRANGE" | b"ZREVRANGEBYSCORE" | b"ZSCORE" | b"ZMSCORE" | b"ZRANK" | b"ZREVRANK"
        | b"ZCARD" | b"ZCOUNT" | b"XRANGE" | b"XREVRANGE" | b"XLEN" => Action::One(Op::Get),
        b"MGET" | b"SUNION" | b"SINTER" | b"SDIFF" | b"PFCOUNT" => Action::All(Op::Get),
        b"APPEND" | b"SETRANGE" | b"SETBIT" | b"HSET" | b"HSETNX" | b"HMSET" | b"HDEL" | b"HINCRBY"
        | b"HINCRBYFLOAT" | b"LPUSH" | b"RPUSH" | b"LPUSHX" | b"RPUSHX" | b"LPOP" | b"RPOP" | b"LSET" | b"LREM"
        | b"LTRIM" | b"LINSERT" | b"SADD" | b"SREM" | b"SPOP" | b"ZADD" | b"ZREM" | b"ZINCRBY" | b"ZPOPMIN"
        | b"ZPOPMAX" | b"ZREMRANGEBYRANK" | b"ZREMRANGEBYSCORE" | b"PFADD" | b"XADD" | b"XDEL" | b"XTRIM" => {
            Action::One(Op::Set)
        }
        b"INCR" | b"INCRBY" | b"INCRBYFLOAT" | b"DECR" | b"DECRBY" => Action::Counts,
        b"SET" | b"SETNX" | b"GETSET" => Action::Set,
        b"MSET" | b"MSETNX" => Action::Pairs,
        b"SETEX" => Action::Lives(Life::Seconds),
        b"PSETEX" => Action::Lives(Life::Millis),
        b"EXPIRE" => Action::Ends(Life::Seconds),
        b"PEXPIRE" => Action::Ends(Life::Millis),
        b"EXPIREAT" => Action::Ends(Life::UntilSeconds),
        b"PEXPIREAT" => Action::Ends(Life::UntilMillis),
        b"RENAME" => Action::Rename,
        b"GETDEL" => Action::One(Op::Delete),
        b"DEL" | b"UNLINK" => Action::All(Op::Delete),
        _ => return None,
    })
}

/// The time, the database and the quoted words.
fn front(line: &[u8]) -> Option<(Time, &[u8], &[u8])> {
    let (time, rest) = parse::split(line, b' ');
    let rest = rest.strip_prefix(b"[")?;
    // An IPv6 address has brackets of its own.
    let end = memchr::memmem::find(rest, b"] ")?;
    let database = parse::split(&rest[..end], b' ').0;
    parse::whole(database)?;
    Some((parse::seconds(time)?, database, &rest[end + 2..]))
}

/// Whether a line's command brings a value.
fn sets(line: &[u8]) -> bool {
    let command = front(line).and_then(|(.., words)| words.strip_prefix(b"\""));
    let action = command.and_then(|words| action(parse::split(words, b'"').0));
    matches!(action, Some(Action::One(Op::Set) | Action::Counts | Action::Pairs | Action::Set | Action::Lives(_)))
}

struct Monitor {
    carries: Carries,
    /// The words of the line at hand, unescaped, end to end.
    text: Vec<u8>,
    words: Vec<Range<usize>>,
    sizes: Sizes,
}

/// Bytes of a number that Redis counts in.
const COUNTER: u64 = 8;

impl LineParser for Monitor {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        if line == b"OK" {
            rows.pass();
            return Ok(());
        }
        let (at, database, words) =
            front(line).ok_or_else(|| Bad::new(0, "expected a time, a client in brackets and a command"))?;
        self.unquote(words).ok_or_else(|| Bad::field(line, words, "words in double quotes"))?;
        let word = |i: usize| self.words.get(i).map(|r| &self.text[r.clone()]);
        let key = |i: usize| word(i).map(|k| in_database(database, k));
        let length = |from: usize| self.words.iter().skip(from).map(Range::len).sum::<usize>() as u64;
        let sizes = &mut self.sizes;
        let mut push = |op, key, told, ttl| {
            let size = if op == Op::Delete { 1 } else { sizes.of(key, told, rows) };
            rows.push(Request { at, key, size, ttl, cost: 0, op });
        };
        let short = || Bad::field(line, words, "a command with its key");

        match word(0).and_then(action) {
            None => rows.pass(),
            Some(Action::One(op)) => {
                let told = if op == Op::Set && word(2).is_some() { Told::Part(length(2)) } else { Told::Nothing };
                push(op, key(1).ok_or_else(short)?, told, 0);
            }
            Some(Action::Counts) => push(Op::Set, key(1).ok_or_else(short)?, Told::Whole(COUNTER), 0),
            Some(Action::All(op)) => {
                key(1).ok_or_else(short)?;
                (1..).map_while(key).for_each(|k| push(op, k, Told::Nothing, 0));
            }
            Some(Action::Pairs) => {
                key(1).zip(word(2)).ok_or_else(short)?;
                for (k, value) in (1..).step_by(2).map_while(|i| Some((key(i)?, word(i + 1)?))) {
                    push(Op::Set, k, Told::Whole(value.len() as u64), 0);
                }
            }
            Some(Action::Set) => {
                let (k, value) = key(1).zip(word(2)).ok_or_else(short)?;
                let given =
                    (3..).map_while(word).zip((4..).map_while(word)).find_map(|(name, v)| Some((given(name)?, v)));
                match given.map(|(life, v)| (life, lifetime(life, v, at))) {
                    None => push(Op::Set, k, Told::Whole(value.len() as u64), 0),
                    // A moment that has passed deletes.
                    Some((Life::UntilSeconds | Life::UntilMillis, Some(0))) => push(Op::Delete, k, Told::Nothing, 0),
                    Some((_, Some(ttl))) if ttl > 0 => push(Op::Set, k, Told::Whole(value.len() as u64), ttl),
                    // Redis refuses these: nothing is set.
                    Some(_) => rows.pass(),
                }
            }
            Some(Action::Lives(life)) => {
                let (k, given) = key(1).zip(word(2)).ok_or_else(short)?;
                // Redis refuses other lifetimes: nothing is set.
                match lifetime(life, given, at).filter(|&ttl| ttl > 0) {
                    Some(ttl) => push(Op::Set, k, Told::Whole(length(3)), ttl),
                    None => rows.pass(),
                }
            }
            Some(Action::Ends(life)) => {
                let (k, given) = key(1).zip(word(2)).ok_or_else(short)?;
                let is_over = match given.strip_prefix(b"-") {
                    Some(past) => parse::whole(past).is_some(),
                    None => lifetime(life, given, at) == Some(0),
                };
                if is_over { push(Op::Delete, k, Told::Nothing, 0) } else { rows.pass() }
            }
            Some(Action::Rename) => {
                let (from, to) = key(1).zip(key(2)).ok_or_else(short)?;
                let told = sizes.take(from);
                let size = sizes.of(to, told, rows);
                rows.push(Request { at, key: from, size: 1, ttl: 0, cost: 0, op: Op::Delete });
                rows.push(Request { at, key: to, size, ttl: 0, cost: 0, op: Op::Set });
            }
        }
        Ok(())
    }

    fn carries(&self) -> Carries {
        self.carries
    }
}

/// The same key in another database is another entry, and none that the first database could have by its name.
fn in_database(database: &[u8], key: &[u8]) -> u64 {
    if database == b"0" { key_number(key) } else { text(&[&text(key).to_le_bytes()[..], database].concat()) }
}

/// How an option of SET gives a lifetime.
fn given(name: &[u8]) -> Option<Life> {
    match &*name.to_ascii_uppercase() {
        b"EX" => Some(Life::Seconds),
        b"PX" => Some(Life::Millis),
        b"EXAT" => Some(Life::UntilSeconds),
        b"PXAT" => Some(Life::UntilMillis),
        _ => None,
    }
}

/// In seconds, rounded up; none where it is no number or negative.
fn lifetime(life: Life, value: &[u8], now: Time) -> Option<u32> {
    let value = parse::whole(value)?;
    let millis = match life {
        Life::Seconds => value.saturating_mul(1000),
        Life::Millis => value,
        Life::UntilSeconds => value.saturating_mul(1000).saturating_sub(now.0 / 1000),
        Life::UntilMillis => value.saturating_sub(now.0 / 1000),
    };
    Some(parse::cap(millis.div_ceil(1000)))
}

impl Monitor {
    /// Splits quoted words, taking Redis's escapes back; none where a quote or an escape is missing its end.
    fn unquote(&mut self, mut rest: &[u8]) -> Option<()> {
        self.text.clear();
        self.words.clear();
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return Some(());
            }
            rest = rest.strip_prefix(b"\"")?;
            let start = self.text.len();
            loop {
                let (byte, tail) = match rest {
                    [b'"', tail @ ..] => {
                        rest = tail;
                        break;
                    }
                    [b'\\', b'x', high, low, tail @ ..] => (hex([*high, *low])?, tail),
                    [b'\\', escaped, tail @ ..] => (control(*escaped), tail),
                    [b'\\'] | [] => return None,
                    [byte, tail @ ..] => (*byte, tail),
                };
                self.text.push(byte);
                rest = tail;
            }
            self.words.push(start..self.text.len());
        }
    }
}

fn control(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        other => other,
    }
}
