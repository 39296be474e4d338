//! What a trace lacks, or may be misunderstood in, is told; and so is what was asked for and cannot be.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

const TRACE: &str = "gen:zipf:requests=20_000/keys=2000/seed=9";

fn larder(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).stdin(Stdio::null()).env_remove("LARDER_LOG");
    command
}

/// The exit code, and what was said on stdout and stderr.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = larder(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A file of a folder that goes in the end.
struct File {
    _folder: tempfile::TempDir,
    path: String,
}

impl File {
    fn new(name: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

#[test]
fn an_experiment_is_refused_rather_than_not_run() {
    let pair = ["replay", TRACE, "-c", "5%", "-p", "clock,lru"];
    let report = ["replay", TRACE, "-c", "5%", "--report", "nowhere"];
    for options in [
        &["--rollout"][..],
        &["--standing"],
        &["--ghosts", "0.5"],
        &["--shards", "8"],
        &["--slices", "9"],
        &["--details", "--json"],
    ] {
        for base in [&pair[..], &report] {
            let (code, out, err) = run(&[base, options].concat());
            assert!(code == 2 && out.is_empty() && err.contains("cannot be used with"), "{base:?} {options:?}: {err}");
        }
    }
    for options in [["--shards", "8"], ["--slices", "9"]] {
        let (code, _, err) = run(&[&["freshness", "changes:poisson", "--policy", "static"][..], &options].concat());
        assert!(code == 2 && err.contains("cannot be used with"), "{options:?}: {err}");
    }
    let (code, _, err) = run(&["explain", TRACE, "--key", "1", "--cache", "users"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
}

#[test]
fn a_model_that_no_policy_would_use_is_refused() {
    let (code, _, err) = run(&["replay", TRACE, "--model", "ours", "-c", "1%"]);
    assert!(code == 2 && err.contains("--model is for policies that learn"), "{err}");
}

#[test]
fn times_that_go_back_are_told_and_priced_right() {
    let rows = |order: &mut dyn Iterator<Item = u64>| -> String {
        let rows = order.map(|row| format!("{},{},100\n", row * 100, row % 300));
        format!("time,key,size\n{}", rows.collect::<String>())
    };
    let (sorted, turned) = (File::new("a.csv", &rows(&mut (0..3000))), File::new("a.csv", &rows(&mut (0..3000).rev())));
    let price = |file: &File| {
        run(&["curve", &file.path, "--price-load", "0.001", "--points", "2", "--policy", "lru", "--json"])
    };
    let ((_, cheap, silent), (code, same, told)) = (price(&sorted), price(&turned));
    assert_eq!((code, &*silent), (0, ""), "{told}");
    // Keys in turn miss alike in either order.
    assert_eq!(json(&cheap)["hourly_costs"], json(&same)["hourly_costs"]);
    assert!(told.contains("times go back") && told.contains("sort the trace"), "{told}");
    let (_, out, told) = run(&["stats", &turned.path, "--json"]);
    assert_eq!(json(&out)["seconds"].as_f64(), Some(299_900.0));
    assert!(told.contains("times go back"), "{told}");
}

#[test]
fn lifetimes_that_no_row_has_and_sizes_that_most_lack_are_told() {
    let file = File::new("a.csv", "time,key,size,op,ttl\n1,1,5,get,\n9,2,6,get,\n");
    let (code, _, err) = run(&["replay", &file.path, "-c", "10", "--ttl", "given"]);
    assert!(code == 0 && err.contains("no row has a lifetime"), "{err}");
    let given = File::new("a.csv", "time,key,size,op,ttl\n1,1,5,get,30\n9,2,6,get,\n");
    assert_eq!(run(&["replay", &given.path, "-c", "10", "--ttl", "given"]).2, "");

    let monitor = |gets: &str| {
        let set = "1.5 [0 a:1] \"SET\" \"k\" \"value\"\n";
        File::new("a.monitor", &format!("{set}{}", format!("1.6 [0 a:1] \"GET\" \"{gets}\"\n").repeat(9)))
    };
    for (key, doubt) in [("k", false), ("other", true)] {
        let (code, _, err) = run(&["replay", &monitor(key).path, "-c", "100", "--weigh", "bytes"]);
        assert!(code == 0 && err.contains("it was guessed") == doubt, "{key}: {err}");
    }
}

#[test]
fn numbers_that_no_request_holds_are_told() {
    let told = |row: &str| {
        let file = File::new("a.csv", &format!("time,key,size,op,ttl\n5,1,5,get,\n9,2,{row}\n"));
        let commands = [
            &["stats", &file.path][..],
            &["replay", &file.path, "-c", "9"],
            &["convert", &file.path, "-", "--to", "csv"],
        ];
        commands.map(|command| run(command).2)
    };
    assert_eq!(told("4294967294,get,60").map(|err| err.contains("4294967295")), [false; 3]);
    for row in ["4294967296,get,60", "7,get,99999999999"] {
        for err in told(row) {
            assert!(err.contains("beyond 4294967295") && err.contains("rows=1 of=2"), "{err}");
        }
    }
}

#[test]
fn what_columns_are_taken_for_is_told() {
    let file = File::new("a.csv", "ts,id,url\n1,5,/a\n2,6,/b\n");
    for command in
        [&["replay", &file.path, "-c", "5"][..], &["stats", &file.path], &["convert", &file.path, "-", "--to", "csv"]]
    {
        let output = larder(command).env("LARDER_LOG", "info").output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("read as csv: key=id, time=ts (s)"), "{command:?}: {told}");
    }
}

/// Reads of objects whose sizes only sets tell.
#[test]
fn bytes_of_redis_weigh_what_was_set() {
    let sets = (0..50).map(|key| format!("{key}.0 [0 a:1] \"SET\" \"k{key}\" \"{}\"\n", "v".repeat(1000)));
    let gets = (50..2050).map(|row| format!("{row}.0 [0 a:1] \"GET\" \"k{}\"\n", row % 50));
    let file = File::new("a.monitor", &sets.chain(gets).collect::<String>());
    // Half of them fit, and LRU misses all that come in turn.
    let (_, out, err) =
        run(&["replay", &file.path, "--weigh", "bytes", "-c", "25kB", "-p", "lru", "--gets-only", "--json"]);
    assert_eq!((json(&out)["miss_ratio"].as_f64(), &*err), (Some(1.0), ""));
}

#[test]
fn what_the_first_rows_lack_and_others_have_counts() {
    let head: String = (0..200).map(|row| format!("{row},{},1,get,\n", row % 40)).collect();
    let rest: String = (200..2000).map(|row| format!("{},{},5000,get,\n", row * 2, row % 40)).collect();
    let file = File::new("late.csv", &format!("time,key,size,op,ttl\n{head}{rest}"));
    let prices = ["--price-gib-hour", "1", "--price-load", "1"];
    let (code, _, err) = run(&[&["compare", &file.path, "-c", "20", "-p", "lru"][..], &prices].concat());
    assert_eq!(code, 0, "{err}");
    let stats = json(&run(&["stats", &file.path, "--json"]).1);
    assert_eq!((stats["bytes"].as_u64(), stats["seconds"].as_f64()), (Some(200 + 1800 * 5000), Some(3998.0)));
}

#[test]
fn keys_are_texts_in_json() {
    let file =
        File::new("a.csv", "time,key,size,op,ttl\n1,18446744073709551615,5,get,\n2,18446744073709551615,5,get,\n");
    let key = json(&run(&["stats", &file.path, "--json"]).1)["top"][0]["key"].as_str().unwrap().to_owned();
    assert_eq!(key, u64::MAX.to_string());
    let told = json(&run(&["explain", &file.path, "--key", &key, "-c", "5", "--json"]).1);
    assert_eq!(told["key"], key);
    let (_, lines, _) = run(&["convert", &file.path, "-", "--to", "jsonl"]);
    assert_eq!(json(&lines)["key"], key);
}

#[test]
fn a_size_at_which_nothing_is_predicted_leaves_the_others() {
    let args = ["predictions", TRACE, "-c", "5%,100%", "--json"];
    let (code, out, err) = run(&args);
    assert_eq!((code, out.lines().count()), (0, 3), "{err}");
    assert!(err.contains("nothing had to leave"), "{err}");
    assert_eq!(run(&["predictions", TRACE, "-c", "100%"]).0, 2);
}

#[test]
fn changes_made_by_rule_are_read() {
    let (_, out, _) = run(&["freshness", "changes:ageing", "--policy", "static"]);
    assert!(out.contains("(zipf:0.9:30)"), "{out}");
    let (code, _, err) = run(&["freshness", "changes:ageing", "--policy", "static", "--reads", "zipf:0.9:1000000"]);
    assert!(code == 2 && err.contains("held in memory"), "{err}");
}

#[test]
fn a_trace_without_keys_has_no_curve() {
    let file = File::new("a.csv", "time,key,size,op,ttl\n1,1,5,delete,\n");
    let (code, out, err) = run(&["curve", &file.path]);
    assert!(code == 1 && out.is_empty() && err.contains("no key that a cache may hold"), "{code}: {err}");
    let (_, _, err) = run(&["explain", &file.path, "--key", "x", "-c", "5"]);
    assert!(err.contains("there are: 1"), "{err}");
}

/// Whoever closed stderr is told nothing, and what was asked for is done.
#[cfg(unix)]
#[test]
fn a_closed_stderr_is_no_failure() {
    let file = File::new("a.csv", "time,key,size,op,ttl\n1,1,5,get,\nnonsense\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut writer = writer;
    assert!(writer.write_all(b"x").is_err());
    let output = larder(&["stats", &file.path, "--skip-bad", "1"]).stderr(writer).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}
