//! Any CSV or TSV by column mapping: a row a line, all rows with as many columns. What a row lacks is left empty, never left out.

use std::ops::Range;

use super::{
    Format,
    mapped::{self, FIELDS, Field, Found},
    native,
};
use crate::{
    Carries, Columns, Confidence, Error, ErrorKind, Input, Options, Reader,
    lines::{Bad, LineParser, Lines, Rows},
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "csv",
    about: "any CSV or TSV, its columns mapped or under their usual names",
    extensions: &["csv", "tsv"],
    carries: Carries::ALL,
    mapped: true,
    detect,
    open,
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
    delimiter: u8,
    /// How many each row has: as the header, or as the first row that has all that are mapped.
    columns: Option<usize>,
    /// The column of each of [`FIELDS`].
    places: [Option<usize>; FIELDS.len()],
    found: Found,
    cells: Cells,
}

fn open(mut input: Input, options: &Options) -> Result<Box<dyn Reader>, Error> {
    let columns = &options.columns;
    let first = parse::split(input.head(1 << 14)?, b'\n').0;
    let delimiter = columns.delimiter.unwrap_or_else(|| delimiter(first));
    // Columns mapped by number alone are those of a table without a header.
    let mut mapped = FIELDS.iter().filter_map(|f| f.mapped(columns)).peekable();
    let has_headers = columns.header.unwrap_or(mapped.peek().is_none() || mapped.any(|c| !c.starts_with('#')));
    let mut cells = Cells::default();
    let names = if has_headers { header(&mut input, delimiter, &mut cells)? } else { Vec::new() };
    let columns_named = (!names.is_empty()).then_some(names.len());
    let places = FIELDS.map(|f| f.find(columns, &names));
    for (field, place) in FIELDS.iter().zip(&places) {
        let is_there = place.is_some_and(|place| columns_named.is_none_or(|columns| place < columns));
        // A file without a line is a table without rows.
        let missing = match field.mapped(columns) {
            _ if is_there || has_headers && names.is_empty() => continue,
            Some(column) => column,
            None if *field == Field::Key => "key",
            None => continue,
        };
        let what = format!("no column {missing:?}; there are {}", names.join(", "));
        let error = Error::new(ErrorKind::BadOption, what).help("map the columns, such as key=url or key=#2");
        return Err(input.place(error));
    }
    let name = |place: usize| names.get(place).cloned().unwrap_or_else(|| format!("#{}", place + 1));
    let found = Found { names: places.map(|place| place.map(name)), unit: columns.unit };
    Lines::boxed(input, options, Table { delimiter, columns: columns_named, places, found, cells })
}

/// The names of the columns, by the first line that is not empty; none where there is no such line.
fn header(input: &mut Input, delimiter: u8, cells: &mut Cells) -> Result<Vec<String>, Error> {
    loop {
        let offset = input.offset();
        let Some(line) = input.line()? else { return Ok(Vec::new()) };
        if line.is_empty() {
            continue;
        }
        let Err(bad) = cells.split(line, delimiter) else {
            let names = (0..cells.len()).map(|at| unquoted(&String::from_utf8_lossy(cells.get(line, at))));
            return Ok(names.collect());
        };
        let error = Error::new(ErrorKind::BadRow, bad.what).help("the first line is taken for the columns' names");
        return Err(input.place(error.line(input.lines()).byte(offset + bad.at as u64)));
    }
}

impl LineParser for Table {
    #[inline]
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        self.cells.split(line, self.delimiter)?;
        let found = self.cells.len();
        let columns = match self.columns {
            Some(columns) => columns,
            None => self.places.iter().flatten().fold(found, |most, place| most.max(place + 1)),
        };
        // A column too few or too many moves those after it: the row would be read as something else.
        if found != columns {
            return Err(Bad::new(0, format!("expected {columns} columns, found {found}")));
        }
        self.columns = Some(columns);
        let cell =
            |field: Field| self.places[field as usize].map_or(&b""[..], |at| self.cells.get(line, at).trim_ascii());
        let tick = self.places[Field::Time as usize].is_none().then(|| rows.tick());
        match mapped::request(cell, &self.found, tick) {
            Ok(Some(request)) => rows.push(request),
            Ok(None) => rows.pass(),
            Err((field, what)) => return Err(Bad::within(line, cell(field), what)),
        }
        Ok(())
    }

    fn carries(&self) -> Carries {
        mapped::carries(|field| self.places[field as usize].is_some())
    }

    fn mapping(&self) -> Option<String> {
        Some(self.found.mapping())
    }
}

/// The cells of a line. A quoted one may hold delimiters, and quotes written twice, but no line end: a quote that is never closed would take in
/// all rows that follow.
#[derive(Default)]
pub(super) struct Cells {
    /// Where they are: in the line, or in `text` where it has quotes.
    places: Vec<Range<usize>>,
    text: Vec<u8>,
    quoted: bool,
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The cell at `at` of the line that was split; nothing beyond the last.
    #[inline]
    pub(super) fn get<'a>(&'a self, line: &'a [u8], at: usize) -> &'a [u8] {
        let text = if self.quoted { &self.text } else { line };
        self.places.get(at).map_or(&[], |place| &text[place.clone()])
    }

    #[inline]
    pub(super) fn split(&mut self, line: &[u8], delimiter: u8) -> Result<(), Bad> {
        self.places.clear();
        let mut start = 0;
        for end in memchr::memchr2_iter(delimiter, b'"', line) {
            if line[end] == b'"' {
                self.quoted = true;
                return self.split_quoted(line, delimiter);
            }
            self.places.push(start..end);
            start = end + 1;
        }
        self.places.push(start..line.len());
        self.quoted = false;
        Ok(())
    }

    fn split_quoted(&mut self, line: &[u8], delimiter: u8) -> Result<(), Bad> {
        self.places.clear();
        self.text.clear();
        let past_blanks = |at: usize| {
            let is_blank = |b: &&u8| matches!(b, b' ' | b'\t') && **b != delimiter;
            at + line[at..].iter().take_while(is_blank).count()
        };
        let mut at = 0;
        loop {
            let start = self.text.len();
            let first = past_blanks(at);
            if line.get(first) == Some(&b'"') {
                at = past_blanks(self.unquote(line, first)?);
            } else {
                let cell = parse::split(&line[at..], delimiter).0;
                self.text.extend_from_slice(cell);
                at += cell.len();
            }
            self.places.push(start..self.text.len());
            match line.get(at) {
                None => return Ok(()),
                Some(byte) if *byte == delimiter => at += 1,
                Some(_) => return Err(Bad::field(line, &line[at..], "a delimiter after a closing quote")),
            }
        }
    }

    /// Appends what the quote at `open` opens, and says where what follows it begins.
    fn unquote(&mut self, line: &[u8], open: usize) -> Result<usize, Bad> {
        let mut at = open + 1;
        while let Some(length) = memchr::memchr(b'"', &line[at..]) {
            self.text.extend_from_slice(&line[at..at + length]);
            at += length + 1;
            if line.get(at) != Some(&b'"') {
                return Ok(at);
            }
            self.text.push(b'"');
            at += 1;
        }
        Err(Bad::field(line, &line[open..], "a quote that is closed on its line"))
    }
}
