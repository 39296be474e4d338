//! What is wrong with a command line or a trace is told at once, and told apart by the exit code.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const TRACE: &str = "gen:zipf:requests=20_000/keys=2000/seed=9";

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).stdin(Stdio::null()).env_remove("LARDER_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Nothing but a complaint on stderr.
fn refused(args: &[&str], code: i32, says: &str) {
    let output = run(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(says), "{args:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
}

fn written(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_experiment_holds_no_more_than_was_asked_for() {
    let arms = ["replay", TRACE, "--arms", "clock,lru", "--slices", "20"];
    for more in [&["--capacity", "63"][..], &["--capacity", "1%", "--shards", "65"], &["--capacity", "1", "--standing"]]
    {
        refused(&[&arms[..], more].concat(), 2, "choose a larger one, or fewer shards");
    }
    let lifetimes = ["freshness", "changes:poisson", "--reads", "zipf:0.9:3", "--arms", "objective:1%,ttl:5m"];
    refused(&[&lifetimes[..], &["--capacity", "10"]].concat(), 2, "choose a larger one, or fewer shards");
    for more in [&["--capacity", "64"][..], &["--capacity", "1%"], &["--capacity", "10%", "--shards", "100"]] {
        assert!(run(&[&arms[..], more].concat()).status.success(), "{more:?}");
    }
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    for more in [&["--rollout"][..], &["--standing"], &["--ghosts", "0.5"], &["--shards", "64"], &["--slices", "200"]] {
        refused(&[&["replay", TRACE][..], more].concat(), 2, "--arms");
    }
    for more in [&["--rent", "1"][..], &["--evict", "lru"]] {
        refused(&[&["freshness", "changes:poisson"][..], more].concat(), 2, "--capacity");
    }
    for rent in ["nan", "-1", "inf", "much"] {
        refused(&["freshness", "changes:poisson", "--capacity", "10%", "--rent", rent], 2, "of at least 0");
    }
}

#[test]
fn what_is_for_a_trace_is_refused_beside_a_service() {
    for more in [
        &["--limit", "5"][..],
        &["--model", "models/general"],
        &["--columns", "key=a"],
        &["--format", "csv"],
        &["--skip-bad", "0"],
    ] {
        refused(
            &[&["explain", "--url", "http://127.0.0.1:1", "--key", "a"][..], more].concat(),
            2,
            "cannot be used with",
        );
    }
}

#[test]
fn a_value_that_does_not_fit_is_told_with_its_option() {
    for share in ["0", "2", "nan", "-1"] {
        refused(&["replay", TRACE, "--arms", "clock,lru", "--ghosts", share], 2, "'--ghosts <SHARE>'");
        refused(&["curve", TRACE, "--sample", share], 2, "'--sample <SHARE>'");
    }
    let few = "gen:zipf:requests=1000/keys=30";
    refused(&["curve", few, "--sample", "0.5"], 2, "are too few to tell anything: leave --sample out");
    refused(&["freshness", "changes:poisson", "--capacity", "64MiB"], 2, "in caches of objects");
    refused(&["freshness", "changes:poisson", "--capacity", "0"], 2, "must be above 0");
}

#[test]
fn what_a_trace_does_not_carry_is_not_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let keys = written(folder.path(), "keys.csv", "key\na\nb\na\n");
    let sized = written(folder.path(), "sized.csv", "time,key,size\n1,a,10\n5,b,20\n");
    for (args, says) in [
        (&["replay", &keys, "--weigh", "bytes", "--capacity", "10"][..], "keys: --weigh bytes takes sizes"),
        (&["compare", &keys, "--weigh", "bytes", "--capacity", "10"], "--weigh bytes takes sizes"),
        (&["compare", &keys, "--metric", "bytes", "--capacity", "10"], "--metric bytes takes sizes"),
        (&["curve", &keys, "--weigh", "bytes"], "--weigh bytes takes sizes"),
        (&["train", &keys, "--weigh", "bytes", "--out", "model"], "--weigh bytes takes sizes"),
        (&["predictions", &keys, "--weigh", "bytes"], "--weigh bytes takes sizes"),
        (&["explain", &keys, "--weigh", "bytes", "--key", "a"], "--weigh bytes takes sizes"),
        (&["replay", &keys, "--ttl", "60s"], "--ttl takes times"),
        (&["freshness", &keys], "keys: lifetimes are measured on times, and this trace has none"),
        (&["replay", &sized, "--ttl", "given"], "--ttl given takes lifetimes"),
        (&["replay", &sized, "--arms", "clock,lru", "--ttl", "given"], "--ttl given takes lifetimes"),
        (&["compare", &keys, "--price-gib-hour", "1", "--capacity", "10"], "--price-gib-hour takes sizes"),
        // The second is told before the first is replayed.
        (&["curve", &sized, &keys, "--price-load", "1"], "keys: --price-load takes times"),
        (&["replay", &sized, &keys, "--weigh", "bytes", "--capacity", "10"], "keys: --weigh bytes takes sizes"),
    ] {
        refused(args, 2, says);
    }
    // What comes through stdin shows it in its turn.
    let stdin = fs::File::open(&keys).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    let output = command.args(["replay", "-", "--weigh", "bytes", "--capacity", "10"]).stdin(stdin).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));
    assert!(text(&output.stderr).contains("stdin: --weigh bytes takes sizes"), "{output:?}");
    let bytes = ["--weigh", "bytes", "--ttl", "2s", "--metric", "bytes", "--capacity", "10"];
    assert!(run(&[&["compare", &sized][..], &bytes].concat()).status.success());
    // Where rows only look as if nothing were known, that is told and no reason to refuse.
    let looks = written(folder.path(), "looks.csv", "time,key,size,op,ttl\n0,a,1,get,\n1,b,1,get,\n2,a,1,set,\n");
    let output = run(&[&["compare", &looks][..], &bytes].concat());
    let told = text(&output.stderr);
    assert!(
        output.status.success() && told.contains("looks: --metric bytes takes sizes; its sizes are all 1"),
        "{told}"
    );
    assert!(told.contains("looks: --ttl takes times; its times rise by a second from row to row"), "{told}");
}

