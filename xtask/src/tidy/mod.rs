//! The rules of the project that no compiler knows. Each check is a function from text to findings.

mod commands;
mod floors;
mod manifests;
mod models;
mod notebooks;
mod pages;
mod sources;

use std::fmt;

use anyhow::{Result, ensure};

use crate::project::Project;

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    /// `line` counts from 1; `what` says what is wrong and what to do.
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Runs every check.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<bool> {
    ensure!(arguments.is_empty(), "tidy takes no arguments");
    let files = project.files()?;
    let checks = [
        ("floors", floors::check(project)),
        ("manifests", manifests::check(project)),
        ("sources", files.iter().flat_map(sources::check).collect()),
        ("pages", pages::check(project)),
        ("commands", commands::check(project)),
        ("models", models::check(project)),
        ("notebooks", notebooks::check(project, &files)),
    ];
    let mut clean = true;
    for (name, findings) in checks {
        println!("tidy: {name}: {}", if findings.is_empty() { "ok".to_owned() } else { findings.len().to_string() });
        for finding in findings {
            println!("  {finding}");
            clean = false;
        }
    }
    Ok(clean)
}

/// The number of the first line that contains `needle`, or 1.
fn line_of(text: &str, needle: &str) -> usize {
    text.lines().position(|line| line.contains(needle)).map_or(1, |at| at + 1)
}
