//! What every text file must keep to: short sources, no leftovers, no paths of somebody's machine.

use super::Finding;
use crate::project::TextFile;

/// A source longer than this holds more than one idea.
const MOST_LINES: usize = 600;

/// Folders at the top of a machine; a project that names them runs on that machine only.
const MACHINE_FOLDERS: &[&str] = &["work", "root", "tmp"];

/// Macros and words of unfinished work. They are spelt apart, for this file is checked too.
const MACROS: &[&str] = &[concat!("to", "do"), concat!("un", "implemented"), concat!("d", "bg")];
const WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_rust = file.path.ends_with(".rs");
    if is_rust && file.text.lines().count() > MOST_LINES {
        let what = format!("more than {MOST_LINES} lines: split it, one idea a file");
        findings.push(Finding::new(&file.path, MOST_LINES + 1, what));
    }
    // Lock files and licences are written by others.
    if file.path.ends_with(".lock") || file.path.starts_with("LICENSE") {
        return findings;
    }
    for (line, number) in file.text.lines().zip(1..) {
        let leftover = (if is_rust { macro_in(line) } else { None }).or_else(|| word_in(line));
        if let Some(leftover) = leftover {
            findings.push(Finding::new(
                &file.path,
                number,
                format!("{leftover} is unfinished work: finish or drop it"),
            ));
        }
        if let Some(path) = machine_path_in(line).filter(|_| !is_test(&file.path)) {
            let what = format!("{path} is a path of one machine: take it from a flag or the environment");
            findings.push(Finding::new(&file.path, number, what));
        }
    }
    findings
}

/// Tests may make up paths.
fn is_test(path: &str) -> bool {
    path.ends_with(".rs") && path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

fn macro_in(line: &str) -> Option<String> {
    let called = |name: &&&str| {
        let call = format!("{name}!");
        line.match_indices(&call).any(|(at, _)| !line[..at].ends_with(is_name))
    };
    MACROS.iter().find(called).map(|name| format!("{name}!"))
}

fn word_in(line: &str) -> Option<String> {
    let alone = |word: &&&str| {
        let whole = |(at, _)| !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name);
        line.match_indices(**word).any(whole)
    };
    WORDS.iter().find(alone).map(|word| (*word).to_owned())
}

fn machine_path_in(line: &str) -> Option<String> {
    MACHINE_FOLDERS.iter().map(|folder| format!("/{folder}/")).find(|path| {
        // After a name, a dot or a closing brace it is part of a longer path, such as a link.
        let inside = |c: char| is_name(c) || matches!(c, '.' | '-' | '}' | '~' | '/');
        line.match_indices(path.as_str()).any(|(at, _)| !line[..at].ends_with(inside))
    })
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        check(&file).into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[test]
    fn long_sources_are_found() {
        assert_eq!(found("a.rs", &"x\n".repeat(MOST_LINES)), []);
        assert_eq!(found("a.md", &"x\n".repeat(MOST_LINES + 1)), []);
        let long = found("a.rs", &"x\n".repeat(MOST_LINES + 1));
        assert!(long.len() == 1 && long[0].0 == MOST_LINES + 1 && long[0].1.contains("split"));
    }

    #[test]
    fn unfinished_work_is_found() {
        for name in MACROS {
            assert_eq!(found("a.rs", &format!("fn f() {{\n    {name}!()\n}}"))[0].0, 2);
            assert_eq!(found("a.rs", &format!("not_{name}!()")), []);
        }
        for word in WORDS {
            assert_eq!(found("docs/a.md", &format!("{word}: more"))[0].0, 1);
            assert_eq!(found("docs/a.md", &format!("A{word}")), []);
        }
    }

    #[test]
    fn machine_paths_are_found_outside_tests() {
        for folder in MACHINE_FOLDERS {
            let line = format!("open(\"/{folder}/x\")");
            assert_eq!(found("src/a.rs", &line).len(), 1);
            assert_eq!(found("tests/a.rs", &line), []);
            assert_eq!(found("README.md", &format!("see https://example.com/{folder}/x")), []);
            assert_eq!(found("README.md", &format!("in ../{folder}/x and $HOME/{folder}/")), []);
        }
    }
}
