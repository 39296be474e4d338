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

/// What a table's columns were found to be, for whoever is to be told.
pub(super) struct Found {
    /// The name or number of the column of each of [`FIELDS`].
    pub(super) names: [Option<String>; FIELDS.len()],
    /// As declared; none where nobody did, and numbers are seconds.
    pub(super) unit: Option<Unit>,
}

impl Found {
    /// Such as `key=url, time=ts (ms)`.
    pub(super) fn mapping(&self) -> String {
        const WORDS: [(Field, &str); FIELDS.len()] = [
            (Field::Key, "key"),
            (Field::Time, "time"),
            (Field::Size, "size"),
            (Field::Op, "op"),
            (Field::Ttl, "ttl"),
            (Field::Cost, "cost"),
        ];
        let told = WORDS.iter().filter_map(|(field, word)| {
            let name = self.names[*field as usize].as_ref()?;
            let unit = if *field == Field::Time { format!(" ({})", self.unit().name()) } else { String::new() };
            Some(format!("{word}={name}{unit}"))
        });
        told.collect::<Vec<_>>().join(", ")
    }

    fn unit(&self) -> Unit {
        self.unit.unwrap_or_default()
    }

    /// Refuses a number of seconds that nobody meant: a column that does not name its unit is in seconds, and logs in others are common.
    pub(super) fn check_seconds(&self, number: f64) -> Result<(), String> {
        if self.unit.is_some() || number < FAR {
            return Ok(());
        }
        let likely = match number / FAR {
            ..1e3 => Unit::Millis,
            ..1e6 => Unit::Micros,
            _ => Unit::Nanos,
        };
        let (unit, year) = (likely.name(), 1970.0 + number / 31_556_952.0);
        let column = self.names[Field::Time as usize].as_deref().unwrap_or("COLUMN");
        Err(format!(
            "expected a time in seconds, found {number}, the year {year:.0}: if it is in {unit}, say so with --columns \
             time={column}:{unit}"
        ))
    }
}

/// Seconds from 1970 to the year 5138; as milliseconds they are a moment in 1973.
const FAR: f64 = 1e11;

/// A cell that is wrong, and how.
pub(super) type Wrong = (Field, String);

/// The request of a row whose `cell` gives each field's text, empty where there is none; none where its operation is no request of a cache.
/// `tick` is its time where the table has no times.
#[inline]
pub(super) fn request<'a>(
    cell: impl Fn(Field) -> &'a [u8],
    found: &Found,
    tick: Option<Time>,
) -> Result<Option<Request>, Wrong> {
    let number = |field, neutral, wanted| match cell(field) {
        b"" => Ok(neutral),
        // -1 stands for none in many tables.
        b"-1" => Ok(neutral),
        text => amount(text).map(parse::cap).ok_or_else(|| (field, expected(wanted, text))),
    };
    let op = match cell(Field::Op) {
        b"" => Op::Get,
        word => match op(word) {
            Ok(Some(op)) => op,
            Ok(None) => return Ok(None),
            Err(what) => return Err((Field::Op, what)),
        },
    };
    let key = match cell(Field::Key) {
        b"" => return Err((Field::Key, "expected a key, found none".to_owned())),
        key => key_number(key),
    };
    let at = match (cell(Field::Time), tick) {
        (b"", Some(tick)) => tick,
        (b"", None) => return Err((Field::Time, "expected a time, found none".to_owned())),
        (text, _) => time(text, found).map_err(|what| (Field::Time, what))?,
    };
    Ok(Some(Request {
        at,
        key,
        size: number(Field::Size, 1, "a size in bytes")?,
        ttl: number(Field::Ttl, 0, "a ttl in seconds")?,
        cost: number(Field::Cost, 0, "a cost in microseconds")?,
        op,
    }))
}

/// The operation a word stands for; none for other words, as logs have them of requests that are none of a cache (OPTIONS, PING).
pub(super) fn op(word: &[u8]) -> Result<Option<Op>, String> {
    match ops::of(word) {
        None if !word.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-')) => {
            Err(expected("an operation such as get, set or delete", word))
        }
        op => Ok(op),
    }
}

#[cold]
fn expected(wanted: &str, found: &[u8]) -> String {
    format!("expected {wanted}, found {:?}", String::from_utf8_lossy(&found[..found.len().min(40)]))
}

/// A number of at least 0, its decimals cut off.
fn amount(text: &[u8]) -> Option<u64> {
    parse::whole(text).or_else(|| parse::float(text).map(|number| number as u64))
}

/// A number of the unit, with decimals or an exponent where there are any, or a date as RFC 3339 has it.
pub(super) fn time(text: &[u8], found: &Found) -> Result<Time, String> {
    let wrong = || expected(&format!("a time in {} or as 2024-03-01T12:00:00Z", found.unit().name()), text);
    let (whole, end) = parse::digits(text).ok_or_else(wrong)?;
    if text.get(end) == Some(&b'-') {
        return dates::rfc3339(text).ok_or_else(wrong);
    }
    let unit = found.unit();
    let (micros, number) = match &text[end..] {
        [] => (unit.micros(whole), whole as f64),
        [b'.', decimals @ ..] if decimals.iter().all(u8::is_ascii_digit) => {
            // Where a millionth of the unit does not fit, its decimals are finer than a microsecond.
            let fine = parse::seconds(text).map(|fine| fine.0 / unit.per_second());
            (fine.or_else(|| unit.micros(whole)), whole as f64)
        }
        _ => {
            let number = parse::float(text).ok_or_else(wrong)?;
            let micros = number * (1e6 / unit.per_second() as f64);
            ((micros < u64::MAX as f64).then_some(micros as u64), number)
        }
    };
    found.check_seconds(number)?;
    micros.map(Time).ok_or_else(wrong)
}
