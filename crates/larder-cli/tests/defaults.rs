//! `larder.toml` names every default, and names it right.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::process::Command;

use larder_policy::{Param, admission, eviction};
use toml::{Table, Value};

#[test]
fn parameters_of_policies() {
    let file = file();
    let declared = |section: &str, entries: Vec<(&str, &[Param])>| {
        let with_parameters = entries.into_iter().filter(|(_, params)| !params.is_empty());
        let code: BTreeMap<String, BTreeMap<String, f64>> = with_parameters
            .map(|(name, params)| {
                (name.to_owned(), params.iter().map(|param| (param.name.to_owned(), param.default)).collect())
            })
            .collect();
        let written = file[section].as_table().unwrap().iter();
        let written = written.map(|(name, table)| (name.clone(), numbers(table.as_table().unwrap()))).collect();
        assert_eq!(code, written, "[{section}.*] of larder.toml");
    };
    declared("eviction", eviction::REGISTRY.iter().map(|entry| (entry.name, entry.params)).collect());
    declared("admission", admission::REGISTRY.iter().map(|entry| (entry.name, entry.params)).collect());
}

#[test]
fn options_of_commands() {
    let file = file();
    let others = ["admission", "cache", "eviction"];
    let commands = file.iter().filter(|(name, _)| !others.contains(&name.as_str()));
    let mut compared = 0;
    for (command, table) in commands {
        let written = table.as_table().unwrap().iter().map(|(option, value)| (option.clone(), text(value))).collect();
        let code = options(command);
        compared += code.len();
        assert_eq!(code, written, "[{command}] of larder.toml");
    }
    assert!(compared > 15, "the help text was not understood");
}

/// That no setting is missing is checked where the settings are declared, in `larder`.
#[test]
fn settings_of_a_cache() {
    assert_eq!(larder::Config::from_toml(&text_of_file(), "cache").unwrap(), larder::Config::default());
}

fn file() -> Table {
    text_of_file().parse().unwrap()
}

fn text_of_file() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../larder.toml")).unwrap()
}

fn numbers(table: &Table) -> BTreeMap<String, f64> {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|number| number as f64)).unwrap();
    table.iter().map(|(name, value)| (name.clone(), number(value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The options of a command that have a fixed default, read from its help text.
fn options(command: &str) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_larder")).args([command, "-h"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let mut descriptions: Vec<String> = Vec::new();
    for line in help.lines().map(str::trim) {
        match descriptions.last_mut() {
            _ if line.starts_with('-') => descriptions.push(line.to_owned()),
            Some(description) => *description += &format!(" {line}"),
            None => {}
        }
    }
    let described = descriptions.iter().filter_map(|description| {
        let name = description.split("--").nth(1)?.split_whitespace().next()?;
        let default = description.split("[default: ").nth(1)?.split(']').next()?;
        // A default in words depends on the machine or the trace.
        (!default.contains(' ')).then(|| (name.to_owned(), default.to_owned()))
    });
    described.collect()
}
