//! What lies on the disk over a restart.

use std::io::Cursor;

use larder::behind::Write;
use larder::fuzzing;
use larder::prewarm::Days;
use larder::snapshot::{Kept, Reader, Writer};

use crate::{Decoder, repair, text};

const SCHEMA: u64 = 7;

pub(crate) fn decoders() -> Vec<Decoder> {
    let write = |sequence, value: Option<&[u8]>| {
        let value = value.map(bytes::Bytes::copy_from_slice);
        Write { sequence, name: format!("users:{sequence}").into(), value }
    };
    let writes = [write(1, Some(b"Ada")), write(2, None), write(3, Some(&[0; 1500])), write(4, Some(b""))];
    vec![
        // Read four times, and the writes of each copied.
        Decoder::new("log", |bytes| fuzzing::segment(bytes, first(bytes)))
            .repaired(repair::segment)
            .sample(fuzzing::segment_of(&writes))
            .sample(fuzzing::segment_of(&[])),
        Decoder::new("checkpoint", checkpoint)
            .repaired(repair::at_end)
            .sample([&b"LARDERCP\x01\0\0\0\x07\0\0\0\0\0\0\0"[..], &[0; 4]].concat())
            .sample("1795000000000000 00000000\n"),
        Decoder::new("snapshot", snapshot)
            .repaired(repair::snapshot)
            .sample(snapshot_of(&[kept(1), kept(2), kept(3)], 9))
            .sample(snapshot_of(&[], 9))
            .allocates(256 << 10, 64),
    ]
}

/// The sequence a segment's header says it begins with.
fn first(bytes: &[u8]) -> u64 {
    bytes.get(16..24).map_or(1, |raw| raw.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn checkpoint(bytes: &[u8]) {
    assert!(fuzzing::checkpoint(bytes).is_none_or(|sequence| sequence < u64::MAX));
    if let Some(number) = text(bytes).and_then(fuzzing::identity) {
        assert!(bytes.starts_with(number.to_string().as_bytes()));
    }
}

fn kept(number: u32) -> Kept {
    let days = (number == 2).then(|| {
        let mut days = Days::new(1_795_000_000);
        (0..48).for_each(|hour| days.add(1_795_000_000 + hour * 3600, number));
        Box::new(days)
    });
    let (name, fresh_until) = (format!("user:{number}"), 1_795_000_000_000_000);
    Kept { name, size: number, cost: 100, reads: 0.5, idle: 1_000, fresh_until, days }
}

fn snapshot_of(kept: &[Kept], taken_at: u64) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), SCHEMA, taken_at).expect("into memory");
    kept.iter().for_each(|kept| writer.push(kept).expect("a short name"));
    writer.finish().expect("into memory").0
}

fn snapshot(bytes: &[u8]) {
    let reader = match Reader::new(Cursor::new(bytes), SCHEMA) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let (taken_at, entries) = (reader.taken_at(), reader.entries());
    let all: Vec<Kept> = reader.map(|kept| kept.expect("all of it was checked")).collect();
    assert_eq!(all.len() as u64, entries);
    for days in all.iter().filter_map(|kept| kept.days.as_ref()) {
        assert!(days.rises().len() <= 24);
    }
    let again = snapshot_of(&all, taken_at);
    let again: Vec<Kept> = Reader::new(Cursor::new(again), SCHEMA).expect("our own").map(Result::unwrap).collect();
    assert_eq!(again, all);
}
