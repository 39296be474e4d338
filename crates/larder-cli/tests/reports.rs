//! Reports: what is in them, and that they are written.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const TRACE: &str = "gen:zipf:requests=20_000/keys=2000/seed=9";

fn larder(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).stdin(Stdio::null()).env_remove("LARDER_LOG");
    command
}

fn run(args: &[&str]) -> Output {
    larder(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_report_is_one_page_and_three_tables_and_harms_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("deep/report");
    fs::create_dir_all(&report).unwrap();
    fs::write(report.join("mine.txt"), "mine").unwrap();
    let args = ["replay", TRACE, "--policy", "lru,belady", "--capacity", "5%,200", "--seed", "77", "--report"];
    let output = run(&[&args[..], &[report.to_str().unwrap()]].concat());
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("report.html"), "says where");
    let mut files: Vec<_> = fs::read_dir(&report).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["cells.csv", "cells.json", "curves.svg", "mine.txt", "report.html", "series.csv"]);
    let page = fs::read_to_string(report.join("report.html")).unwrap();
    for part in ["<svg", "belady", "larder replay", "77"] {
        assert!(page.contains(part), "{part}");
    }
    for fetching in ["http:", "https:", "<link", "@import", "url("] {
        assert!(!page.contains(fetching), "{fetching}");
    }
    let json: Value = serde_json::from_str(&fs::read_to_string(report.join("cells.json")).unwrap()).unwrap();
    assert_eq!((json["cells"].as_array().unwrap().len(), json["seed"].as_u64()), (4, Some(77)));
    assert_eq!(fs::read_to_string(report.join("cells.csv")).unwrap().lines().count(), 5);
    let series = fs::read_to_string(report.join("series.csv")).unwrap();
    let misses: u64 = series.lines().skip(1).map(|line| line.rsplit(',').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    let cells = json["cells"].as_array().unwrap().iter().map(|cell| cell["misses"].as_u64().unwrap());
    assert_eq!(misses, cells.sum::<u64>());
}

#[test]
fn a_report_is_written_though_nobody_reads_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    for (at, args) in [
        &["replay", TRACE, "--capacity", "5%"][..],
        &["compare", TRACE, "--policy", "lru,fifo", "--capacity", "5%"],
        &["freshness", "changes:poisson", "--reads", "zipf:0.9:3", "--policy", "static"],
    ]
    .into_iter()
    .enumerate()
    {
        let report = folder.path().join(at.to_string());
        let args = [args, &["--report", report.to_str().unwrap()]].concat();
        let mut child = larder(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && text(&output.stderr).contains("report: "), "{args:?}: {output:?}");
        assert!(report.read_dir().unwrap().count() > 3, "{args:?}");
    }
}

#[test]
fn a_report_shows_what_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.csv");
    let rows: String = (0..500).map(|row| format!("{row},{},{},get,\n", row * row % 97, 100 + row % 7)).collect();
    fs::write(&path, format!("time,key,size,op,ttl\n{rows}")).unwrap();
    let path = path.to_str().unwrap();
    for (metric, shown, hidden) in
        [("requests", "fewest misses", "fewest bytes missed"), ("bytes", "fewest bytes missed", "fewest misses")]
    {
        let report = folder.path().join(metric);
        let args = ["compare", path, "--policy", "lru,fifo", "--capacity", "20", "--metric", metric, "--report"];
        assert!(run(&[&args[..], &[report.to_str().unwrap()]].concat()).status.success());
        let page = fs::read_to_string(report.join("report.html")).unwrap();
        assert!(page.contains(shown) && !page.contains(hidden), "{metric}");
    }
}
