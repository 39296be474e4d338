//! What holds for every format of the table; a new one is tested by being in it.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]` functions fail the test just the same

use std::io::{Cursor, Write};

use larder_policy::{Op, Time};
use larder_trace::{
    Columns, Error, ErrorKind, FORMATS, Format, Input, Options, Reader, Request, create, open, open_input,
};
use proptest::prelude::*;

fn all(mut reader: impl Reader, max: usize) -> Result<Vec<Request>, Error> {
    let mut rows = Vec::new();
    while reader.read(&mut rows, max)? > 0 {}
    Ok(rows)
}

fn read_as(bytes: &[u8], options: &Options) -> Result<Vec<Request>, Error> {
    all(open_input(Input::new("trace", Cursor::new(bytes.to_vec()), None)?, options)?, 1024)
}

fn named(format: &Format) -> Options {
    Options { format: Some(format.name.to_owned()), ..Options::default() }
}

/// Those that read streams; Parquet needs a file and has tests of its own.
fn streams() -> impl Iterator<Item = &'static Format> {
    FORMATS.iter().filter(|f| f.name != "parquet")
}

#[test]
fn names_are_unique_and_samples_there() {
    for (i, format) in FORMATS.iter().enumerate() {
        assert!(FORMATS[..i].iter().all(|f| f.name != format.name), "{}", format.name);
        assert!(!format.sample.is_empty() && !format.about.is_empty(), "{}", format.name);
    }
}

#[test]
fn samples_are_detected_and_read() {
    for format in streams() {
        let input = Input::new("sample", format.sample, None).unwrap();
        let trace = open_input(input, &Options::default()).unwrap();
        assert_eq!(trace.format(), format.name);
        let carries = trace.carries();
        let rows = all(trace, 1024).unwrap_or_else(|e| panic!("{}: {e}", format.name));
        assert!(!rows.is_empty(), "{}", format.name);
        let neutral = Request { size: 1, ..Request::default() };
        for (index, row) in rows.iter().enumerate() {
            assert!(carries.times || row.at == Time(index as u64 * 1_000_000), "{}: {row:?}", format.name);
            assert!(carries.sizes || row.size == neutral.size, "{}: {row:?}", format.name);
            assert!(carries.ops || row.op == neutral.op, "{}: {row:?}", format.name);
            assert!(carries.ttls || row.ttl == neutral.ttl, "{}: {row:?}", format.name);
            assert!(carries.costs || row.cost == neutral.cost, "{}: {row:?}", format.name);
        }
    }
}

#[test]
fn batches_of_any_size_give_the_same_rows() {
    for format in streams() {
        let whole = read_as(format.sample, &named(format)).unwrap();
        for max in [1, 2, 3] {
            let input = Input::new("sample", format.sample, None).unwrap();
            let mut trace = open_input(input, &named(format)).unwrap();
            let mut rows = Vec::new();
            loop {
                let before = rows.len();
                let read = trace.read(&mut rows, max).unwrap();
                assert_eq!(rows.len() - before, read, "{}", format.name);
                assert!(read <= max, "{}", format.name);
                if read == 0 {
                    break;
                }
            }
            assert_eq!(rows, whole, "{} by {max}", format.name);
        }
    }
}

#[test]
fn carriage_returns_and_a_missing_last_newline_do_not_matter() {
    for format in streams().filter(|f| f.sample.is_ascii() && !f.sample.contains(&0)) {
        let whole = read_as(format.sample, &named(format)).unwrap();
        let text = std::str::from_utf8(format.sample).unwrap();
        assert_eq!(read_as(text.replace('\n', "\r\n").as_bytes(), &named(format)).unwrap(), whole, "{}", format.name);
        assert_eq!(read_as(text.trim_end().as_bytes(), &named(format)).unwrap(), whole, "{}", format.name);
    }
}

#[test]
fn a_sample_cut_anywhere_reads_or_fails_with_its_place() {
    for format in streams() {
        for cut in 0..format.sample.len() {
            if let Err(error) = read_as(&format.sample[..cut], &named(format)) {
                assert!(
                    matches!(error.kind(), ErrorKind::BadRow | ErrorKind::Truncated | ErrorKind::BadOption),
                    "{error}"
                );
                assert!(error.to_string().starts_with("trace: "), "{}: {error}", format.name);
            }
        }
    }
}

