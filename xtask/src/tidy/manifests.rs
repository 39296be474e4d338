//! The lints that make `cargo clippy` check the rest are on everywhere.

use super::{Finding, line_of};
use crate::project::Project;

/// Lints the workspace must set, with what for.
const LINTS: &[(&str, &str)] = &[
    ("missing_docs", "every public item is documented"),
    ("unsafe_code", "no crate may use unsafe code"),
    ("unwrap_used", "a panic in a cache takes a service down"),
];

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let root = project.text("Cargo.toml").unwrap_or_default();
    let mut findings = workspace("Cargo.toml", &root);
    for package in &project.metadata.packages {
        let path = project.relative(package.manifest_path.as_std_path());
        findings.extend(member(&path, &project.text(&path).unwrap_or_default()));
        // Tools are held by the workspace's lint alone; a published crate says it where its readers look.
        for target in package.targets.iter().filter(|target| path.starts_with("crates/") && shipped(target)) {
            let path = project.relative(target.src_path.as_std_path());
            findings.extend(crate_root(&path, &project.text(&path).unwrap_or_default()));
        }
    }
    findings
}

fn shipped(target: &cargo_metadata::Target) -> bool {
    target.is_lib() || target.is_bin() || target.is_proc_macro()
}

fn workspace(path: &str, text: &str) -> Vec<Finding> {
    let set = |lint: &str| text.lines().any(|line| line.split_once('=').is_some_and(|(name, _)| name.trim() == lint));
    let missing = LINTS.iter().filter(|(lint, _)| !set(lint));
    let line = line_of(text, "[workspace.lints");
    missing.map(|(lint, why)| Finding::new(path, line, format!("set the lint {lint}: {why}"))).collect()
}

fn member(path: &str, text: &str) -> Option<Finding> {
    let mut lines = text.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
    let inherits = lines.find(|line| !line.trim().is_empty()).is_some_and(|line| line.replace(' ', "") == INHERITS);
    (!inherits).then(|| Finding::new(path, 1, "add [lints] with workspace = true"))
}

const INHERITS: &str = "workspace=true";

fn crate_root(path: &str, text: &str) -> Option<Finding> {
    let forbids = text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
    (!forbids).then(|| Finding::new(path, 1, "add #![forbid(unsafe_code)] below the crate's documentation"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lint_taken_out_is_found() {
        let all = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\nunwrap_used = \"warn\"\n";
        assert_eq!(workspace("Cargo.toml", all), []);
        for (lint, _) in LINTS {
            let findings = workspace("Cargo.toml", &all.replace(lint, "other"));
            assert!(findings.len() == 1 && findings[0].what.contains(lint), "{lint}");
        }
    }

    #[test]
    fn a_member_that_does_not_inherit_is_found() {
        assert_eq!(member("a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"), None);
        assert!(member("a/Cargo.toml", "[package]\nname = \"a\"\n").is_some());
        assert!(member("a/Cargo.toml", "[lints]\nworkspace = false\n").is_some());
    }

    #[test]
    fn a_crate_that_does_not_forbid_unsafe_code_is_found() {
        assert_eq!(crate_root("a/src/lib.rs", "//! A.\n#![forbid(unsafe_code)]\n"), None);
        assert!(crate_root("a/src/lib.rs", "//! A.\n#![deny(unsafe_code)]\n").is_some());
    }
}
