//! Any CSV or TSV by column mapping.

use larder_policy::Time;

use super::{
    Format,
    mapped::{self, FIELDS, Field},
    native,
};
use crate::{
    Carries, Columns, Confidence, Error, ErrorKind, Input, Options, Progress, Reader, Request, Skipped, Unit,
    lines::TICK, parse,
};

pub(super) const FORMAT: Format = Format {
    name: "csv",
    about: "any CSV or TSV, its columns mapped or under their usual names",
    extensions: &["csv", "tsv"],
    carries: Carries::ALL,
    mapped: true,
    detect,
    open: |input, options| Ok(Box::new(Table::open(input, options)?)),
    // Ours is a CSV like any other.
    create: native::FORMAT.create,
    sample: b"ts\tURL\tbytes\n2024-03-01T00:00:00Z\t/a\t300\n2024-03-01T00:00:01.5Z\t\"/b\"\"\tc\"\t20\n",
};

/// A header with a key's usual name is likely a table; anything with a delimiter may be one, if columns are mapped.
fn detect(head: &[u8]) -> Confidence {
    let Some(line) = super::whole_lines(head).next().and_then(|l| std::str::from_utf8(l).ok()) else {
        return Confidence::No;
    };
    let names: Vec<_> = line.split(char::from(delimiter(line.as_bytes()))).map(unquoted).collect();
    match Field::Key.find(&Columns::default(), &names) {
        Some(_) if names.len() > 1 => Confidence::Likely,
        _ => Confidence::No,
    }
}

fn unquoted(name: &str) -> String {
    name.trim().trim_matches('"').to_owned()
}

/// The likeliest delimiter of a line: the most frequent of the usual ones.
fn delimiter(line: &[u8]) -> u8 {
    let count = |d: &u8| memchr::memchr_iter(*d, line).count();
    // The first of equals wins only when taken last.
    [b' ', b'|', b';', b'\t', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

struct Table {
    rows: csv::Reader<Input>,
    record: csv::ByteRecord,
    /// The column of each of [`FIELDS`].
    places: [Option<usize>; FIELDS.len()],
    unit: Unit,
    index: u64,
    skip_bad: u64,
    skipped: Skipped,
}

impl Table {
    fn open(mut input: Input, options: &Options) -> Result<Self, Error> {
        let columns = &options.columns;
        let first = parse::split(input.head(1 << 14)?, b'\n').0;
        let delimiter = columns.delimiter.unwrap_or_else(|| delimiter(first));
        let empty = first.is_empty();
        // Columns mapped by number alone are those of a table without a header.
        let mut mapped = FIELDS.iter().filter_map(|f| f.mapped(columns)).peekable();
        let has_headers = columns.header.unwrap_or(mapped.peek().is_none() || mapped.any(|c| !c.starts_with('#')));
        let mut rows = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(has_headers)
            .flexible(true)
            .buffer_capacity(1 << 17)
            .from_reader(input);
        let mut names = Vec::new();
        if has_headers {
            let header = rows.byte_headers().map_err(|e| Error::new(ErrorKind::BadRow, e.to_string()))?;
            names = header.iter().map(|n| unquoted(&String::from_utf8_lossy(n))).collect();
        }
        let places = FIELDS.map(|f| f.find(columns, &names));
        let table = Self {
            rows,
            record: csv::ByteRecord::new(),
            places,
            unit: columns.unit,
            index: 0,
            skip_bad: options.skip_bad,
            skipped: Skipped::default(),
        };
        for (field, place) in FIELDS.iter().zip(&table.places) {
            let missing = match field.mapped(columns) {
                Some(column) if place.is_none() => column,
                None if *field == Field::Key && place.is_none() && !empty => "key",
                _ => continue,
            };
            let what = format!("no column {missing:?}; there are {}", names.join(", "));
            let error = Error::new(ErrorKind::BadOption, what).help("map the columns, such as key=url or key=#2");
            return Err(table.rows.get_ref().place(error));
        }
        Ok(table)
    }

    fn request(&self) -> Result<Request, String> {
        let cell = |field: Field| {
            let place = self.places[field as usize];
            place.and_then(|p| self.record.get(p)).unwrap_or_default().trim_ascii()
        };
        mapped::request(cell, self.unit, Time(self.index.saturating_mul(TICK)))
    }
}

impl Reader for Table {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error> {
        let start = batch.len();
        while batch.len() - start < max {
            match self.rows.read_byte_record(&mut self.record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(unread(error)),
            }
            match self.request() {
                Ok(request) => {
                    batch.push(request);
                    self.index += 1;
                }
                Err(what) => {
                    let error = Error::new(ErrorKind::BadRow, what).help("skip-bad passes over bad rows");
                    let error = match self.record.position() {
                        Some(position) => error.line(position.line()).byte(position.byte()),
                        None => error,
                    };
                    self.skipped.bad(self.rows.get_ref().place(error), self.skip_bad)?;
                }
            }
        }
        Ok(batch.len() - start)
    }

    fn carries(&self) -> Carries {
        mapped::carries(|field| self.places[field as usize].is_some())
    }

    fn skipped(&self) -> Skipped {
        self.skipped.clone()
    }

    fn progress(&self) -> Progress {
        self.rows.get_ref().progress()
    }
}

/// Byte records of any length have no errors of their own: what remains is the source's, already placed.
fn unread(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::io(error, "reading"),
        },
        other => Error::new(ErrorKind::BadRow, format!("{other:?}")),
    }
}