#[test]
fn limits_hold_and_secrets_hide_keys() {
    for format in streams() {
        let plain = read_as(format.sample, &named(format)).unwrap();
        let limited = read_as(format.sample, &Options { limit: Some(2), ..named(format) }).unwrap();
        assert_eq!(limited, plain[..2], "{}", format.name);
        let hidden = read_as(format.sample, &Options { secret: Some("s".to_owned()), ..named(format) }).unwrap();
        let keys = |rows: &[Request]| rows.iter().map(|r| r.key).collect::<Vec<_>>();
        for (a, (key, hidden_key)) in keys(&plain).iter().zip(keys(&hidden)).enumerate() {
            assert_ne!(*key, hidden_key, "{}", format.name);
            for (b, other) in keys(&plain).iter().enumerate() {
                assert_eq!(key == other, hidden_key == hidden[b].key, "{} rows {a} and {b}", format.name);
            }
        }
    }
}

/// Sizes and times that every writable format holds: whole seconds below 2³², sizes of at least 1.
fn request() -> impl Strategy<Value = Request> {
    let op = prop_oneof![Just(Op::Get), Just(Op::Set), Just(Op::Delete)];
    (any::<u32>(), any::<u64>(), 1..u32::MAX, any::<u32>(), any::<u32>(), op).prop_map(
        |(at, key, size, ttl, cost, op)| Request { at: Time(u64::from(at) * 1_000_000), key, size, ttl, cost, op },
    )
}

/// What is left of `rows` in a format that carries no more than `format` does.
fn as_carried(format: &Format, rows: &[Request]) -> Vec<Request> {
    let carries = format.carries;
    let kept = rows.iter().filter(|r| carries.ops || r.op != Op::Delete);
    kept.zip(0..)
        .map(|(r, index)| Request {
            at: if carries.times { r.at } else { Time(index * 1_000_000) },
            key: r.key,
            size: if carries.sizes { r.size } else { 1 },
            ttl: if carries.ttls { r.ttl } else { 0 },
            cost: if carries.costs { r.cost } else { 0 },
            op: if carries.ops { r.op } else { Op::Get },
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(rows in prop::collection::vec(request(), 1..200), compression in 0..4usize) {
        let folder = tempfile::tempdir().unwrap();
        for format in FORMATS.iter().filter(|f| f.create.is_some()) {
            let ending = if format.name == "parquet" { "" } else { ["", ".gz", ".zst", ".xz"][compression] };
            let path = folder.path().join(format!("{}.trace{ending}", format.name));
            let mut writer = create(&path, Some(format.name)).unwrap();
            rows.chunks(7).for_each(|chunk| writer.write(chunk).unwrap());
            writer.finish().unwrap();
            let read = all(open(&path, &named(format)).unwrap(), 64).unwrap();
            prop_assert_eq!(read, as_carried(format, &rows), "{}", format.name);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read_as(&bytes, &Options::default());
        for format in streams() {
            let _ = read_as(&bytes, &Options { skip_bad: 3, limit: Some(10_000), ..named(format) });
        }
    }

    /// Random bytes seldom get past the first field: damage to a good sample goes deeper.
    #[test]
    fn damaged_samples_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        for format in streams() {
            let mut bytes = format.sample.to_vec();
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = read_as(&bytes, &Options { skip_bad: 3, limit: Some(10_000), ..named(format) });
        }
    }

    #[test]
    fn column_mappings_never_panic(text in "\\PC*") {
        let _ = Columns::parse(&text);
        let _ = open(format!("gen:{text}"), &Options::default());
    }
}

#[test]
fn bad_rows_are_placed_counted_and_skipped() {
    let bytes = b"time,key,size,op,ttl\n0,1,1,get,\n1,2,x,get,\n2,3,1,touch,\n3,4,1,get,\n";
    let error = read_as(bytes, &Options::default()).unwrap_err();
    assert_eq!((error.kind(), error.at_line(), error.at_byte()), (ErrorKind::BadRow, Some(3), Some(36)));
    assert!(error.to_string().contains("line 3, byte 36: expected a size"), "{error}");

    let options = Options { skip_bad: 2, ..Options::default() };
    let mut trace = open_input(Input::new("t.csv", &bytes[..], None).unwrap(), &options).unwrap();
    let mut rows = Vec::new();
    assert_eq!(trace.read(&mut rows, 10).unwrap(), 2);
    let skipped = trace.skipped();
    assert_eq!(skipped.bad, 2);
    assert!(skipped.first[1].contains("line 4"), "{skipped:?}");

    let error = read_as(bytes, &Options { skip_bad: 1, ..Options::default() }).unwrap_err();
    assert_eq!(error.at_line(), Some(4));
}

#[test]
fn a_truncated_archive_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["gz", "zst", "xz"] {
        let path = folder.path().join(format!("t.csv.{ending}"));
        let mut writer = create(&path, Some("larder")).unwrap();
        // Keys that do not compress, so that the cut falls among them.
        let row = |i: u64| Request { key: i.wrapping_mul(0x9e37_79b9_7f4a_7c15), ..Request::default() };
        writer.write(&(0..5000).map(row).collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for keep in [bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            let error = open(&path, &named(&FORMATS[0])).and_then(|t| all(t, 512)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Truncated, "{ending}: {error}");
            assert!(error.to_string().contains("truncated"), "{error}");
        }
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 64].fill(0x55);
        std::fs::write(&path, &damaged).unwrap();
        let error = open(&path, &named(&FORMATS[0])).and_then(|t| all(t, 512)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::BadRow), "{ending}: {error}");
    }
}

