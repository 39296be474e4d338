//! JSON lines: one object a line, its fields mapped or under their usual names. A mapped name may lead into nested
//! objects by dots, as `request.uri`.

use std::{borrow::Cow, collections::HashMap, io::Write as _};

use serde_json::value::RawValue;

use super::{
    Format, likely,
    mapped::{self, FIELDS, Field, Found},
    native, ops, whole_lines,
};
use crate::{
    Carries, Columns, Confidence, Error, ErrorKind, Input, Options, Reader, Request,
    lines::{Bad, LineParser, Lines, Rows},
    open::HEAD,
    output::LineWriter,
};

pub(super) const FORMAT: Format = Format {
    name: "jsonl",
    about: "JSON lines, fields mapped or under their usual names",
    extensions: &["jsonl", "ndjson", "json"],
    carries: Carries::ALL,
    mapped: true,
    detect: |head| match likely(head, |line| line.trim_ascii_start().starts_with(b"{")) {
        Confidence::Likely => Confidence::Certain,
        other => other,
    },
    open,
    create: Some(|output| LineWriter::boxed(output, "", write)),
    sample: b"{\"time\":0,\"key\":17,\"size\":512,\"op\":\"get\"}\n\
              {\"time\":0.5,\"key\":\"/a \\\"b\\\"\",\"size\":300,\"op\":\"set\",\"ttl\":60,\"more\":[1,{}]}\n",
};

/// What times and sizes are called is seen by the first objects; what an object may leave out, such as a ttl, may still come.
fn open(mut input: Input, options: &Options) -> Result<Box<dyn Reader>, Error> {
    let columns = &options.columns;
    let head = input.head(HEAD)?.to_vec();
    let objects: Vec<Object<'_>> = whole_lines(&head).filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let has = |field| objects.is_empty() || objects.iter().any(|object| !cell(object, field, columns).is_empty());
    let carries = Carries { times: has(Field::Time), sizes: has(Field::Size), ..FORMAT.carries };
    let carries = Carries { judged: !(carries.times && carries.sizes), ..carries };
    let missing = [Field::Time, Field::Key, Field::Size].into_iter().filter(|&field| !has(field));
    if let Some(path) = missing.filter_map(|field| field.mapped(columns)).next() {
        let mut names: Vec<String> = objects.iter().flat_map(|object| object.keys()).map(ToString::to_string).collect();
        names.sort_unstable();
        names.dedup();
        let what = format!("none of the first objects has a field {path:?}; there are {}", names.join(", "));
        let error = Error::new(ErrorKind::BadOption, what).help("map the fields, such as key=request.uri");
        return Err(input.place(error));
    }
    // By what the first objects call them: those that none has are told by nobody, and times are their index.
    let name = |field: Field| match field.mapped(columns) {
        Some(path) => Some(path.to_owned()),
        None => {
            let usual = field.usual().iter().find(|name| objects.iter().any(|object| object.contains_key(**name)));
            usual.map(ToString::to_string)
        }
    };
    let found = Found { names: FIELDS.map(name), unit: columns.unit };
    let is_timed = carries.times && !objects.is_empty();
    Lines::boxed(input, options, JsonLines { columns: columns.clone(), carries, found, is_timed })
}

struct JsonLines {
    columns: Columns,
    carries: Carries,
    found: Found,
    /// The first objects have times, and so each must.
    is_timed: bool,
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

impl LineParser for JsonLines {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        let not_json =
            |e: serde_json::Error| Bad::new(e.column().saturating_sub(1), format!("expected an object: {e}"));
        let object: Object<'_> = serde_json::from_slice(line).map_err(not_json)?;
        let mut cells: [Cow<'_, [u8]>; FIELDS.len()] = Default::default();
        for field in FIELDS {
            cells[field as usize] = cell(&object, field, &self.columns);
        }
        let cell = |field: Field| &*cells[field as usize];
        match mapped::request(cell, &self.found, (!self.is_timed).then(|| rows.tick())) {
            Ok(Some(request)) => rows.push(request),
            Ok(None) => rows.pass(),
            Err((field, what)) => return Err(Bad::within(line, cell(field), what)),
        }
        Ok(())
    }

    fn carries(&self) -> Carries {
        self.carries
    }

    fn mapping(&self) -> Option<String> {
        Some(self.found.mapping())
    }
}

/// The text of a field, empty where the object has none.
fn cell<'a>(object: &Object<'a>, field: Field, columns: &Columns) -> Cow<'a, [u8]> {
    let value = match field.mapped(columns) {
        Some(path) => dig(object, path),
        None => field.usual().iter().find_map(|name| object.get(*name).copied()),
    };
    value.map(text).unwrap_or_default()
}

fn dig<'a>(object: &Object<'a>, path: &str) -> Option<&'a RawValue> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    let inner: Object<'a> = serde_json::from_str(object.get(first)?.get()).ok()?;
    dig(&inner, rest)
}

/// A value's text: that of a string without its quotes and escapes, nothing for null.
fn text(value: &RawValue) -> Cow<'_, [u8]> {
    match value.get() {
        "null" => Cow::Borrowed(b""),
        raw if raw.starts_with('"') && !raw.contains('\\') => Cow::Borrowed(&raw.as_bytes()[1..raw.len() - 1]),
        raw if raw.starts_with('"') => match serde_json::from_str(raw) {
            Ok(string) => Cow::Owned(String::into_bytes(string)),
            Err(_) => Cow::Borrowed(raw.as_bytes()),
        },
        raw => Cow::Borrowed(raw.as_bytes()),
    }
}

fn write(r: &Request, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":");
    native::write_time(r.at, out);
    // Writing to a vector does not fail.
    // As text: most that reads JSON rounds numbers of more than 53 bits.
    let _ = write!(out, ",\"key\":\"{}\",\"size\":{},\"op\":\"{}\"", r.key, r.size, ops::name(r.op));
    for (name, value) in [("ttl", r.ttl), ("cost", r.cost)] {
        if value > 0 {
            let _ = write!(out, ",\"{name}\":{value}");
        }
    }
    out.extend_from_slice(b"}\n");
}
