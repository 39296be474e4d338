//! What the fuzz targets share: every reader takes any bytes without a panic, and keeps its own rules.

use std::io::Cursor;

use larder_trace::{Columns, Input, Options, Reader, Request, open, open_input};

/// Rows taken at most: one line may stand for millions.
const ROWS: u64 = 10_000;

/// Reads `bytes` as `format`, or as what they are detected to be.
pub fn read(format: Option<&str>, bytes: &[u8]) {
    let options = Options { format: format.map(str::to_owned), skip_bad: 8, limit: Some(ROWS), ..Options::default() };
    // Parquet reads from the end and so needs a file.
    let trace = if format == Some("parquet") {
        let Ok(file) = tempfile::NamedTempFile::new() else { return };
        if std::fs::write(file.path(), bytes).is_err() {
            return;
        }
        open(file.path(), &options)
    } else {
        Input::new("fuzz", Cursor::new(bytes.to_vec()), None).and_then(|input| open_input(input, &options))
    };
    if let Ok(trace) = trace {
        drain(trace);
    }
}

/// Takes `text` for a generator and for a column mapping.
pub fn describe(text: &str) {
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use larder_trace::FORMATS;

    #[test]
    fn every_format_has_its_target() {
        let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let targets: BTreeSet<&str> = manifest.lines().filter_map(|l| l.strip_prefix("name = ")).collect();
        for format in FORMATS {
            assert!(targets.contains(&*format!("{:?}", format.name)), "{} has no fuzz target", format.name);
            super::read(Some(format.name), format.sample);
        }
    }
}
