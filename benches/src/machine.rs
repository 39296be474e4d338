//! What the figures were made on. A fact that cannot be found is left out.

use std::fs;
use std::process::Command;

/// Processor, operating system, compiler, commit and day, one line each.
pub fn facts() -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let facts = [
        processor().map(|name| format!("Processor: {name}, {threads} threads")),
        output("uname", &["-sm"]).map(|name| format!("System: {name}")),
        output("rustc", &["--version"]).map(|version| format!("Compiler: {version}, profile release")),
        output("git", &["describe", "--always", "--dirty", "--abbrev=12"]).map(|commit| format!("Commit: {commit}")),
        output("date", &["-u", "+%Y-%m-%d"]).map(|day| format!("Day: {day}")),
    ];
    facts.into_iter().flatten().collect()
}

fn processor() -> Option<String> {
    let linux = || {
        let text = fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    linux().or_else(|| output("sysctl", &["-n", "machdep.cpu.brand_string"]))
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned())
}

/// How many tasks ran or waited in the last minute, on average.
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
