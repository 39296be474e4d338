//! A trace, as the caches meet it.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use larder_policy::Op;
use larder_trace::{Options, Reader, Request, open, trace_name};

pub(crate) struct Traffic {
    pub(crate) name: String,
    /// Reads, and changes of the origin's values, which no cache is told of.
    pub(crate) requests: Vec<Request>,
    /// Distinct keys read.
    pub(crate) keys: usize,
}

impl Traffic {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mut trace = open(path, &Options::default())
            .with_context(|| format!("opening {}: give the folder of traces with --traces", path.display()))?;
        let mut requests = Vec::new();
        while trace.read(&mut requests, 1 << 16)? > 0 {}
        let read: HashSet<u64> = requests.iter().filter(|request| request.op == Op::Get).map(|get| get.key).collect();
        Ok(Self { name: trace_name(path), keys: read.len(), requests })
    }

    pub(crate) fn reads(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.op == Op::Get)
    }

    pub(crate) fn has_changes(&self) -> bool {
        self.requests.iter().any(|request| request.op != Op::Get)
    }

    pub(crate) fn objects(&self, share: f64) -> u64 {
        ((self.keys as f64 * share).round() as u64).max(16)
    }
}
