//! One trace as both sides take it: the same dense keys, in the same order, every object of size 1.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use larder_trace::{Options, Reader, Request, create, open, trace_name};

/// A trace, its requests in memory and the same in files for libcachesim.
pub struct Workload {
    /// The trace's name.
    pub name: String,
    /// Its requests, every object of size 1.
    pub requests: Vec<Request>,
    /// Distinct keys.
    pub keys: usize,
    /// The requests as oracleGeneral.
    pub binary: PathBuf,
    /// The same with every size 0: libcachesim's reader decodes such requests and passes over them.
    pub blank: PathBuf,
}

impl Workload {
    /// Reads a trace and writes what both sides will replay into `folder`.
    ///
    /// # Errors
    /// The trace cannot be read or the files cannot be written.
    pub fn load(path: &Path, folder: &Path) -> Result<Self> {
        let mut trace = open(path, &Options::default())
            .with_context(|| format!("opening {}: give the folder of traces with --traces", path.display()))?;
        let mut requests = Vec::new();
        while trace.read(&mut requests, 1 << 16)? > 0 {}
        let keys = number_keys(&mut requests);
        fs::create_dir_all(folder)?;
        let name = trace_name(path);
        let binary = folder.join(format!("{name}.oracleGeneral"));
        let blank = folder.join(format!("{name}.blank.oracleGeneral"));
        write(&requests, &blank, 0)?;
        write(&requests, &binary, 1)?;
        requests.iter_mut().for_each(|request| request.size = 1);
        Ok(Self { name, requests, keys, binary, blank })
    }

    /// So many objects as this share of the distinct keys.
    pub fn objects(&self, share: f64) -> u64 {
        (self.keys as f64 * share).round() as u64
    }
}

/// Numbers the keys from 1 by their first request, and returns how many there are: 0 means "none" to some readers.
pub fn number_keys(requests: &mut [Request]) -> usize {
    let mut numbers = HashMap::new();
    for request in requests {
        let next = numbers.len() as u64 + 1;
        request.key = *numbers.entry(request.key).or_insert(next);
    }
    numbers.len()
}

fn write(requests: &[Request], path: &Path, size: u32) -> Result<()> {
    let sized: Vec<_> = requests.iter().map(|request| Request { size, ..*request }).collect();
    let mut writer = create(path, Some("oracle-general"))?;
    writer.write(&sized)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_by_their_first_request() {
        let mut requests = [70, 0, 70, 5].map(|key| Request { key, ..Request::default() });
        assert_eq!(number_keys(&mut requests), 3);
        assert_eq!(requests.map(|request| request.key), [1, 2, 1, 3]);
    }
}
