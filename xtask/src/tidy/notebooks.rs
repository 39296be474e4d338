//! Notebooks are kept without what running them leaves behind, and their rendered copies say what they say.

use serde_json::Value;

use super::Finding;
use crate::project::{Project, TextFile};

/// Where the copies are.
const COPIES: &str = "docs/notebooks";

pub(super) fn check(project: &Project, files: &[TextFile]) -> Vec<Finding> {
    let notebooks = files.iter().filter(|file| file.path.ends_with(".ipynb"));
    notebooks.flat_map(|file| notebook(file, |copy| project.text(copy))).collect()
}

fn notebook(file: &TextFile, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let at = |line: usize, what: &str| Finding::new(&file.path, line, what);
    let Ok(notebook) = serde_json::from_str::<Value>(&file.text) else {
        return vec![at(1, "is no notebook: write it with Jupyter")];
    };
    let cells = notebook["cells"].as_array().map_or(&[][..], Vec::as_slice);
    let has_run = |cell: &&Value| {
        let outputs = cell["outputs"].as_array().is_some_and(|outputs| !outputs.is_empty());
        outputs || cell["execution_count"].is_number()
    };
    let mut findings: Vec<Finding> =
        cells.iter().filter(has_run).take(1).map(|_| at(1, "has outputs: clear them all before committing")).collect();
    let copy = format!("{COPIES}/{}", stem(&file.path).to_owned() + ".md");
    let render = "run `notebooks/run --render`";
    match read(&copy) {
        None => findings.push(Finding::new(&copy, 1, format!("missing: {render}"))),
        Some(text) => {
            let prose = cells.iter().filter(|cell| cell["cell_type"] == "markdown").map(source);
            let lacking = prose.filter(|prose| !text.contains(&moved(prose)));
            let told = |prose: String| {
                let first = prose.lines().next().unwrap_or_default().to_owned();
                Finding::new(&copy, 1, format!("does not say what the notebook says under \"{first}\": {render}"))
            };
            findings.extend(lacking.map(told));
        }
    }
    findings
}

/// A file's name without folder and ending.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

/// The text of a cell: a string, or a string a line.
fn source(cell: &Value) -> String {
    match &cell["source"] {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        source => source.as_str().unwrap_or_default().to_owned(),
    }
}

/// Links as the copies have them, one folder deeper and beside one another: as `notebooks/run.py` writes them.
fn moved(text: &str) -> String {
    text.replace("](../docs/", "](../").replace("](../models/", "](../../models/").replace(".ipynb)", ".md)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(cells: Value, copy: Option<&str>) -> Vec<String> {
        let file = TextFile { path: "notebooks/01-a.ipynb".to_owned(), text: json!({ "cells": cells }).to_string() };
        let read = |path: &str| {
            assert_eq!(path, "docs/notebooks/01-a.md");
            copy.map(str::to_owned)
        };
        notebook(&file, read).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn outputs_are_found() {
        let cell = |outputs: Value, count: Value| json!([{ "cell_type": "code", "source": "1", "outputs": outputs, "execution_count": count }]);
        assert_eq!(found(cell(json!([]), Value::Null), Some("")), [""; 0]);
        assert!(found(cell(json!([{ "data": {} }]), Value::Null), Some(""))[0].contains("clear"));
        assert!(found(cell(json!([]), json!(3)), Some(""))[0].contains("clear"));
    }

    #[test]
    fn a_copy_that_is_missing_or_says_something_else_is_found() {
        let cells = json!([{ "cell_type": "markdown", "source": ["# A\n", "[b](../docs/b.md), [c](c.ipynb)"] }]);
        assert_eq!(found(cells.clone(), Some("x\n\n# A\n[b](../b.md), [c](c.md)\n")), [""; 0]);
        assert!(found(cells.clone(), Some("# B\n"))[0].contains("under \"# A\""));
        assert!(found(cells, None)[0].contains("missing"));
    }

    #[test]
    fn what_is_no_notebook_is_found() {
        let file = TextFile { path: "a.ipynb".to_owned(), text: "<".to_owned() };
        assert_eq!(notebook(&file, |_| None).len(), 1);
    }
}
