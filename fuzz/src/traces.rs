//! Readers of traces, and what describes one.

use std::io::Cursor;

use larder_trace::{Columns, FORMATS, GENERATORS, Input, Options, Reader, Request, create, open, open_input};

use crate::{Decoder, file, text};

/// Rows taken at most: one line may stand for millions.
const ROWS: u64 = 10_000;
/// A reader's buffer, as long a line as it takes, which garbage may unpack to, and the rows.
const BASE: usize = 80 << 20;

pub(crate) fn decoders() -> Vec<Decoder> {
    let formats = FORMATS.iter().map(|format| {
        // Parquet reads from files.
        let cost = if format.name == "parquet" { 50 } else { 1 };
        Decoder::new(format.name, |bytes| read(Some(format.name), bytes))
            .sample(format.sample)
            .allocates(BASE, 1024)
            .costs(cost)
    });
    let detect = Decoder::new("detect", |bytes| read(None, bytes)).allocates(BASE, 1024);
    let detect = FORMATS.iter().fold(detect, |detect, format| detect.sample(format.sample));
    let detect = [".gz", ".zst", ".xz"].into_iter().fold(detect, |detect, ending| detect.sample(packed(ending)));
    let described = GENERATORS.iter().map(|generator| format!("{}:requests=100/keys=10/seed=2", generator.name));
    let described = described.chain(["mix:requests=1e3/+3*zipf/alpha=0.9/+1*scan".into(), "key=1,time=2:ms".into()]);
    let generate = described.fold(Decoder::new("generate", generate), Decoder::sample).allocates(BASE, 1024);
    formats.chain([detect, generate]).collect()
}

/// A few rows of the native format, compressed.
fn packed(ending: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(format!("trace.csv{ending}"));
    let mut rows = Vec::new();
    let mut trace = open("gen:zipf:requests=50/keys=9", &Options::default()).expect("a generator");
    trace.read(&mut rows, 50).expect("a generator");
    let mut writer = create(&path, None).expect("a temporary file");
    writer.write(&rows).expect("a temporary file");
    writer.finish().expect("a temporary file");
    std::fs::read(path).expect("a temporary file")
}

/// Reads `bytes` as `format`, or as what they are detected to be.
fn read(format: Option<&str>, bytes: &[u8]) {
    let options = Options { format: format.map(str::to_owned), skip_bad: 8, limit: Some(ROWS), ..Options::default() };
    // Parquet reads from the end and so needs a file.
    let trace = if format == Some("parquet") {
        open(file(bytes).path(), &options)
    } else {
        Input::new("fuzz", Cursor::new(bytes.to_vec()), None).and_then(|input| open_input(input, &options))
    };
    if let Ok(trace) = trace {
        drain(trace);
    }
}

/// Takes a text for a generator and for a column mapping.
fn generate(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(trace) = open(format!("gen:{text}"), &Options { limit: Some(100), ..Options::default() }) {
        drain(trace);
    }
    let _ = Columns::parse(text);
}

fn drain(mut trace: impl Reader) {
    let mut rows: Vec<Request> = Vec::new();
    let mut total = 0;
    loop {
        rows.clear();
        match trace.read(&mut rows, 100) {
            Ok(0) => {
                assert!(rows.is_empty());
                break;
            }
            Ok(read) => assert!(read == rows.len() && read <= 100),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        }
        total += rows.len() as u64;
    }
    assert!(total <= ROWS);
    assert!(trace.skipped().bad <= 8);
}
