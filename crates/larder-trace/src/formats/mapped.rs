//! From the cells of a foreign table to a request, for every format that takes a column mapping.

use larder_policy::{Op, Time};

use super::ops;
use crate::{Carries, Columns, Request, Unit, dates, key::key_number, parse};

/// The fields a column can be mapped to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Time,
    Key,
    Size,
    Op,
    Ttl,
    Cost,
}

pub(super) const FIELDS: [Field; 6] = [Field::Time, Field::Key, Field::Size, Field::Op, Field::Ttl, Field::Cost];

impl Field {
    /// The column mapped to this field.
    pub(super) fn mapped(self, columns: &Columns) -> Option<&str> {
        let column = match self {
            Self::Time => &columns.time,
            Self::Key => &columns.key,
            Self::Size => &columns.size,
            Self::Op => &columns.op,
            Self::Ttl => &columns.ttl,
            Self::Cost => &columns.cost,
        };
        column.as_deref()
    }

    /// The names under which it is looked for where it is not mapped; the first is our own.
    pub(super) fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Time => &["time", "timestamp", "ts"],
            Self::Key => &["key", "id", "obj_id", "object", "object_id", "url", "uri", "path", "block", "lbn"],
            Self::Size => &["size", "bytes", "obj_size", "object_size", "value_size", "length"],
            Self::Op => &["op", "operation", "method", "command"],
            Self::Ttl => &["ttl"],
            Self::Cost => &["cost"],
        }
    }

    /// Which of `names` holds this field: the mapped one, or the first usual one.
    pub(super) fn find(self, columns: &Columns, names: &[String]) -> Option<usize> {
        match self.mapped(columns) {
            Some(column) => match column.strip_prefix('#').and_then(|n| n.parse::<usize>().ok()) {
                Some(number) => number.checked_sub(1),
                None => names.iter().position(|n| n == column),
            },
            None => self.usual().iter().find_map(|usual| names.iter().position(|n| n.eq_ignore_ascii_case(usual))),
        }
    }
}

/// What a mapping makes a table carry.
pub(super) fn carries(has: impl Fn(Field) -> bool) -> Carries {
    Carries {
        times: has(Field::Time),
        sizes: has(Field::Size),
        ops: has(Field::Op),
        ttls: has(Field::Ttl),
        costs: has(Field::Cost),
        judged: false,
    }
}

/// The request of a row whose `cell` gives each field's text, empty where there is none. `tick` is its time where the
/// table has no times.
pub(super) fn request<'a>(cell: impl Fn(Field) -> &'a [u8], unit: Unit, tick: Time) -> Result<Request, String> {
    let number = |field, neutral, wanted| match cell(field) {
        b"" => Ok(neutral),
        // -1 stands for none in many tables.
        b"-1" => Ok(neutral),
        text => amount(text).map(parse::cap).ok_or_else(|| expected(wanted, text)),
    };
    let key = match cell(Field::Key) {
        b"" => return Err("expected a key, found none".to_owned()),
        key => key_number(key),
    };
    let at = match cell(Field::Time) {
        b"" => tick,
        text => time(text, unit).ok_or_else(|| expected("a time", text))?,
    };
    let op = match cell(Field::Op) {
        b"" => Op::Get,
        word => ops::of(word).ok_or_else(|| expected("an operation such as get, set or delete", word))?,
    };
    Ok(Request {
        at,
        key,
        size: number(Field::Size, 1, "a size in bytes")?,
        ttl: number(Field::Ttl, 0, "a ttl in seconds")?,
        cost: number(Field::Cost, 0, "a cost in microseconds")?,
        op,
    })
}

fn expected(wanted: &str, found: &[u8]) -> String {
    format!("expected {wanted}, found {:?}", String::from_utf8_lossy(&found[..found.len().min(40)]))
}

/// A number of at least 0, its decimals cut off.
fn amount(text: &[u8]) -> Option<u64> {
    parse::whole(text).or_else(|| parse::float(text).map(|number| number as u64))
}

/// A number of the unit, with decimals or an exponent where there are any, or a date as RFC 3339 has it.
pub(super) fn time(text: &[u8], unit: Unit) -> Option<Time> {
    let (whole, end) = parse::digits(text)?;
    if end == text.len() {
        return unit.micros(whole).map(Time);
    }
    if text[end] == b'-' {
        return dates::rfc3339(text);
    }
    let per_micro = match unit {
        Unit::Seconds => 1,
        Unit::Millis => 1000,
        Unit::Micros => 1_000_000,
        Unit::Nanos => 1_000_000_000,
    };
    // A millionth of a unit is finer than a microsecond in any unit below seconds.
    let fine = match parse::seconds(text) {
        Some(time) => time.0,
        None => Some(parse::float(text)? * 1e6).filter(|micros| *micros < u64::MAX as f64)? as u64,
    };
    Some(Time(fine / per_micro))
}
