//! `larder train` and `--model`: what is published, what is refused, and that a model helps.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).stdin(Stdio::null()).env_remove("LARDER_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Popular keys that change all at once, now and then; the seed chooses them.
fn workload(seed: u32) -> String {
    format!("gen:phase:requests=100_000/keys=5000/every=10_000/seed={seed}")
}

fn train(seeds: &[u32], more: &[&str]) -> Output {
    let traces: Vec<String> = seeds.iter().map(|&seed| workload(seed)).collect();
    let options = ["--capacity", "1%,5%", "--examples", "20000"];
    let words =
        ["train"].into_iter().chain(traces.iter().map(String::as_str)).chain(options).chain(more.iter().copied());
    run(&words.collect::<Vec<_>>())
}

fn miss_ratio(trace: &str, policy: &str, more: &[&str]) -> f64 {
    let words = ["replay", trace, "--policy", policy, "--capacity", "1%", "--json"];
    let output = run(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["miss_ratio"].as_f64().unwrap()
}

#[test]
fn a_model_is_published_repeats_itself_and_helps_on_another_seed() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("phase");
    let path = model.to_str().unwrap();
    let output = train(&[1, 2, 3], &["--out", path, "--threads", "2"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let read = |name: &str| fs::read(model.join(name)).unwrap();
    assert!(text(&read("card.md")).starts_with("# Model `phase`"));
    let recipe: toml::Table = text(&read("train.toml")).parse().unwrap();
    assert_eq!(recipe["trace"].as_array().unwrap().len(), 3);
    assert_eq!(recipe["settings"]["examples"].as_integer(), Some(20_000));
    assert!(text(&read("reliability.svg")).contains("with the prior"));
    let held_out = text(&read("held_out.tsv"));
    assert_eq!(held_out.lines().count(), 7, "three traces at two sizes below a header: {held_out}");
    assert!(held_out.contains("/seed=1\t269\t1%\t100000\t0."), "{held_out}");

    // Again, on one thread: the same bytes. With other traces: not.
    let output = train(&[1, 2, 3], &["--check", path, "--threads", "1", "--json"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    the_card_is_told(&output.stdout);
    predictions_are_told(path);
    let output = train(&[1, 2, 4], &["--check", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("model.larder differs from byte"), "{}", text(&output.stderr));

    let trace = workload(99);
    let cold = miss_ratio(&trace, "learned:prior=0", &["--model", path]);
    let with_model = miss_ratio(&trace, "learned", &["--model", path]);
    assert_eq!(cold, miss_ratio(&trace, "learned:prior=0", &[]), "prior=0 is cold whatever the model");
    assert!(with_model < cold, "{with_model} {cold}");
    for command in ["compare", "curve"] {
        let output = run(&[command, &trace, "--policy", "learned", "--model", path, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    damaged(&model);
}

/// What the card says, for programs.
fn the_card_is_told(json: &[u8]) {
    let card: Value = serde_json::from_slice(json).unwrap();
    assert_eq!((card["name"].as_str(), card["refusal"].is_null()), (Some("phase"), true), "{card}");
    assert_eq!(card["importance"].as_array().unwrap().len(), 15);
    let held_out = card["held_out"].as_array().unwrap();
    let (others, later): (Vec<&Value>, Vec<&Value>) = held_out.iter().partition(|cell| cell["on"] == "other traces");
    assert_eq!((others.len(), later.len()), (6, 6), "three traces at two sizes");
    let mean = others.iter().map(|cell| cell["reduction"].as_f64().unwrap()).sum::<f64>() / 6.0;
    assert!(others.iter().all(|cell| cell["shipped"].as_f64().is_some_and(|ratio| ratio < 1.0)), "{others:?}");
    assert!(card["gains"][0]["over_shipped"]["mean"].is_f64());
    assert!((card["gains"][0]["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
}

/// What was predicted, and what happened.
fn predictions_are_told(model: &str) {
    let trace = workload(99);
    let args = ["predictions", &trace, "--capacity", "1%,5%", "--model", model];
    let output = run(&[&args[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let starts: Vec<&str> = records.iter().map(|record| record["start"].as_str().unwrap()).collect();
    assert_eq!(starts, ["cold", "fixed", "served"].repeat(2));
    for record in &records {
        // Bins, spans and every feature's bins are the same examples, cut otherwise.
        let cut = |rows: &[Value]| rows.iter().map(|row| row["examples"].as_u64().unwrap()).sum::<u64>();
        let all = record["examples"].as_u64().unwrap();
        let features = record["features"].as_array().unwrap();
        assert_eq!(cut(record["bins"].as_array().unwrap()), all);
        assert_eq!(cut(record["spans"].as_array().unwrap()), all);
        assert_eq!(cut(features), all * 15);
        let ages = features.iter().filter(|bin| bin["feature"] == "age");
        assert!(ages.map(|bin| bin["least"].as_f64().unwrap()).is_sorted());
    }
    let loss = |at: usize| records[at]["log_loss"].as_f64().unwrap();
    assert!(loss(2) < loss(0), "the model says more than nothing: {} {}", loss(2), loss(0));
    assert_eq!(text(&run(&args).stdout).lines().count(), 9, "a title, a header, six rows and a blank");
    let output = run(&["predictions", &trace, "--capacity", "100%"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("choose a smaller size"), "{}", text(&output.stderr));
}

/// Every damage is refused, by name.
fn damaged(model: &Path) {
    let path = model.join("model.larder");
    let good = fs::read(&path).unwrap();
    let refusal = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let output = run(&["replay", &workload(1), "--policy", "learned", "--model", model.to_str().unwrap()]);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
        let message = text(&output.stderr);
        assert!(message.starts_with(&format!("error: {}: model: ", path.display())), "{message}");
        message
    };
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        refusal(&bytes)
    };
    assert!(flipped(0).contains("not a larder model"));
    for at in [8, 30, good.len() / 2, good.len() - 1] {
        assert!(flipped(at).contains("checksum"), "byte {at}");
    }
    assert!(flipped(18).contains("cut short"), "a length");
    assert!(refusal(&good[..good.len() - 1]).contains("byte"));
    assert!(refusal(b"").contains("cut short"));
    assert!(refusal(&[good.as_slice(), b"x"].concat()).contains("too many"));
    assert!(refusal(&fs::read(model.join("card.md")).unwrap()).contains("not a larder model"));
    fs::remove_file(&path).unwrap();
    let output = run(&["replay", &workload(1), "--policy", "learned", "--model", model.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("model.larder: No such file"), "{}", text(&output.stderr));
}

/// What services recorded, each in a file of its own, trains a model; as Parquet, the same one.
#[cfg(feature = "parquet")]
#[test]
fn recordings_train_a_model_whatever_they_are_written_as() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for day in 1..=3 {
        record(&workload(day), &folder.path().join(format!("day{day}.csv.zst")));
        let (recorded, parquet) = (path(&format!("day{day}.csv.zst")), path(&format!("day{day}.parquet")));
        let output = run(&["convert", &recorded, &parquet]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let train = |ending: &str, out: &str| {
        let days = [1, 2, 3].map(|day| path(&format!("day{day}.{ending}")));
        let out = path(out) + "/recorded";
        let options = ["--capacity", "5%,10%", "--holdout", "trace", "--out", &out, "--json"];
        let words = ["train"].into_iter().chain(days.iter().map(String::as_str)).chain(options);
        let output = run(&words.collect::<Vec<_>>());
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let card: Value = serde_json::from_slice(&output.stdout).unwrap();
        let recipe: toml::Table = fs::read_to_string(out.clone() + "/train.toml").unwrap().parse().unwrap();
        (card, recipe, fs::read(out + "/model.larder").unwrap())
    };
    let (card, recipe, model) = train("parquet", "columns");
    let others = card["held_out"].as_array().unwrap().iter().filter(|cell| cell["on"] == "other traces");
    assert_eq!(others.count(), 6, "each recording is judged by a model of the others, at both sizes");
    let traces = recipe["trace"].as_array().unwrap();
    assert!(traces.iter().all(|trace| trace["rows"].as_integer() == Some(100_000)), "{traces:?}");
    assert_eq!(traces[0]["name"].as_str(), Some("day1.parquet"));
    assert!(train("csv.zst", "rows").2 == model, "the same requests make the same model");
}

/// What a service that answers these requests records.
#[cfg(feature = "parquet")]
fn record(trace: &str, path: &Path) {
    let options = larder::recorder::Options { queue: 1 << 18, ..Default::default() };
    let recorder = larder::recorder::Recorder::create(path, options).unwrap();
    let mut reader = larder_sim::Source::trace(trace, Default::default()).open().unwrap();
    let mut requests = Vec::new();
    while reader.read(&mut requests, 10_000).unwrap() > 0 {}
    for request in &requests {
        let (at, size, op) = (request.at.0, request.size, request.op);
        let event = larder::recorder::Event { key: request.key.into(), at, size, op, ttl: None, cost: request.cost };
        recorder.record(&event);
    }
    assert_eq!(recorder.finish().unwrap().dropped, 0);
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_takes_a_build_that_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, out) = (folder.path().join("day.parquet"), folder.path().join("m"));
    // The first bytes of a Parquet file; what follows is binary.
    fs::write(&trace, b"PAR1\x15\x04\x15\x00\x15\x00").unwrap();
    let output = run(&["train", trace.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("install with --features parquet"), "{}", text(&output.stderr));
}

#[test]
fn a_model_that_does_not_help_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("none");
    // Every key once: nothing is ever used again, and no model can change that.
    let scan = folder.path().join("scan.csv");
    fs::write(&scan, "key\n".to_owned() + &(0..20_000).map(|key| format!("{key}\n")).collect::<String>()).unwrap();
    let output = run(&["train", scan.to_str().unwrap(), "--capacity", "1%", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("not published: the prior does not beat the cold start"),
        "{}",
        text(&output.stderr)
    );
    assert!(!out.exists());
}

#[test]
fn a_trace_that_fills_no_cache_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let few = "gen:zipf:requests=1000/keys=30";
    let args = ["train", &workload(1), few, "--capacity", "5%", "--examples", "2000", "--epochs", "1", "--out"];
    let told = text(&run(&[&args[..], &[out.to_str().unwrap()]].concat()).stderr);
    assert!(told.contains("passed over: nothing had to leave") && !told.contains("no examples"), "{told}");
}

/// Uniform traffic, of which nothing can be learned: the keys drawn anew for each row.
fn noise(seed: u32) -> String {
    format!("gen:zipf:requests=20_000/keys=2000/alpha=0/seed={seed}")
}

#[test]
fn of_one_trace_chance_is_no_gain_but_may_be_published_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("noise");
    let noise = noise(2);
    let args = ["train", &noise, "--capacity", "5%,10%", "--examples", "5000", "--out", out.to_str().unwrap()];
    let output = run(&args);
    let told = text(&output.stderr);
    assert!(text(&output.stdout).contains("(5 seeds)"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("by more than chance") && told.contains("--force"), "{told}");
    assert!(!out.exists());
    let output = run(&[&args[..], &["--force"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("published by force"), "{}", text(&output.stderr));
    let card = fs::read_to_string(out.join("card.md")).unwrap();
    assert!(card.contains("**Published by force**: the prior does not beat the cold start on later time"), "{card}");
}

#[test]
fn what_is_odd_about_a_trace_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, rows: String| fs::write(path(name), rows).unwrap();
    write(
        "deletes.csv",
        "time,key,op\n".to_owned() + &(0..100).map(|key| format!("{key},{key},delete\n")).collect::<String>(),
    );
    // Every other row is an hour before the one above it.
    let row = |at: u32| format!("{},{}\n", at + 3600 * (at % 2), at * 7919 % 3001);
    write("back.csv", "time,key\n".to_owned() + &(0..20_000).map(row).collect::<String>());
    fs::copy(path("back.csv"), path("twin.csv")).unwrap();
    let (back, twin, deletes, out) = (path("back.csv"), path("twin.csv"), path("deletes.csv"), path("model"));
    let train = |traces: &[&str]| {
        let options = ["--capacity", "5%", "--examples", "2000", "--epochs", "1", "--out", &out];
        let output = run(&[&["train"], traces, &options].concat());
        (output.status.code(), text(&output.stderr))
    };
    let (_, told) = train(&[&back, &deletes]);
    assert!(told.contains("times go back"), "{told}");
    assert!(told.contains("passed over: no row of it") && told.contains("deletes"), "{told}");
    assert!(!told.contains("a trace without keys"), "{told}");
    let (code, told) = train(&[&back, &twin]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("back and twin are the same file"), "{told}");
}

#[test]
fn bad_usage_is_said() {
    for (args, message) in [
        (&["train", "gen:zipf:"][..], "--out"),
        (&["train", "-", "--out", "m"], "stdin"),
        (&["train", "gen:zipf:", "gen:zipf:", "--out", "m"], "two traces are named"),
        (&["train", "gen:zipf:", "--out", "m", "--earlier", "1"], "between 0 and 1"),
        (&["train", "gen:zipf:", "--out", "m", "--sureness", "nan"], "at most 10000"),
        (&["train", "gen:zipf:", "--out", "m", "--sureness", "1e5"], "at most 10000"),
        (&["train", "gen:zipf:", "--out", "m", "--check", "m"], "cannot be used with"),
        (&["train", "gen:zipf:", "--out", "/"], "names the model"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(message), "{args:?}: {}", text(&output.stderr));
    }
}
