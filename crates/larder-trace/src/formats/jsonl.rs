//! JSON lines: one object a line, its fields mapped or under their usual names. A mapped name may lead into nested
//! objects by dots, as `request.uri`.

use std::{borrow::Cow, collections::HashMap, io::Write as _};

use serde_json::value::RawValue;

use super::{
    Format, likely,
    mapped::{self, FIELDS, Field},
    native, ops,
};
use crate::{
    Carries, Columns, Confidence, Request,
    lines::{Bad, LineParser, Lines, Rows},
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
    open: |input, options| Lines::boxed(input, options, JsonLines { columns: options.columns.clone() }),
    create: Some(|output| LineWriter::boxed(output, "", write)),
    sample: b"{\"time\":0,\"key\":17,\"size\":512,\"op\":\"get\"}\n\
              {\"time\":0.5,\"key\":\"/a \\\"b\\\"\",\"size\":300,\"op\":\"set\",\"ttl\":60,\"more\":[1,{}]}\n",
};

struct JsonLines {
    columns: Columns,
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

impl LineParser for JsonLines {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        let not_json =
            |e: serde_json::Error| Bad::new(e.column().saturating_sub(1), format!("expected an object: {e}"));
        let object: Object<'_> = serde_json::from_slice(line).map_err(not_json)?;
        let mut cells: [Cow<'_, [u8]>; FIELDS.len()] = Default::default();
        for field in FIELDS {
            cells[field as usize] = match field.mapped(&self.columns) {
                Some(path) => dig(&object, path),
                None => field.usual().iter().find_map(|name| object.get(*name).copied()),
            }
            .map(text)
            .unwrap_or_default();
        }
        let cell = |field: Field| &*cells[field as usize];
        rows.push(mapped::request(cell, self.columns.unit, rows.tick()).map_err(|what| Bad::new(0, what))?);
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
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
    let _ = write!(out, ",\"key\":{},\"size\":{},\"op\":\"{}\"", r.key, r.size, ops::name(r.op));
    for (name, value) in [("ttl", r.ttl), ("cost", r.cost)] {
        if value > 0 {
            let _ = write!(out, ",\"{name}\":{value}");
        }
    }
    out.extend_from_slice(b"}\n");
}