#[test]
fn what_is_known_to_fail_is_told_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "file", "mine");
    let nowhere = folder.path().join("nowhere.csv");
    let nowhere = nowhere.to_str().unwrap();
    let below = format!("{file}/report");
    // Long enough that whoever waited for its end would notice.
    let long = "gen:zipf:requests=4_000_000_000/keys=2000";
    let bad = written(folder.path(), "bad.csv", "when,what\n1,2\n");
    for command in ["replay", "compare", "curve", "predictions", "stats"] {
        refused(&[command, long, nowhere], 1, "nowhere.csv");
        refused(&[command, long, &bad], 1, "bad.csv");
    }
    refused(&["freshness", "changes:poisson", nowhere], 1, "nowhere.csv");
    for report in [&file, &below] {
        for command in ["replay", "compare"] {
            refused(&[command, long, "--report", report], 1, report);
        }
        refused(&["freshness", "changes:poisson", "--report", report], 1, report);
        refused(&["train", long, "--out", report], 1, report);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["bad.csv", "file"]);
}

#[test]
fn what_the_command_line_is_not_to_blame_for_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let empty = written(folder.path(), "empty.csv", "time,key,size,op,ttl\n");
    let gone = written(folder.path(), "gone.csv", "time,key,size,op,ttl\n1,2,3,delete,\n");
    for trace in [&empty, &gone] {
        for command in ["replay", "compare", "predictions"] {
            refused(&[command, trace, "--capacity", "1%"], 1, "without keys");
        }
        refused(&["replay", trace, "--arms", "clock,lru", "--capacity", "1%"], 1, "without keys");
        refused(&["replay", trace, "--arms", "clock,lru", "--capacity", "1%", "--shards", "65"], 1, "without keys");
    }
    let reads = written(folder.path(), "reads.csv", "time,key,size,op,ttl\n1,2,3,get,\n");
    for trace in [&reads, &empty, TRACE] {
        refused(&["freshness", trace], 1, "sets or deletes");
        refused(&["freshness", trace, "--arms", "ttl:5m,ttl:6m"], 1, "sets or deletes");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    refused(&["serve", "127.0.0.1:1", "--listen", &at], 1, &at);
    refused(&["demo", "--serve", &at, "--remote-delay", "0s"], 1, &at);
    refused(&["demo", "--metrics", &at, "--remote-delay", "0s"], 1, &at);
}

