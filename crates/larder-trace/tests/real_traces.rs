//! Every real trace reads to the count its manifest states.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]` functions fail the test just the same

use std::{fs, path::PathBuf};

use larder_trace::{Options, Reader, open};

/// The folder of real traces, or none where a test is to be skipped.
fn traces() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces");
    let folder = PathBuf::from(std::env::var_os("LARDER_TRACES").unwrap_or_else(|| default.into()));
    if folder.join("MANIFEST.tsv").exists() {
        return Some(folder);
    }
    let required = std::env::var_os("LARDER_REQUIRE_TRACES").is_some_and(|v| v == "1");
    assert!(!required, "no traces in {}", folder.display());
    println!("skipped: no traces");
    None
}

#[test]
fn every_trace_reads_to_its_stated_count() {
    let Some(folder) = traces() else { return };
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut rows = manifest.lines().map(|l| l.split('\t').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let requests = header.iter().position(|c| *c == "requests").unwrap();
    let mut read_any = false;
    for row in rows {
        // One count is followed by a remark.
        let expected: usize = row[requests].split(' ').next().unwrap().parse().unwrap();
        let mut trace = open(folder.join(format!("{}.csv.zst", row[0])), &Options::default()).unwrap();
        assert_eq!((trace.name(), trace.format()), (row[0], "larder"));
        let (mut batch, mut count) = (Vec::new(), 0);
        let mut last = None;
        while trace.read(&mut batch, 8192).unwrap() > 0 {
            count += batch.len();
            for request in batch.drain(..) {
                assert!(last <= Some(request.at), "{}: time goes back at {request:?}", row[0]);
                last = Some(request.at);
            }
        }
        assert_eq!(count, expected, "{}", row[0]);
        assert_eq!(trace.progress().share(), Some(1.0), "{}", row[0]);
        read_any = true;
    }
    assert!(read_any);
}
