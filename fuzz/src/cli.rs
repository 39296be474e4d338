//! What the command line reads from others: entries of a Redis Stream, and a dashboard's answers.

use larder_cli::fuzzing;
use larder_policy::{Op, Time};
use larder_trace::Request;
use serde_json::{Value, json};

use crate::Decoder;

pub(crate) fn decoders() -> Vec<Decoder> {
    let row = |at, key| Request { at: Time(at), key, size: 10, ttl: 0, cost: 5, op: Op::Get };
    let early = entry("a", 0, &[row(1_000, 1), row(2_000, 2), row(9_000, 1)]);
    let late = entry("b", 7, &[row(1_500, 3), row(3_000_000, 4)]);
    vec![
        // Each batch is spooled to a file, and read and written by codecs with windows of their own.
        Decoder::new("stream-entries", stream)
            .sample(stream_of(&[&early, &late]))
            .sample(stream_of(&[&late, &early, &late]))
            .sample(stream_of(&[]))
            .allocates(64 << 20, 4096)
            .costs(50),
        // A screen of 80 by 24 is drawn for each.
        Decoder::new("top-frame", top)
            .sample(lines_of(&[report(1_000, 0), report(2_000, 1_000), report(3_000, u64::MAX)]))
            .sample(lines_of(&[report(2_000, 5), json!({"at": 1, "caches": []})]))
            .allocates(4 << 20, 4096)
            .costs(20),
        Decoder::new("explain-answer", |bytes| _ = fuzzing::answer(bytes).and_then(fuzzing::told))
            .sample(explanation().to_string())
            .allocates(256 << 10, 1024)
            .costs(2),
    ]
}

/// The fields of an entry and their values in turns, as a recorder writes them.
fn entry(recorder: &str, number: u64, rows: &[Request]) -> Vec<Vec<u8>> {
    let file = tempfile::Builder::new().suffix(".csv.zst").tempfile().expect("a temporary file");
    let mut writer = larder_trace::create(file.path(), Some("larder")).expect("a temporary file can be written");
    writer.write(rows).and_then(|()| writer.finish()).expect("a temporary file can be written");
    let data = std::fs::read(file.path()).expect("a temporary file can be read");
    let (number, many) = (number.to_string(), rows.len().to_string());
    let fields = [("format", "1"), ("recorder", recorder), ("number", &number), ("rows", &many)];
    let fields = fields.iter().flat_map(|(name, value)| [name.as_bytes().to_vec(), value.as_bytes().to_vec()]);
    fields.chain([b"data".to_vec(), data]).collect()
}

/// For each entry how many fields and values there are, and each behind its length.
fn stream_of(entries: &[&Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.push(entry.len() as u8);
        for part in *entry {
            bytes.extend_from_slice(&(part.len() as u16).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

fn stream(bytes: &[u8]) {
    let (mut rest, mut entries) = (bytes, Vec::new());
    while let Some((many, after)) = rest.split_first() {
        rest = after;
        let parts = std::iter::from_fn(|| {
            let (length, body) = rest.split_first_chunk()?;
            let (part, next) = body.split_at(usize::from(u16::from_le_bytes(*length)).min(body.len()));
            rest = next;
            Some(part.to_vec())
        });
        entries.push(parts.take(usize::from(*many)).collect());
        if entries.len() == 8 {
            break;
        }
    }
    let _ = fuzzing::merged(&entries);
}

fn top(bytes: &[u8]) {
    let lines = bytes.split(|&byte| byte == b'\n').take(8);
    fuzzing::looked(lines.filter_map(fuzzing::answer));
}

fn lines_of(answers: &[Value]) -> Vec<u8> {
    answers.iter().map(|answer| answer.to_string() + "\n").collect::<String>().into_bytes()
}

fn report(at: u64, reads: u64) -> Value {
    json!({"at": at, "caches": [{"id": "demo", "report": {
        "policy": "learned", "entries": 500, "weight": 500, "capacity": 600,
        "counts": {"hits": reads, "misses": reads / 5, "remote_hits": reads / 10, "loads": reads, "load_errors": 0},
        "freshness": {"objective": 0.01, "recent": {"rate": 0.008, "low": 0.006, "high": 1e308}, "prefixes": [
            {"prefix": "price:", "objective": 0.001, "recent": {"rate": 0.008, "low": 0.006, "high": 1e308}}]},
        "control": {"policy": "wtinylfu", "state": "ramping", "treated": 16, "parts": 64, "rollbacks": 1,
            "last_breach": "the hit ratio fell", "gain": 0.041, "low": -1e308, "high": 0.05, "requests": 90000,
            "turnovers": 2.5, "counted_for": 1e308, "arms": {"refusals": ["few shards"]},
            "refusals": ["few slices"], "sizes": [{"scale": 1.0, "hit_ratio": 0.7}, {"scale": 2.0, "hit_ratio": 0.76}]},
        "remote": {"breaker": "half-open"},
    }}]})
}

fn explanation() -> Value {
    json!({"key": "00ab", "words": ["It is here."], "score": {"model": "general", "logits": [0.5, -1e38],
        "contributions": [{"name": "age", "value": "1 s", "adds": [0.1, 0.2]}, {"name": "size", "value": "9", "adds": []}]},
        "decisions": [{"what": "admitted", "seconds": 1.5}]})
}
