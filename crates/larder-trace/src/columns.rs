//! Which column or field of a foreign table holds what.

use crate::Error;

/// A mapping from a table's columns to a request's fields, as `key=url,size=bytes,time=ts:ms`.
///
/// A column is named by its header or field name, or by its number from one as `#3`. What is not mapped is looked for
/// under the names usual for it (`time`, `timestamp`, `ts`; `key`, `id`, `url`, …).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// When.
    pub time: Option<String>,
    /// The unit of times that are numbers; none takes seconds, and refuses numbers that cannot be.
    pub unit: Option<Unit>,
    /// Who.
    pub key: Option<String>,
    /// Bytes.
    pub size: Option<String>,
    /// What is done; see [`Columns::parse`] for the words understood.
    pub op: Option<String>,
    /// Lifetime in seconds.
    pub ttl: Option<String>,
    /// Cost of a load in microseconds.
    pub cost: Option<String>,
    /// Whether the first row names the columns; none takes it so unless all are mapped by number.
    pub header: Option<bool>,
    /// The byte between columns; none sees it by the first line.
    pub delimiter: Option<u8>,
}

/// The unit of a time column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, with decimals where there are any.
    #[default]
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Unit {
    pub(crate) const ALL: [Self; 4] = [Self::Seconds, Self::Millis, Self::Micros, Self::Nanos];

    /// As column mappings name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Nanos => "ns",
        }
    }

    /// How many are a second.
    pub(crate) fn per_second(self) -> u64 {
        match self {
            Self::Seconds => 1,
            Self::Millis => 1000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }

    /// `value` of this unit in microseconds; none beyond the end of time.
    pub(crate) fn micros(self, value: u64) -> Option<u64> {
        match self {
            Self::Seconds => value.checked_mul(1_000_000),
            Self::Millis => value.checked_mul(1000),
            Self::Micros => Some(value),
            Self::Nanos => Some(value / 1000),
        }
    }
}

impl Columns {
    /// Parses `field=column,…`: fields `time`, `key`, `size`, `op`, `ttl`, `cost`, and further `header` (`yes`
    /// or `no`) and `delimiter` (a character, `comma`, `tab` or `space`). A time column may name its unit after a colon: `s`, `ms`, `us` or `ns`;
    /// without one it is in seconds, and a number beyond the year 5138 is refused.
    ///
    /// # Errors
    /// [`BadOption`](crate::ErrorKind::BadOption) for a field or unit that does not exist.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut columns = Self::default();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (field, column) = part
                .split_once('=')
                .filter(|(_, c)| !c.is_empty())
                .ok_or_else(|| Error::option(format!("column mapping {part:?} is not of the form field=column")))?;
            let name = Some(column.to_owned());
            match field.trim() {
                "time" => columns.set_time(column)?,
                "key" => columns.key = name,
                "size" => columns.size = name,
                "op" => columns.op = name,
                "ttl" => columns.ttl = name,
                "cost" => columns.cost = name,
                "header" => columns.header = Some(yes(column)?),
                "delimiter" => columns.delimiter = Some(delimiter(column)?),
                other => {
                    let what = format!("no field {other:?}: map time, key, size, op, ttl, cost, header or delimiter");
                    return Err(Error::option(what));
                }
            }
        }
        Ok(columns)
    }

    fn set_time(&mut self, column: &str) -> Result<(), Error> {
        let (column, unit) = match column.rsplit_once(':') {
            None => (column, None),
            Some((column, name)) => {
                let unit = Unit::ALL.into_iter().find(|unit| unit.name() == name);
                let what = || Error::option(format!("no time unit {name:?}: give s, ms, us or ns"));
                (column, Some(unit.ok_or_else(what)?))
            }
        };
        self.time = Some(column.to_owned());
        self.unit = unit;
        Ok(())
    }
}

fn yes(word: &str) -> Result<bool, Error> {
    match word {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(Error::option(format!("header={word} is neither yes nor no"))),
    }
}

fn delimiter(name: &str) -> Result<u8, Error> {
    match (name, name.as_bytes()) {
        ("tab", _) => Ok(b'\t'),
        ("space", _) => Ok(b' '),
        ("comma", _) => Ok(b','),
        (_, [byte]) => Ok(*byte),
        _ => Err(Error::option(format!("delimiter {name:?} is not one character, tab, space or comma"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_documents() {
        let columns = Columns::parse("time=when:ms,key=#2,size=bytes,delimiter=tab").unwrap();
        assert_eq!(columns.time.as_deref(), Some("when"));
        assert_eq!(columns.unit, Some(Unit::Millis));
        assert_eq!(Columns::parse("time=when").unwrap().unit, None);
        assert_eq!(columns.key.as_deref(), Some("#2"));
        assert_eq!(columns.delimiter, Some(b'\t'));
        for wrong in ["key", "key=", "when=ts", "time=ts:years", "delimiter=ab"] {
            assert!(Columns::parse(wrong).is_err(), "{wrong}");
        }
    }
}
