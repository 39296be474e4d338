//! Parquet needs a file, and so tests of its own.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)] // helpers outside `#[test]` functions fail the test just the same

use std::{fs, path::Path};

use larder_policy::{Op, Time};
use larder_trace::{
    Columns, Error, ErrorKind, FORMATS, Format, Input, Options, Reader, Request, create, open, open_input,
};
use proptest::prelude::*;

fn format() -> &'static Format {
    FORMATS.iter().find(|f| f.name == "parquet").unwrap()
}

fn all(path: &Path, options: &Options) -> Result<Vec<Request>, Error> {
    let mut trace = open(path, options)?;
    let mut rows = Vec::new();
    while trace.read(&mut rows, 3)? > 0 {}
    Ok(rows)
}

/// What `samples/sample.parquet` holds; it was written by this crate.
fn rows() -> Vec<Request> {
    let row = |at, key, size, ttl, cost, op| Request { at: Time(at), key, size, ttl, cost, op };
    vec![
        row(0, 17, 1, 0, 0, Op::Get),
        row(250_000, u64::MAX, 512, 60, 0, Op::Set),
        row(1_000_001, 18, u32::MAX, 0, 1500, Op::Get),
        row(2_000_000, 17, 1, 0, 0, Op::Delete),
    ]
}

#[test]
fn the_sample_is_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let mut writer = create(&path, None).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    assert_eq!(all(&path, &Options::default()).unwrap(), rows());

    fs::write(&path, format().sample).unwrap();
    assert_eq!(all(&path, &Options::default()).unwrap(), rows());
    let columns = Columns::parse("key=size,time=ttl").unwrap();
    let mapped = all(&path, &Options { columns, ..Options::default() }).unwrap();
    assert_eq!(mapped[1].key, 512);
    assert_eq!(mapped[1].at, Time(60_000_000));
}

#[test]
fn numbers_that_cannot_be_seconds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let mut writer = create(&path, None).unwrap();
    writer.write(&[Request { key: 1_602_179_021_000, size: 7, ..Request::default() }]).unwrap();
    writer.finish().unwrap();
    let mapped = |columns: &str| all(&path, &Options { columns: Columns::parse(columns)?, ..Options::default() });
    let error = mapped("key=size,time=key").unwrap_err().to_string();
    assert!(error.contains("--columns time=key:ms"), "{error}");
    assert_eq!(mapped("key=size,time=key:ms").unwrap()[0].at, Time(1_602_179_021_000_000));
    // The column's own unit is believed.
    let told = open(&path, &Options::default()).unwrap().mapping().unwrap();
    assert!(told.starts_with("parquet: key=key, time=time (us), size=size"), "{told}");
}

#[test]
fn several_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let mut writer = create(&path, None).unwrap();
    let many: Vec<_> =
        (0..600_000u64).map(|i| Request { at: Time(i), key: i, size: 1, ..Request::default() }).collect();
    writer.write(&many).unwrap();
    writer.finish().unwrap();
    let mut trace = open(&path, &Options::default()).unwrap();
    let mut read = Vec::new();
    while trace.read(&mut read, 10_000).unwrap() > 0 {}
    assert!(read == many);
    assert_eq!(trace.progress().share(), Some(1.0));
}

#[test]
fn streams_and_damage_are_refused() {
    let stream = Input::new("stdin", format().sample, None).unwrap();
    assert_eq!(open_input(stream, &Options::default()).unwrap_err().kind(), ErrorKind::Unsupported);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    for cut in 4..format().sample.len() {
        fs::write(&path, &format().sample[..cut]).unwrap();
        let error = all(&path, &Options::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Truncated), "{error}");
    }
}

proptest! {
    #[test]
    fn damaged_samples_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let mut bytes = format().sample.to_vec();
        for (at, byte) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        fs::write(&path, &bytes).unwrap();
        let options = Options { format: Some("parquet".to_owned()), skip_bad: 9, limit: Some(100), ..Options::default() };
        let _ = all(&path, &options);
    }
}
