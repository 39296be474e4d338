//! Instructions per request of each policy, counted by valgrind: a figure that does not depend on the machine's mood.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use larder_policy::eviction;

use crate::project::Project;

/// The stored counts.
const STORED: &str = "benches/instructions.tsv";

/// Requests counted; the workload has no more.
const REQUESTS: u64 = 500_000;

/// A count may be this share above the stored one: the C library picks its routines by processor.
const TOLERANCE: f64 = 0.03;

/// Counts and compares; with `--bless`, stores.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<bool> {
    let bless = match arguments {
        [] => false,
        [flag] if flag == "--bless" => true,
        _ => bail!("instructions takes --bless or nothing"),
    };
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: valgrind is not installed");
        return Ok(true);
    }
    let compiler = compiler()?;
    let program = build(project)?;
    let mut counts = Counts { compiler, per_request: BTreeMap::new() };
    // Making the workload is most of a run without requests; making the cache is nothing beside the replay.
    let idle = count(&program, "lru", 0)?;
    for entry in eviction::REGISTRY.iter().filter(|entry| !entry.needs_oracle) {
        let replay = count(&program, entry.name, REQUESTS)?.saturating_sub(idle);
        counts.per_request.insert(entry.name.to_owned(), replay as f64 / REQUESTS as f64);
    }
    if bless {
        std::fs::write(project.root.join(STORED), counts.write()).with_context(|| format!("writing {STORED}"))?;
        println!("wrote {STORED}");
        return Ok(true);
    }
    let stored = project.text(STORED).unwrap_or_default();
    let report = compare(&Counts::parse(&stored)?, &counts);
    print!("{}", report.text);
    Ok(report.good)
}

/// The compiler and the machine's kind: other ones give other counts.
fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("running rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let fact =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim().to_owned();
    Ok(format!("rustc {} {}", fact("release:"), fact("host:")))
}

fn build(project: &Project) -> Result<std::path::PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "-p", "larder-benches", "--bin", "instructions"])
        .current_dir(&project.root)
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "building the instructions bench: {status}");
    Ok(project.metadata.target_directory.join("release/instructions").into_std_path_buf())
}

fn count(program: &Path, policy: &str, requests: u64) -> Result<u64> {
    // Without its model of caches, cachegrind only counts, and does so quickly.
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args([policy, &requests.to_string()])
        .output()
        .context("running valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind of {policy}: {}\n{text}", output.status);
    refs(&text).with_context(|| format!("valgrind counted nothing for {policy}:\n{text}"))
}

/// The count in a line such as `==123== I   refs:      1,234,567`.
fn refs(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("== I")?.1.trim_start().strip_prefix("refs:"))?;
    line.trim().replace(',', "").parse().ok()
}

/// Instructions per request by policy, and what they were made with.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    compiler: String,
    per_request: BTreeMap<String, f64>,
}

impl Counts {
    fn parse(text: &str) -> Result<Self> {
        let mut counts = Self::default();
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.starts_with('#')) {
            let context = || format!("{STORED}:{number}: expected two columns, found {line:?}");
            let (name, value) = line.split_once('\t').with_context(context)?;
            match name {
                "compiler" => counts.compiler = value.to_owned(),
                policy => drop(counts.per_request.insert(policy.to_owned(), value.parse().with_context(context)?)),
            }
        }
        Ok(counts)
    }

    fn write(&self) -> String {
        let mut text = String::from(
            "# Instructions per request; written by `cargo xtask instructions --bless`. The workload is in\n\
             # benches/src/bin/instructions.rs.\n",
        );
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "compiler\t{}", self.compiler);
        for (policy, count) in &self.per_request {
            let _ = writeln!(text, "{policy}\t{count:.1}");
        }
        text
    }
}

struct Report {
    text: String,
    good: bool,
}

fn compare(stored: &Counts, found: &Counts) -> Report {
    let mut report = Report { text: String::from("instructions per request:\n"), good: true };
    let same_compiler = stored.compiler == found.compiler;
    for (policy, count) in &found.per_request {
        let remark = match stored.per_request.get(policy) {
            None => "not stored yet: --bless stores it".to_owned(),
            Some(before) => {
                let change = count / before - 1.0;
                let verdict = match same_compiler && change > TOLERANCE {
                    true => " REGRESSION: find what costs it, or run `cargo xtask instructions --bless` and say why",
                    false if same_compiler && change < -TOLERANCE => " better: --bless stores it",
                    false => "",
                };
                report.good &= !verdict.contains("REGRESSION");
                format!("stored {before:7.1}  {:+5.1} %{verdict}", change * 100.0)
            }
        };
        let _ = writeln!(report.text, "  {policy:14}{count:7.1}  {remark}");
    }
    if !same_compiler {
        let (stored, found) = (&stored.compiler, &found.compiler);
        let _ = writeln!(report.text, "skipped: not compared, stored with {stored:?} and found with {found:?}");
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(compiler: &str, lru: f64) -> Counts {
        Counts { compiler: compiler.to_owned(), per_request: [("lru".to_owned(), lru)].into() }
    }

    #[test]
    fn valgrinds_line_is_read() {
        let text = "==7== Cachegrind\n500000 requests\n==7== \n==7== I   refs:      325,293,147\n";
        assert_eq!(refs(text), Some(325_293_147));
        assert_eq!(refs("==7== I refs: 12\n"), Some(12));
        assert_eq!(refs("==7== D   refs:  1\n"), None);
    }

    #[test]
    fn what_is_stored_reads_back() {
        let stored = counts("rustc 1 here", 123.4);
        assert_eq!(Counts::parse(&stored.write()).unwrap(), stored);
        assert!(format!("{:#}", Counts::parse("# a\nlru 3\n").unwrap_err()).contains(":2:"));
        assert!(Counts::parse("lru\tmany\n").is_err());
    }

    #[test]
    fn only_a_regression_of_the_same_compiler_fails() {
        let stored = counts("rustc 1 here", 100.0);
        assert!(compare(&stored, &counts("rustc 1 here", 102.0)).good);
        assert!(compare(&stored, &counts("rustc 1 here", 50.0)).good);
        let worse = compare(&stored, &counts("rustc 1 here", 104.0));
        assert!(!worse.good && worse.text.contains("REGRESSION"));
        let elsewhere = compare(&stored, &counts("rustc 2 here", 104.0));
        assert!(elsewhere.good && elsewhere.text.contains("skipped"));
    }
}