#[test]
fn damaged_gzip_and_a_boundless_window_are_told() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"time,key,size,op,ttl\n0,1,1,get,\n").unwrap();
    let mut bytes = gzip.finish().unwrap();
    // Of the checksum.
    let at = bytes.len() - 6;
    bytes[at] ^= 1;
    let error = read_as(&bytes, &Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    // A frame of nothing that asks for a window of 2 GiB.
    let bomb = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    let error = read_as(&bomb, &Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("larger than 128 MiB"), "{error}");
    // The same of 128 MiB is an empty trace.
    let large = [0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 1, 0, 0];
    assert_eq!(read_as(&large, &Options::default()).unwrap_err().kind(), ErrorKind::UnknownFormat);
    // Two bytes are no mark.
    assert_eq!(read_as(b"\x1f\x8bkey\n", &named(format("keys"))).unwrap().len(), 1);
}

fn format(name: &str) -> &'static Format {
    FORMATS.iter().find(|format| format.name == name).unwrap()
}

/// The format that rows are taken for.
fn detected(bytes: &'static [u8]) -> &'static str {
    open_input(Input::new("trace", bytes, None).unwrap(), &Options::default()).unwrap().format()
}

#[test]
fn formats_of_numbers_are_told_apart() {
    assert_eq!(detected(b"0 17 512\n1 18 4096\n"), "lrb");
    assert_eq!(detected(b"0 17 512 3\n1 18 4096 3\n1 17 512 9\n"), "lrb");
    assert_eq!(detected(b"100 3 0 0\n7 1 0 1\n"), "arc");
    assert_eq!(detected(b"7 1 0 41\n100 3 0 42\n"), "arc");
    // Some left out, and no order of time.
    assert_eq!(detected(b"100 3 0 0\n7 1 0 9\n"), "arc");
    assert_eq!(detected(b"1\n2\n*\n"), "lirs");
    // Numbers at first, and then other keys.
    let keys = b"1\n2\n3\n4\n5\n6\n7\n8\n/index.html\n";
    assert_eq!((detected(keys), read_as(keys, &Options::default()).unwrap().len()), ("keys", 9));
}

#[test]
fn columns_are_for_formats_that_map_them() {
    let columns = Columns::parse("key=url").unwrap();
    let options = Options { columns, ..named(format("lrb")) };
    let error = read_as(format("lrb").sample, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadOption, "{error}");
    assert!(error.to_string().contains("lrb has its own"), "{error}");
    let options = Options { columns: Columns::parse("key=url").unwrap(), ..Options::default() };
    assert_eq!(open("gen:zipf:keys=10", &options).unwrap_err().kind(), ErrorKind::BadOption);
}

#[test]
fn requests_before_an_error_are_given_too() {
    let bytes = &b"time,key,size,op,ttl\n0,1,1,get,\n1,2,1,get,\nnonsense\n"[..];
    let trace = open_input(Input::new("t.csv", bytes, None).unwrap(), &Options::default()).unwrap();
    let rows: Vec<_> = trace.into_iter().map(|row| row.is_ok()).collect();
    assert_eq!(rows, [true, true, false]);
}

#[test]
fn a_time_that_a_format_cannot_hold_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.oracleGeneral");
    let mut writer = create(&path, None).unwrap();
    let far = Request { at: Time(u64::MAX), ..Request::default() };
    let error = writer.write(&[Request::default(), far]).unwrap_err().to_string();
    assert!(error.contains("t.oracleGeneral") && error.contains("request 2 at "), "{error}");
}

