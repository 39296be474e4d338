//! The project's own tasks: `cargo xtask tidy|docs|compare|learned|freshness|experiments|instructions`.
#![forbid(unsafe_code)]

mod compare;
mod docs;
mod experiments;
mod freshness;
mod instructions;
mod learned;
mod project;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

use project::Project;

/// A task: what follows its name are its arguments.
struct Task {
    name: &'static str,
    about: &'static str,
    run: fn(&Project, &[String]) -> Result<bool>,
}

/// Every task; each says whether all is well.
const TASKS: &[Task] = &[
    Task { name: "tidy", about: "check the rules no compiler knows", run: tidy::run },
    Task {
        name: "docs",
        about: "write docs/policies.md, docs/formats.md and docs/metrics.md from the registries",
        run: docs::run,
    },
    Task {
        name: "compare",
        about: "replay every real trace; write docs/compare.md and the pictures",
        run: compare::run,
    },
    Task { name: "learned", about: "replay what docs/learned.md shows; write its tables", run: learned::run },
    Task {
        name: "freshness",
        about: "replay every trace that tells when values change; write docs/freshness.md and its picture [evicting]",
        run: freshness::run,
    },
    Task {
        name: "experiments",
        about: "repeat experiments whose truth is known; write docs/experiments.md [PROGRAM: a larder that is built]",
        run: experiments::run,
    },
    Task {
        name: "instructions",
        about: "count instructions per request and compare them with the stored ones [--bless]",
        run: instructions::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool> {
    let Some((name, rest)) = arguments.split_first() else { bail!("name a task\n\n{}", usage()) };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", usage());
        return Ok(true);
    }
    match TASKS.iter().find(|task| task.name == name) {
        Some(task) => (task.run)(&Project::load()?, rest),
        None => bail!("there is no task '{name}'\n\n{}", usage()),
    }
}

fn usage() -> String {
    let tasks: Vec<_> = TASKS.iter().map(|task| format!("  {:14}{}", task.name, task.about)).collect();
    format!("usage: cargo xtask TASK\n\n{}", tasks.join("\n"))
}
