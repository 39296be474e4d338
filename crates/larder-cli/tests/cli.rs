//! The contract scripts depend on: exit codes, JSON keys, what goes to which stream.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const TRACE: &str = "gen:zipf:requests=20_000/keys=2000/seed=9";

fn larder(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).stdin(Stdio::null()).env_remove("LARDER_LOG").env_remove("LARDER_SECRET");
    command
}

fn run(args: &[&str]) -> Output {
    larder(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The JSON lines of a run that succeeded in silence.
fn records(args: &[&str]) -> Vec<Value> {
    let output = run(args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "stderr is silent where it is no terminal");
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn csv(folder: &Path) -> String {
    let path = folder.join("small.csv");
    let mut rows = String::from("time,key,size,op,ttl\n");
    for row in 0..500 {
        let op = ["get", "get", "set", "get", "delete"][row % 5];
        rows += &format!("{row},{},{},{op},\n", row * row % 97, 100 + row % 7);
    }
    fs::write(&path, rows).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn json_has_the_keys_scripts_depend_on_in_order() {
    let output = run(&["replay", TRACE, "--policy", "lru,s3fifo", "--capacity", "1%,10%,300", "--json"]);
    let stdout = text(&output.stdout);
    assert_eq!(stdout.lines().count(), 6);
    let keys = [
        "trace",
        "policy",
        "capacity",
        "capacity_spec",
        "requests",
        "gets",
        "hits",
        "misses",
        "miss_ratio",
        "byte_miss_ratio",
        "evictions",
        "seconds",
        "requests_per_second",
        "metadata_bytes",
    ];
    for line in stdout.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value.as_object().unwrap().len(), keys.len());
        let places: Vec<_> = keys.iter().map(|key| line.find(&format!("\"{key}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{line}");
        assert_eq!(value["hits"].as_u64().unwrap() + value["misses"].as_u64().unwrap(), 20_000);
        let ratio = value["misses"].as_f64().unwrap() / value["requests"].as_f64().unwrap();
        assert_eq!(value["miss_ratio"].as_f64().unwrap(), ratio);
    }
    let cells = records(&["replay", TRACE, "--policy", "lru,s3fifo", "--capacity", "1%,300", "--json"]);
    let order: Vec<_> = cells.iter().map(|cell| (cell["policy"].clone(), cell["capacity_spec"].clone())).collect();
    assert_eq!(
        order,
        [("lru", "1%"), ("lru", "300"), ("s3fifo", "1%"), ("s3fifo", "300")].map(|(p, c)| (p.into(), c.into()))
    );
}

#[test]
fn names_lose_folders_and_endings() {
    let folder = tempfile::tempdir().unwrap();
    let path = csv(folder.path());
    assert_eq!(records(&["replay", &path, "--json", "--capacity", "10", "--policy", "lru"])[0]["trace"], "small");
}

#[test]
fn gets_only_leaves_sets_out_of_the_ratios() {
    let folder = tempfile::tempdir().unwrap();
    let path = csv(folder.path());
    let base = ["replay", &path, "--json", "--capacity", "50", "--policy", "lru"];
    let all = &records(&base)[0];
    let gets = &records(&[&base[..], &["--gets-only"]].concat())[0];
    assert_eq!((all["requests"].as_u64(), all["gets"].as_u64()), (Some(400), Some(300)));
    assert_eq!((gets["requests"].as_u64(), gets["gets"].as_u64()), (Some(300), Some(300)));
    assert_eq!(all["evictions"], gets["evictions"], "sets take effect either way");
}

#[test]
fn the_seed_and_the_threads_do_not_change_what_they_should_not() {
    let timeless = |threads: &str, seed: &str| {
        let args = [
            "replay",
            TRACE,
            "--json",
            "--policy",
            "random,lru",
            "--capacity",
            "5%",
            "--threads",
            threads,
            "--seed",
            seed,
        ];
        let mut cells = records(&args);
        for cell in &mut cells {
            let cell = cell.as_object_mut().unwrap();
            cell.remove("seconds");
            cell.remove("requests_per_second");
        }
        cells
    };
    let one = timeless("1", "1");
    assert_eq!(one, timeless("4", "1"));
    let other = timeless("1", "2");
    assert_ne!(one[0]["misses"], other[0]["misses"], "random depends on the seed");
    assert_eq!(one[1], other[1], "lru does not");
}

#[test]
fn stdin_is_read_once_or_twice() {
    let folder = tempfile::tempdir().unwrap();
    let content = fs::read(csv(folder.path())).unwrap();
    for capacity in ["20", "10%"] {
        let mut child = larder(&["replay", "-", "--json", "--policy", "lru", "--capacity", capacity])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&content).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let cell: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((cell["trace"].as_str(), cell["requests"].as_u64()), (Some("stdin"), Some(400)));
    }
}

#[test]
fn bad_usage_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = csv(folder.path());
    for (args, says) in [
        (vec!["replay"], "TRACE"),
        (vec!["replay", TRACE, "--policy", "nosuch"], "s3fifo"),
        (vec!["replay", TRACE, "--policy", "s3fifo:nosuch=1"], "small"),
        (vec!["replay", TRACE, "--capacity", "lots"], "lots"),
        (vec!["replay", TRACE, "--capacity", "64MiB"], "--weigh bytes"),
        (vec!["replay", TRACE, "--weigh", "stones"], "objects"),
        (vec!["replay", TRACE, "--ttl", "soon"], "60s"),
        (vec!["replay", "gen:nosuch"], "zipf"),
        (vec!["replay", TRACE, "--format", "nosuch"], "csv"),
        (vec!["curve", TRACE, "--sample", "2"], "at most 1"),
        (vec!["convert", &path, &path], "onto itself"),
        (vec!["convert", &path, "-", "--to", "csv", "--hash-keys"], "--secret"),
        (vec!["compare", TRACE, TRACE], "rename"),
        (vec!["nosuch"], "unrecognized"),
    ] {
        let output = run(&args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(says), "{args:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
    }
}

#[test]
fn failure_ends_with_1_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.csv");
    fs::write(&broken, "time,key,size,op,ttl\n1,2,3,get,\nnonsense\n").unwrap();
    let occupied = folder.path().join("occupied");
    fs::write(&occupied, "not a folder").unwrap();
    let broken = broken.to_str().unwrap();
    for (args, says) in [
        (vec!["replay", "/no/such/trace.csv"], "/no/such/trace.csv"),
        (vec!["replay", broken], "line 3"),
        (vec!["stats", broken], "line 3"),
        (vec!["replay", TRACE, "--report", occupied.to_str().unwrap()], "occupied"),
    ] {
        let output = run(&args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(says), "{args:?}: {stderr}");
    }
    let skipping = run(&["replay", broken, "--skip-bad", "1", "--capacity", "10", "--json"]);
    assert!(skipping.status.success());
    assert!(text(&skipping.stderr).contains("bad rows"));
    for command in [&["stats"][..], &["curve"], &["explain", "--capacity", "1", "--key", "2"]] {
        let output = run(&[command, &[broken, "--skip-bad", "1"]].concat());
        assert!(text(&output.stderr).contains("passed over bad rows"), "{command:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    // More output than a pipe holds.
    let sizes: Vec<String> = (1..=2000).map(|size| size.to_string()).collect();
    for args in [
        &["replay", "gen:zipf:requests=100/keys=10", "--json", "--capacity", &sizes.join(",")][..],
        &["convert", "gen:zipf:requests=100_000", "-", "--to", "csv"],
    ] {
        let mut child = larder(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {:?}", output.status);
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn compare_prints_a_table_and_says_how_it_was_made() {
    let output = run(&["compare", TRACE, "--policy", "fifo,lru,s3fifo,belady", "--capacity", "5%,10%", "--seed", "3"]);
    let stdout = text(&output.stdout);
    let first = stdout.lines().next().unwrap();
    for part in ["larder compare", "seed 3", "20,000 requests"] {
        assert!(first.contains(part), "{first}");
    }
    for part in ["vs LRU", "gap closed", "s3fifo", "belady"] {
        assert!(stdout.contains(part), "{part}");
    }
    let markdown = run(&["compare", TRACE, "--policy", "fifo,lru", "--capacity", "5%", "--markdown"]);
    assert!(text(&markdown.stdout).lines().any(|line| line.starts_with("|--") || line.starts_with("| ---")));
    let bound = |more: &[&str]| {
        let base = ["compare", TRACE, "--policy", "lru,belady", "--capacity", "5%"];
        text(&run(&[&base[..], more].concat()).stdout).contains("it is no bound")
    };
    assert!(bound(&["--ttl", "3s"]) && !bound(&[]));
    let json = records(&["compare", TRACE, "--policy", "lru,belady", "--capacity", "5%", "--json"]);
    assert_eq!((json.len(), json[1]["gap_closed"].as_f64()), (2, Some(1.0)));
}

#[test]
fn curve_and_stats_print_for_people_and_programs() {
    let curves = records(&["curve", TRACE, "--policy", "lru,s3fifo", "--sample", "0.5", "--points", "5", "--json"]);
    assert_eq!(curves.len(), 3);
    assert_eq!(curves[0]["exact"], true);
    assert!(curves[1]["mean_absolute_error"].as_f64().unwrap() < 0.2);
    assert!(text(&run(&["curve", TRACE, "--sample", "0.5"]).stdout).contains('±'));
    let stats = &records(&["stats", TRACE, "--json"])[0];
    assert_eq!(stats["requests"], 20_000);
    assert!(text(&run(&["stats", TRACE]).stdout).contains("Zipf exponent"));
}

#[test]
fn conversion_keeps_what_the_format_carries() {
    let folder = tempfile::tempdir().unwrap();
    let path = csv(folder.path());
    let there = folder.path().join("there.csv.zst");
    assert!(run(&["convert", &path, there.to_str().unwrap()]).status.success());
    let back = run(&["convert", there.to_str().unwrap(), "-", "--to", "csv"]);
    let cells =
        |input: &str| records(&["replay", input, "--json", "--policy", "lru", "--capacity", "20"])[0]["misses"].clone();
    assert_eq!(text(&back.stdout).lines().count(), 501);
    assert_eq!(cells(&path), cells(there.to_str().unwrap()));
    let hidden = folder.path().join("hidden.csv");
    assert!(run(&["convert", &path, hidden.to_str().unwrap(), "--hash-keys", "--secret", "s"]).status.success());
    assert_eq!(cells(&path), cells(hidden.to_str().unwrap()), "hidden keys are as many");
    assert_ne!(fs::read_to_string(&path).unwrap(), fs::read_to_string(&hidden).unwrap());
}

#[test]
fn lists_name_every_policy_and_format() {
    let policies = text(&run(&["policies"]).stdout);
    let help = text(&run(&["replay", "--help"]).stdout);
    for entry in larder_policy::eviction::REGISTRY {
        assert!(policies.contains(entry.name) && help.contains(entry.name), "{}", entry.name);
    }
    let formats = text(&run(&["formats"]).stdout);
    assert!(larder_trace::FORMATS.iter().all(|format| formats.contains(format.name)));
}

/// Ten keys read every ten seconds and written now and then.
fn changing(folder: &Path) -> String {
    let path = folder.join("changing.csv");
    let mut rows = String::from("time,key,size,op,ttl\n");
    for row in 0..4000 {
        let (key, op) = (row % 10, if row % 97 == 0 { "set" } else { "get" });
        rows += &format!("{row},{key},100,{op},\n");
    }
    fs::write(&path, rows).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn freshness_prints_a_record_a_policy_and_seed() {
    let folder = tempfile::tempdir().unwrap();
    let trace = changing(folder.path());
    let records = records(&["freshness", &trace, "--policy", "learned,static", "--seed", "1,2", "--json"]);
    assert_eq!(records.len(), 4);
    let keys = [
        "trace",
        "policy",
        "objective",
        "grace_seconds",
        "reads",
        "stale_reads",
        "stale_rate",
        "stale_rate_low",
        "stale_rate_high",
        "worst_window_stale_rate",
        "stale_age_p50",
        "stale_age_p999",
        "loads",
        "audits",
        "origin_loads_per_read",
        "hit_ratio",
        "seconds",
    ];
    for record in &records {
        assert!(keys.iter().all(|key| record.get(key).is_some()), "{record}");
        let is_engine = record["policy"] == "learned";
        assert_eq!(record["stale_rate_low"].is_number(), is_engine, "baselines publish no interval");
        assert_eq!(record["objective"], 0.01);
        assert_eq!(record["reads"], 3958);
    }
}

#[test]
fn freshness_writes_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let trace = changing(folder.path());
    let report = folder.path().join("report");
    let output = run(&["freshness", &trace, "--policy", "learned,static,alex", "--report", report.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = fs::read_to_string(report.join("freshness.html")).unwrap();
    assert!(page.contains("Loads by staleness") && page.contains("Lifetimes that learned chose"));
    assert!(fs::read_to_string(report.join("pareto.svg")).unwrap().starts_with("<svg"));
    let read = |name: &str| fs::read_to_string(report.join(name)).unwrap();
    let json = |name: &str| serde_json::from_str::<Vec<Value>>(&read(name)).unwrap();
    let runs = json("freshness.json");
    assert_eq!((runs.len(), json("sweep.json").len()), (3, 18), "the sweep has six objectives");
    // The windows of a policy sum up to its record.
    let windows = read("windows.csv");
    assert!(windows.starts_with("trace,policy,seed,window,reads,stale_reads\n"));
    for run in &runs {
        let own = windows.lines().filter(|row| row.split(',').nth(1) == run["policy"].as_str());
        let sum =
            |column: usize| own.clone().map(|row| row.split(',').nth(column).unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!((Some(sum(4)), Some(sum(5))), (run["reads"].as_u64(), run["stale_reads"].as_u64()));
    }
    let lifetimes = read("lifetimes.csv");
    assert!(lifetimes.starts_with("trace,policy,seed,lifetime_seconds,change_seconds\n"));
    assert!(lifetimes.lines().count() > 10 && lifetimes.lines().skip(1).all(|row| row.contains(",learned,")));
}

#[test]
fn freshness_refuses_what_it_cannot_do() {
    for (args, advice) in [
        (&["freshness", TRACE, "--objective", "2"][..], "above 0 and below 1"),
        (&["freshness", TRACE, "--policy", "ttl"], "there are: learned"),
        (&["freshness", TRACE, "--reads", "zipf:0.9"], "zipf:0.9:30"),
        (&["freshness", TRACE, "--notices", "2"], "from 0 to 1"),
        (&["freshness", "changes:none"], "poisson"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(advice), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn explain_says_what_adds_up_and_what_is_done() {
    let told = &records(&["explain", TRACE, "--key", "17", "--capacity", "100", "--json"])[0];
    let adds: Vec<&Value> = told["contributions"].as_array().unwrap().iter().map(|term| &term["adds"]).collect();
    assert_eq!(adds.len(), 23);
    for span in 0..4 {
        let sum: f64 = adds.iter().map(|add| add[span].as_f64().unwrap()).sum();
        let size: f64 = adds.iter().map(|add| add[span].as_f64().unwrap().abs()).sum();
        assert!((sum - told["logits"][span].as_f64().unwrap()).abs() < 1e-6 * size, "{told}");
    }
    let resident = told["resident"].as_bool().unwrap();
    assert_eq!(resident, told["done"]["result"] == "hit");
    let decisions = if resident { ["kept", "evicted"] } else { ["admitted", "refused"] };
    assert!(decisions.contains(&told["decision"].as_str().unwrap()), "{told}");
    assert!(
        told["ranked"]["rank"].as_u64() <= told["ranked"]["of"].as_u64()
            && told["ranked"]["runner_up"]["key"].is_string()
    );
    assert!(told["standing"]["trials"].as_f64().unwrap() > 0.0 && told["standing"]["classic_misses"].is_number());

    // The same in words, at a request that need not be of the key.
    let output = run(&["explain", TRACE, "--key", "17", "--capacity", "100", "--at", "15000"]);
    let page = text(&output.stdout);
    assert!(page.contains("key 17 before request 15,000, learned with 100 objects"), "{page}");
    for word in ["decision", "rank", "runner-up", "the guard sees", "age × gap1", "intercept", "logit", "█"] {
        assert!(page.contains(word), "{word}: {page}");
    }
}

#[test]
fn explain_refuses_what_it_cannot_do() {
    for (args, advice) in [
        (&["explain", TRACE, "--key", "nobody"][..], "there is no key 'nobody' in the trace; there are: "),
        (&["explain", TRACE, "--key", "17", "--at", "20001"], "there is no request 20001: the trace has 20000"),
        (&["explain", TRACE, "--key", "17", "--policy", "lru"], "policy lru cannot explain itself"),
        (&["explain", TRACE, "--key", "17", "--policy", "belady"], "policy belady cannot explain itself"),
        (&["explain", TRACE, "--key", "17", "--at", "0"], "--at"),
        (&["explain", TRACE, "--key", "17", "--capacity", "0"], "must be above 0"),
        (&["explain", TRACE], "--key"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(advice), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn arms_are_told_next_to_the_truth() {
    let args = ["replay", TRACE, "--arms", "clock,lru", "--capacity", "5%", "--shards", "8", "--slices", "20"];
    let found = records(&[&args[..], &["--json"]].concat());
    let [record] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&record["treatment"], &record["control"]), (&"clock".into(), &"lru".into()));
    assert_eq!(record["effects"].as_array().unwrap().len(), 3);
    assert!(record["refusals"].as_array().unwrap().iter().any(|reason| reason.as_str().unwrap().contains("shards")));
    let table = text(&run(&args).stdout);
    assert!(table.contains("clock against lru") && table.contains("No conclusion: "), "{table}");

    let rollout =
        ["replay", TRACE, "--arms", "clock,lru", "--rollout", "--capacity", "5%", "--shards", "16", "--slices", "20"];
    let found = records(&[&rollout[..], &["--json"]].concat());
    assert_eq!(found[0]["slices"], 20);
    assert_eq!(found[0]["events"][0]["event"], "ramped");
    assert!(text(&run(&rollout).stdout).contains("clock in place of lru"));

    assert!(found[0].get("looks").is_none() && found[0].get("course").is_none());
    let found = records(&[&args[..], &["--json", "--details"]].concat());
    assert_eq!(found[0]["by_shard"].as_array().unwrap().len(), 8);
    assert_eq!(found[0]["looks"].as_array().unwrap().len() as u64, found[0]["slices"].as_u64().unwrap());
    let found = records(&[&rollout[..], &["--json", "--details"]].concat());
    assert_eq!(found[0]["course"].as_array().unwrap().len(), 20);

    for wrong in [
        &["--arms", "lru"][..],
        &["--arms", "lru,fifo", "--policy", "lru"],
        &["--arms", "lru,belady"],
        &["--rollout"],
        &["--arms", "lru,fifo", "--details"],
    ] {
        assert_eq!(run(&[&["replay", TRACE][..], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn arms_of_lifetimes_are_told_next_to_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let trace = changing(folder.path());
    let args =
        ["freshness", &trace, "--arms", "objective:5%,ttl:40s", "--shards", "4", "--slices", "20", "--seed", "1,2"];
    let found = records(&[&args[..], &["--json"]].concat());
    assert_eq!(found.len(), 2);
    let keys = [
        "trace",
        "treatment",
        "control",
        "seed",
        "fresh_enough",
        "grace_seconds",
        "capacity",
        "shards",
        "reads",
        "slices",
        "treatment_arm",
        "control_arm",
        "loads",
        "winner",
        "first_won",
        "conclusion",
        "open",
        "refusals",
    ];
    for record in &found {
        let told: BTreeSet<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(told, BTreeSet::from(keys), "{record}");
        assert_eq!((&record["treatment"], &record["control"]), (&"objective:5%".into(), &"ttl:40s".into()));
        assert_eq!(
            (&record["fresh_enough"], &record["shards"], &record["slices"]),
            (&0.06.into(), &4.into(), &16.into())
        );
        for arm in ["treatment_arm", "control_arm"] {
            let arm = record[arm].as_object().unwrap();
            for key in
                ["reads", "loads_per_read", "stale_rate", "stale_within", "true_stale_rate", "true_loads_per_read"]
            {
                assert!(arm.contains_key(key), "{key}: {arm:?}");
            }
        }
        for key in ["change", "p_more", "p_less", "truth"] {
            assert!(!record["loads"][key].is_null(), "{key}: {record}");
        }
        // Permutations of four shards are never so sure.
        assert!(record["loads"].as_object().unwrap()["within"].is_null(), "{record}");
        assert!(record["refusals"][0].as_str().unwrap().contains("2 shards, and needs 8"), "{record}");
        assert!(record["winner"].is_null() && record["open"].is_null(), "{record}");
        // Of values that change every 970 s, one that lives for 40 s is read four times: one load and three hits.
        assert!((record["control_arm"]["true_loads_per_read"].as_f64().unwrap() - 0.25).abs() < 0.02, "{record}");
    }
    let table = text(&run(&args).stdout);
    assert!(
        table.contains("objective:5% against ttl:40s in 4 shards, seed 1") && table.contains("No conclusion: "),
        "{table}"
    );
    assert!(table.contains("fresh enough up to 6.00%"), "{table}");

    for (wrong, advice) in [
        (&["--arms", "ttl:5m"][..], "two lifetimes"),
        (&["--arms", "ttl:5m,learned"], "objective:SHARE, ttl:TIME, age:SHARE"),
        (&["--arms", "ttl:5,ttl:6m"], "time unit"),
        (&["--arms", "age:20,ttl:6m"], "above 0 and below 1"),
        (&["--arms", "objective:1%,ttl:6m", "--policy", "alex"], "cannot be used with"),
        (&["--arms", "objective:1%,ttl:6m", "--shards", "1"], "two shards"),
        (&["--arms", "objective:1%,ttl:6m", "--slices", "90000"], "fewer --slices"),
        (&["--shards", "64"], "--arms"),
    ] {
        let output = run(&[&["freshness", &trace][..], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(text(&output.stderr).contains(advice), "{wrong:?}: {}", text(&output.stderr));
    }
}

#[test]
fn prices_tell_the_cheapest_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hour.csv");
    // An hour of 128 keys in turn, a MiB each: LRU misses all 1201 reads with room for 64, and the first 128 with room for all.
    let rows: String = (0..=1200).map(|row| format!("{},{},1048576\n", row * 3, row % 128)).collect();
    fs::write(&path, format!("time,key,size\n{rows}")).unwrap();
    let path = path.to_str().unwrap();
    let prices = ["--price-gib-hour", "8", "--price-load", "0.001"];
    let priced = |arguments: &[&'static str]| -> Vec<String> {
        let all = arguments[..1].iter().copied().chain([path]).chain(arguments[1..].iter().copied()).chain(prices);
        all.map(str::to_owned).collect()
    };
    let of = |arguments: &[String]| records(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    // 1/16 GiB and 1201 loads; 1/8 GiB and 128 loads.
    let costs = [[0.5, 1.201, 1.701], [1.0, 0.128, 1.128]];
    let amounts = |cost: &Value| ["memory", "loads", "total"].map(|part| cost[part].as_f64().unwrap());
    let close = |one: [f64; 3], other: [f64; 3]| one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-9);
    let compared = of(&priced(&["compare", "--policy", "lru", "--capacity", "64,128", "--json"]));
    for (record, cost) in compared.iter().zip(costs) {
        assert!(close(amounts(&record["hourly_cost"]), cost), "{record}");
    }
    let curves = of(&priced(&["curve", "--policy", "lru", "--points", "2", "--json"]));
    for (told, cost) in curves[0]["hourly_costs"].as_array().unwrap().iter().zip(costs) {
        assert!(close(amounts(told), cost), "{told}");
    }
    for arguments in [
        priced(&["compare", "--policy", "lru", "--capacity", "64,128"]),
        priced(&["curve", "--policy", "lru", "--points", "2"]),
    ] {
        let output = larder(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
        let shown = text(&output.stdout);
        assert!(shown.contains("what an hour costs") || shown.contains("What an hour costs"), "{shown}");
        assert!(shown.contains("*1.128") && shown.contains("1.701") && !shown.contains("*1.701"), "{shown}");
    }
    // Who gives no prices is told none, and a trace without times has no hours.
    let free = records(&["compare", TRACE, "--policy", "lru", "--capacity", "64", "--json"]);
    assert!(free[0].get("hourly_cost").is_none());
    let untimed = folder.path().join("keys.csv");
    fs::write(&untimed, "key\na\nb\na\n").unwrap();
    let output =
        run(&["compare", untimed.to_str().unwrap(), "--policy", "lru", "--capacity", "64", "--price-load", "1"]);
    assert!(
        !output.status.success() && text(&output.stderr).contains("--price-load takes times"),
        "{}",
        text(&output.stderr)
    );
    let output = run(&["curve", TRACE, "--price-load", "-1"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("at least 0"));
}
