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

    // Again, on one thread: the same bytes. With other traces: not.
    let output = train(&[1, 2, 3], &["--check", path, "--threads", "1"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let output = train(&[1, 2, 4], &["--check", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("model.larder differs from byte"), "{}", text(&output.stderr));

    let trace = workload(99);
    let cold = miss_ratio(&trace, "learned:prior=0", &["--model", path]);
    let with_model = miss_ratio(&trace, "learned", &["--model", path]);
    assert_eq!(cold, miss_ratio(&trace, "learned:prior=0", &[]), "prior=0 is cold whatever the model");
    assert!(with_model < cold, "{with_model} {cold}");
    assert_eq!(miss_ratio(&trace, "lru", &["--model", path]), miss_ratio(&trace, "lru", &[]));
    for command in ["compare", "curve"] {
        let output = run(&[command, &trace, "--policy", "learned", "--model", path, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    damaged(&model);
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
    let output = run(&["replay", &workload(1), "--model", model.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("model.larder: No such file"), "{}", text(&output.stderr));
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
fn bad_usage_is_said() {
    for (args, message) in [
        (&["train", "gen:zipf:"][..], "--out"),
        (&["train", "-", "--out", "m"], "stdin"),
        (&["train", "gen:zipf:", "gen:zipf:", "--out", "m"], "two traces are named"),
        (&["train", "gen:zipf:", "--out", "m", "--earlier", "1"], "between 0 and 1"),
        (&["train", "gen:zipf:", "--out", "m", "--sureness", "nan"], "not a positive number"),
        (&["train", "gen:zipf:", "--out", "m", "--check", "m"], "cannot be used with"),
        (&["train", "gen:zipf:", "--out", "/"], "names the model"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(message), "{args:?}: {}", text(&output.stderr));
    }
}
