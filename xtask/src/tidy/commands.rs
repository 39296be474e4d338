//! The commands README.md shows exist, and it shows the two a newcomer needs.

use super::Finding;
use crate::TASKS;
use crate::project::Project;

const README: &str = "README.md";

/// The main job, and all checks.
const NEEDED: &[&str] = &["cargo run --release", "./test"];

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let Some(text) = project.text(README) else {
        return vec![Finding::new(README, 1, "missing: say what larder is and how to run and test it")];
    };
    commands(&text, |what| exists(project, what))
}

/// What a command needs to exist.
#[derive(Debug, PartialEq, Eq)]
enum Needs<'a> {
    /// A file at the top.
    Script(&'a str),
    /// A task of ours.
    Task(&'a str),
    /// A program: of a package or the default one, by name or the only one.
    Program { package: Option<&'a str>, bin: Option<&'a str> },
}

fn exists(project: &Project, what: &Needs<'_>) -> bool {
    match *what {
        Needs::Script(path) => is_executable(&project.root.join(path)),
        Needs::Task(name) => TASKS.iter().any(|task| task.name == name),
        Needs::Program { package, bin } => {
            let packages = match package {
                Some(name) => project.metadata.packages.iter().filter(|found| found.name.as_str() == name).collect(),
                None => project.metadata.workspace_default_packages(),
            };
            let mut bins = packages.iter().flat_map(|package| &package.targets).filter(|target| target.is_bin());
            bins.any(|found| bin.is_none_or(|name| found.name == name))
        }
    }
}

#[cfg(unix)]
fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &std::path::Path) -> bool {
    path.is_file()
}

fn commands(text: &str, exists: impl Fn(&Needs<'_>) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = NEEDED.to_vec();
    for (number, command) in shell_lines(text) {
        missing.retain(|needed| !command.starts_with(needed));
        if needs(command).is_some_and(|what| !exists(&what)) {
            findings.push(Finding::new(README, number, format!("`{command}` does not exist: correct or drop it")));
        }
    }
    let absent = |command| Finding::new(README, 1, format!("show the command `{command}` in a shell block"));
    findings.extend(missing.into_iter().map(absent));
    findings
}

/// The commands in fenced shell blocks, with their line numbers.
fn shell_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut shell = None;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        if let Some(language) = line.trim().strip_prefix("```") {
            shell = match shell {
                None => Some(matches!(language.trim(), "sh" | "bash" | "shell" | "console")),
                Some(_) => None,
            };
            return None;
        }
        let command = line.trim();
        let command = command.strip_prefix("$ ").unwrap_or(command);
        (shell == Some(true)).then_some((number, command))
    })
}

fn needs(command: &str) -> Option<Needs<'_>> {
    let words: Vec<_> = command.split_whitespace().take_while(|word| *word != "--").collect();
    let after = |flags: &[&str]| {
        let at = words.iter().position(|word| flags.contains(word))?;
        words.get(at + 1).copied()
    };
    match words.as_slice() {
        ["cargo", "xtask", task, ..] => Some(Needs::Task(task)),
        ["cargo", "run", ..] if after(&["--example"]).is_none() => {
            Some(Needs::Program { package: after(&["-p", "--package"]), bin: after(&["--bin"]) })
        }
        [first, ..] => first.strip_prefix("./").map(Needs::Script),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# larder\n```sh\ncargo run --release -- replay x\n$ ./test\n```\n";

    #[test]
    fn commands_are_understood() {
        assert_eq!(needs("./test --fast"), Some(Needs::Script("test")));
        assert_eq!(needs("cargo xtask docs"), Some(Needs::Task("docs")));
        assert_eq!(needs("cargo run --release -- -p x"), Some(Needs::Program { package: None, bin: None }));
        let speed = Needs::Program { package: Some("larder-benches"), bin: Some("speed") };
        assert_eq!(needs("cargo run -p larder-benches --bin speed"), Some(speed));
        assert_eq!(needs("git clone x"), None);
    }

    #[test]
    fn a_command_that_does_not_exist_is_found() {
        assert_eq!(commands(GOOD, |_| true), []);
        let lines: Vec<_> = commands(GOOD, |_| false).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [3, 4]);
        assert_eq!(commands(&GOOD.replace("```sh", "```text"), |_| false).len(), NEEDED.len());
    }

    #[test]
    fn a_command_not_shown_is_found() {
        for needed in NEEDED {
            let findings = commands(&GOOD.replace(needed, "ls"), |_| true);
            assert!(findings.len() == 1 && findings[0].what.contains(needed), "{needed}");
        }
    }
}
