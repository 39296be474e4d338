//! A part of a trace, as requests for names with values.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use larder::remote::{Name, names};
use larder_trace::{Options, Reader, open, trace_name};

/// Values are the trace's size within these bounds, or `UNKNOWN` bytes where it tells none.
const SMALLEST: u32 = 64;
const LARGEST: u32 = 4096;
const UNKNOWN: u32 = 2048;
/// What a key takes in a Redis beside its value: name, envelope, table entries.
const BESIDE: u64 = 200;

pub(crate) struct Traffic {
    pub(crate) name: String,
    /// By their order: which key.
    pub(crate) requests: Vec<u32>,
    pub(crate) keys: Vec<Key>,
}

pub(crate) struct Key {
    pub(crate) name: Name,
    /// The value's size in bytes.
    pub(crate) size: usize,
}

impl Traffic {
    /// The first `most` requests; what a trace calls a write is a read like any other.
    pub(crate) fn load(path: &Path, most: usize) -> Result<Self> {
        let mut trace = open(path, &Options::default())
            .with_context(|| format!("opening {}: give the folder of traces with --traces", path.display()))?;
        let mut all = Vec::new();
        while all.len() < most && trace.read(&mut all, 1 << 14)? > 0 {}
        all.truncate(most);
        let mut known = HashMap::new();
        let mut keys = Vec::new();
        let requests = all.iter().map(|request| {
            *known.entry(request.key).or_insert_with(|| {
                let size = if request.size <= 1 { UNKNOWN } else { request.size.clamp(SMALLEST, LARGEST) };
                keys.push(Key { name: names::key("l2", &request.key.to_string()), size: size as usize });
                keys.len() as u32 - 1
            })
        });
        let requests = requests.collect();
        Ok(Self { name: trace_name(path), requests, keys })
    }

    /// About what all values together take in a Redis.
    pub(crate) fn bytes(&self) -> u64 {
        self.keys.iter().map(|key| key.size as u64 + BESIDE).sum()
    }
}
