//! The few commands that are understood.

use std::time::Duration;

use redis::{Arg, Cmd};

/// Longer lifetimes, added to the time of now, are more than Redis counts.
const MOST_MS: u64 = 1 << 62;

/// A command that says something about keys.
#[derive(Debug, PartialEq)]
pub(super) enum Command<'a> {
    /// `GET`.
    Get(&'a [u8]),
    /// `MGET`.
    GetMany(Vec<&'a [u8]>),
    /// `SET`, `SETEX` or `PSETEX`, with the lifetime the caller gave.
    Set { key: &'a [u8], value: &'a [u8], given: Option<Duration> },
    /// `DEL` or `UNLINK`.
    Delete(Vec<&'a [u8]>),
    /// `WATCH`: what is read until the transaction is what it depends on.
    Watch,
    /// `UNWATCH`, `EXEC` or `DISCARD`.
    Unwatch,
}

impl Command<'_> {
    pub(super) fn keys(&self) -> &[&[u8]] {
        match self {
            Self::GetMany(keys) | Self::Delete(keys) => keys,
            Self::Get(key) | Self::Set { key, .. } => std::slice::from_ref(key),
            Self::Watch | Self::Unwatch => &[],
        }
    }
}

/// What a command is, if it is one of those. A `SET` whose end is not ours to choose (`NX`, `XX`, `GET`, `KEEPTTL`, a point in time,
/// anything unknown) is not.
pub(super) fn parse(cmd: &Cmd) -> Option<Command<'_>> {
    let mut args = cmd.args_iter().map(|arg| match arg {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    let name = args.next()??;
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    // Most commands are told by their length.
    match name.len() {
        3 if is("GET") => Some(Command::Get(args.next()??)).filter(|_| args.next().is_none()),
        4 if is("MGET") => Some(Command::GetMany(args.collect::<Option<_>>()?)),
        3 if is("SET") => {
            let (key, value) = (args.next()??, args.next()??);
            let given = match (args.next(), args.next(), args.next()) {
                (None, ..) => None,
                (Some(unit), Some(number), None) => Some(lifetime(unit?, number?)?),
                _ => return None,
            };
            Some(Command::Set { key, value, given })
        }
        5 if is("SETEX") => set_for(b"EX", args),
        6 if is("PSETEX") => set_for(b"PX", args),
        5 if is("WATCH") => Some(Command::Watch),
        7 if is("UNWATCH") || is("DISCARD") => Some(Command::Unwatch),
        4 if is("EXEC") => Some(Command::Unwatch),
        3 if is("DEL") => Some(Command::Delete(args.collect::<Option<_>>()?)),
        6 if is("UNLINK") => Some(Command::Delete(args.collect::<Option<_>>()?)),
        _ => None,
    }
}

fn set_for<'a>(unit: &[u8], mut args: impl Iterator<Item = Option<&'a [u8]>>) -> Option<Command<'a>> {
    let (key, number, value) = (args.next()??, args.next()??, args.next()??);
    let given = Some(lifetime(unit, number)?);
    args.next().is_none().then_some(Command::Set { key, value, given })
}

/// A lifetime as Redis takes one; what it would refuse is not understood, so that it does.
fn lifetime(unit: &[u8], number: &[u8]) -> Option<Duration> {
    // Neither a sign, nor a zero in front.
    number.first().filter(|first| matches!(first, b'1'..=b'9'))?;
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let ms = match unit {
        unit if unit.eq_ignore_ascii_case(b"EX") => number.checked_mul(1000)?,
        unit if unit.eq_ignore_ascii_case(b"PX") => number,
        _ => return None,
    };
    (ms <= MOST_MS).then(|| Duration::from_millis(ms))
}

/// `cmd`, which sets `key` to `value`, with this lifetime.
pub(super) fn with_lifetime(cmd: &Cmd, key: &[u8], value: &[u8], ttl: Duration) -> Cmd {
    let mut with = redis::cmd("SET");
    // 1 ms at least, for Redis refuses 0.
    with.arg(key).arg(value).arg("PX").arg(ttl.as_millis().clamp(1, 1 << 48).to_string());
    with.set_no_response(cmd.is_no_response());
    with
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    fn make(words: &[&str]) -> Cmd {
        let mut made = cmd(words[0]);
        words[1..].iter().for_each(|word| {
            made.arg(*word);
        });
        made
    }

    #[test]
    fn what_is_understood_and_what_is_not() {
        let set = |given| Some(Command::Set { key: b"k", value: b"v", given });
        assert_eq!(parse(&make(&["get", "k"])), Some(Command::Get(b"k")));
        assert_eq!(parse(&make(&["MGET", "a", "b"])), Some(Command::GetMany(vec![b"a", b"b"])));
        assert_eq!(parse(&make(&["UNLINK", "a", "b"])), Some(Command::Delete(vec![b"a", b"b"])));
        assert_eq!(parse(&make(&["SET", "k", "v"])), set(None));
        assert_eq!(parse(&make(&["SET", "k", "v", "ex", "5"])), set(Some(Duration::from_secs(5))));
        assert_eq!(parse(&make(&["SET", "k", "v", "PX", "5"])), set(Some(Duration::from_millis(5))));
        assert_eq!(parse(&make(&["SETEX", "k", "5", "v"])), set(Some(Duration::from_secs(5))));
        assert_eq!(parse(&make(&["psetex", "k", "5", "v"])), set(Some(Duration::from_millis(5))));
        assert_eq!(parse(&make(&["WATCH", "k"])), Some(Command::Watch));
        for end in ["unwatch", "EXEC", "DISCARD"] {
            assert_eq!(parse(&make(&[end])), Some(Command::Unwatch));
        }
        for other in [
            &["SET", "k", "v", "NX"][..],
            &["SET", "k", "v", "KEEPTTL"],
            &["SET", "k", "v", "EXAT", "99999999999"],
            &["SET", "k", "v", "EX", "5", "NX"],
            &["SET", "k", "v", "EX", "five"],
            &["SET", "k", "v", "EX", "0"],
            &["SET", "k", "v", "EX", "+5"],
            &["SET", "k", "v", "PX", "05"],
            &["SET", "k", "v", "EX", "9223372036854775807"],
            &["PSETEX", "k", "9223372036854775807", "v"],
            &["SET", "k", "v", "NX", "EX", "5"],
            &["SET", "k"],
            &["GET"],
            &["SETEX", "k", "five", "v"],
            &["PSETEX", "k", "5"],
            &["SETEX", "k", "5", "v", "w"],
            &["EVAL", "return redis.call('SET', 'k', 'v')", "0"],
            &["HGET", "h", "f"],
        ] {
            assert_eq!(parse(&make(other)), None, "{other:?}");
        }
        assert_eq!(parse(&Cmd::new()), None);
    }

    #[test]
    fn a_lifetime_is_added_or_replaced() {
        let expected = make(&["SET", "k", "v", "PX", "1500"]).get_packed_command();
        for before in [&["SET", "k", "v"][..], &["SET", "k", "v", "EX", "9"], &["SETEX", "k", "9", "v"]] {
            let with = with_lifetime(&make(before), b"k", b"v", Duration::from_millis(1500));
            assert_eq!(with.get_packed_command(), expected);
        }
        assert_eq!(
            with_lifetime(&make(&["SET", "k", ""]), b"k", b"", Duration::ZERO).get_packed_command(),
            make(&["SET", "k", "", "PX", "1"]).get_packed_command()
        );
    }
}
