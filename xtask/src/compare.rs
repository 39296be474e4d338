//! The comparison of every policy on every real trace, as a page.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::project::Project;

/// The page.
const PAGE: &str = "docs/compare.md";

/// The replay whose curves and report the README shows.
const PICTURED: &[&str] = &[
    "replay",
    "w106.csv.zst",
    "--policy",
    "fifo,lru,sieve,arc,s3fifo,wtinylfu,learned,belady",
    "--capacity",
    "0.1%,0.2%,0.5%,1%,2%,5%,10%,20%",
];

const NOTICE: &str = "\
<!-- Made by `cargo xtask compare` from the traces in LARDER_TRACES. -->

# Every policy on every real trace

What the traces are, and where they come from, is in `MANIFEST.tsv` beside them. Wins and losses stand side by side.
The prior that `learned` starts from was trained on these traces; [the league](league.md) has what it misses where it was not.
";

/// Writes the page: equal objects on all eviction traces, then bytes on those that carry sizes.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<bool> {
    ensure!(arguments.is_empty(), "compare takes no arguments");
    let folder = project.traces();
    let manifest = folder.join("MANIFEST.tsv");
    let manifest = std::fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    let program = project.larder()?;
    let objects = larder(&program, &folder, &eviction_traces(&manifest, false)?, &["--markdown"])?;
    let sized = eviction_traces(&manifest, true)?;
    let bytes = larder(&program, &folder, &sized, &["--weigh", "bytes", "--markdown"])?;
    let page =
        format!("{NOTICE}\n## Objects of equal weight\n\n{objects}\n## Objects weighed by their bytes\n\n{bytes}");
    std::fs::write(project.root.join(PAGE), page).with_context(|| format!("writing {PAGE}"))?;
    println!("wrote {PAGE}");
    pictures(project, &program, &folder)
}

/// Writes the README's pictures: the curves, and the report as a browser shows it, where there is one.
fn pictures(project: &Project, program: &Path, folder: &Path) -> Result<bool> {
    let report = project.root.join("target/report");
    let status = Command::new(program).args(PICTURED).arg("--report").arg(&report).current_dir(folder).status()?;
    ensure!(status.success(), "larder replay failed");
    std::fs::copy(report.join("curves.svg"), project.root.join("docs/curves.svg"))?;
    println!("wrote docs/curves.svg");
    let screenshot = project.root.join("docs/report.png");
    let browser = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args(["--hide-scrollbars", "--window-size=1000,1250"])
        .arg(format!("--user-data-dir={}", project.root.join("target/chromium").display()))
        .arg(format!("--screenshot={}", screenshot.display()))
        .arg(format!("file://{}", report.join("report.html").display()))
        .output();
    match browser {
        Ok(output) => ensure!(output.status.success(), "chromium: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("skipped docs/report.png: there is no chromium"),
    }
    Ok(true)
}

/// The names of the traces good for measuring eviction; with `sized`, those whose sizes are bytes.
fn eviction_traces(manifest: &str, sized: bool) -> Result<Vec<String>> {
    let mut lines = manifest.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().context("MANIFEST.tsv is empty")?;
    let column = |name: &str| header.iter().position(|field| *field == name).context(format!("no column {name}"));
    let (name, sizes, good_for) = (column("name")?, column("sizes")?, column("good_for")?);
    let is_wanted = |row: &Vec<&str>| {
        let is_for_eviction = row.get(good_for).is_some_and(|uses| uses.split(',').any(|usage| usage == "eviction"));
        is_for_eviction && (!sized || row.get(sizes) == Some(&"yes"))
    };
    Ok(lines.filter(is_wanted).map(|row| format!("{}.csv.zst", row[name])).collect())
}

/// Runs beside the traces, so that the command in the page holds names and no paths.
fn larder(program: &Path, folder: &Path, traces: &[String], options: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.arg("compare").args(traces).args(options).current_dir(folder).output()?;
    ensure!(output.status.success(), "larder compare: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_chosen_by_use_and_size() {
        let manifest =
            "name\tsizes\tgood_for\na\tyes\teviction,ttl\nb\tno\teviction\nc\tyes\tttl\nd\ttokens\teviction\n";
        assert_eq!(eviction_traces(manifest, false).unwrap(), ["a.csv.zst", "b.csv.zst", "d.csv.zst"]);
        assert_eq!(eviction_traces(manifest, true).unwrap(), ["a.csv.zst"]);
        assert!(eviction_traces("name\tsizes\n", false).is_err());
    }
}