#[test]
fn a_flushed_trace_reads_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (0..3000).map(|key| Request { key, size: 1, ..Request::default() }).collect();
    for ending in ["csv", "csv.gz", "csv.zst", "csv.xz", "jsonl.zst"] {
        let (path, copy) = (folder.path().join(format!("t.{ending}")), folder.path().join(format!("copy.{ending}")));
        let mut writer = create(&path, None).unwrap();
        for done in [1000, 2000] {
            writer.write(&rows[done - 1000..done]).unwrap();
            let bytes = writer.flush().unwrap();
            assert_eq!(std::fs::copy(&path, &copy).unwrap(), bytes, "{ending}");
            assert_eq!(all(open(&copy, &Options::default()).unwrap(), 512).unwrap(), rows[..done], "{ending}");
        }
        writer.write(&rows[2000..]).unwrap();
        writer.finish().unwrap();
        assert_eq!(all(open(&path, &Options::default()).unwrap(), 512).unwrap(), rows, "{ending}");
    }
}

#[test]
fn several_frames_are_one_trace() {
    let frame = |text: &str| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let (first, second) = ("time,key,size,op,ttl\n0,1,1,get,\n", "1,2,1,get,\n");
    // Zeros behind a member of gzip are padding.
    let padded = [frame(first), vec![0; 3], frame(second), vec![0; 1000]].concat();
    for bytes in [[frame(first), frame(second)].concat(), [zstd(first), zstd(second)].concat(), padded] {
        assert_eq!(read_as(&bytes, &Options::default()).unwrap().len(), 2);
    }
    let error = read_as(&[frame(first), b"more\n".to_vec()].concat(), &Options::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("what follows its end"), "{error}");
}

#[test]
fn what_no_format_knows_is_refused() {
    for bytes in [&b""[..], b"\xff\xfe\0\0", b"some words that are no trace\n", b"a,b\nc,d\n"] {
        let error = read_as(bytes, &Options::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownFormat, "{error}");
    }
    for (bytes, advice) in [
        (&b"some words that are no trace\n"[..], "--format"),
        (b"[{\"key\":1},{\"key\":2}]\n", "jq -c"),
        (b"{\n  \"key\": 1\n}\n", "jq -c"),
    ] {
        let error = read_as(bytes, &Options::default()).unwrap_err().to_string();
        assert!(error.contains(advice), "{error}");
    }
    let empty = read_as(b"", &Options::default()).unwrap_err().to_string();
    assert!(empty.ends_with("the trace is empty"), "{empty}");
    let twice = open("gen:zipf:keys=1/keys=2", &Options::default()).unwrap_err().to_string();
    assert!(twice.contains("keys is given twice"), "{twice}");
    let error = open("/no/such/file.csv", &Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("/no/such/file.csv"), "{error}");
    let unknown = Options { format: Some("vhs".to_owned()), ..Options::default() };
    assert_eq!(read_as(b"1\n", &unknown).unwrap_err().kind(), ErrorKind::UnknownFormat);
}