#[test]
fn a_sample_too_small_tells_nothing_and_says_so() {
    refused(&["curve", TRACE, "--sample", "0.0001"], 2, "take at least 0.0338");
    // 64 objects at 1 of 200 keys are a third of one; LRU's exact curve has them.
    let large = "gen:zipf:requests=60_000/keys=40_000/seed=9";
    let output = run(&["curve", large, "--sample", "0.005", "--points", "5"]);
    let told = text(&output.stdout);
    let smallest = told.lines().find(|line| line.starts_with("64 ") || line.trim_start().starts_with("64 ")).unwrap();
    assert_eq!(smallest.split_whitespace().skip(2).collect::<Vec<_>>(), ["-", "-"], "{told}");
    assert!(told.contains("the sample is too small"), "{told}");
    let output = run(&["curve", large, "--sample", "0.005", "--points", "5", "--json"]);
    let points =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["points"].as_array().unwrap().len();
    assert_eq!(text(&output.stdout).lines().map(points).collect::<Vec<_>>(), [5, 4, 4]);
    assert!(!text(&run(&["curve", TRACE, "--sample", "0.5"]).stdout).contains("too small"));
}

#[test]
fn sizes_that_were_raised_are_named() {
    let raised = "0.1%, 1%: raised to 64, for a share is at least 64 objects.";
    let told = text(&run(&["replay", TRACE, "--policy", "lru", "--capacity", "0.1%,1%,10%"]).stdout);
    assert!(told.contains(raised), "{told}");
    let told = text(&run(&["compare", TRACE, "--policy", "lru,fifo", "--capacity", "0.1%,1%,10%"]).stdout);
    assert!(told.contains(raised) && told.contains("compared once: 1% as 0.1%."), "{told}");
    let told = text(&run(&["predictions", TRACE, "--capacity", "1%"]).stdout);
    assert!(told.contains("1%: raised to 64"), "{told}");
    // 64 of 6,400 is what was asked for.
    let told =
        text(&run(&["replay", "gen:zipf:requests=100_000/keys=2000", "--policy", "lru", "--capacity", "10%"]).stdout);
    assert!(!told.contains("raised"), "{told}");
}

#[test]
fn help_fits_a_terminal_and_prices_are_prices() {
    for command in [
        "demo",
        "replay",
        "compare",
        "curve",
        "train",
        "predictions",
        "explain",
        "stats",
        "freshness",
        "convert",
        "serve",
        "top",
    ] {
        let help = text(&run(&[command, "--help"]).stdout);
        let longest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(longest.chars().count() <= 100, "{command}: {longest}");
        // A line of an example that is wrapped could not be copied.
        let (_, examples) = help.split_once("Examples:").unwrap_or_default();
        let examples = examples.lines().take_while(|line| !line.starts_with("Exit status"));
        for line in examples.skip(1).take_while(|line| !line.is_empty()) {
            assert!(["  larder ", "  zcat "].iter().any(|start| line.starts_with(start)), "{command}: {line}");
        }
        if let Some((_, prices)) = help.split_once("\nPrices:\n") {
            let section: Vec<&str> =
                prices.lines().take_while(|line| line.is_empty() || line.starts_with(' ')).collect();
            let options: Vec<&&str> = section.iter().filter(|line| line.trim_start().starts_with("--")).collect();
            assert!(
                options.len() == 2 && options.iter().all(|option| option.contains("--price-")),
                "{command}: {section:?}"
            );
        }
    }
}
