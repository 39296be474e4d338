//! Dependencies point down only.

use cargo_metadata::DependencyKind;

use super::{Finding, line_of};
use crate::project::Project;

/// Each published crate's floor; `ARCHITECTURE.md` gives the reasons.
const FLOORS: &[(&str, u8)] = &[
    ("larder-policy", 0),
    ("larder-trace", 1),
    ("larder-model", 1),
    ("larder", 2),
    ("larder-sim", 2),
    ("larder-moka", 3),
    ("larder-redis", 3),
    ("larder-cli", 4),
];

/// Packages that build the others and are built by nobody: they may use all.
const TOOLS: &[&str] = &["larder-tests", "larder-benches", "larder-examples", "larder-fuzz", "xtask"];

/// A dependency of one package of ours on another.
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    kind: DependencyKind,
}

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let ours = |name: &str| project.metadata.packages.iter().any(|package| package.name.as_str() == name);
    let mut findings = Vec::new();
    for package in &project.metadata.packages {
        let path = project.relative(package.manifest_path.as_std_path());
        let from = package.name.as_str();
        if let Err(what) = place(from) {
            findings.push(Finding::new(&path, 1, what));
        }
        for dependency in package.dependencies.iter().filter(|dependency| ours(&dependency.name)) {
            if let Err(what) = allowed(&Edge { from, to: &dependency.name, kind: dependency.kind }) {
                let text = project.text(&path).unwrap_or_default();
                findings.push(Finding::new(&path, line_of(&text, &dependency.name), what));
            }
        }
    }
    findings
}

/// A package's floor; none for a tool.
fn place(name: &str) -> Result<Option<u8>, String> {
    if TOOLS.contains(&name) {
        return Ok(None);
    }
    let floor = FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| Some(*floor));
    floor.ok_or_else(|| format!("{name} has no floor: give it one in xtask/src/tidy/floors.rs"))
}

fn allowed(edge: &Edge<'_>) -> Result<(), String> {
    let Edge { from, to, kind } = *edge;
    // A package without a floor is reported by itself.
    let (Ok(below), Ok(above)) = (place(to), place(from)) else { return Ok(()) };
    let Some(above) = above else { return Ok(()) };
    let Some(below) = below else {
        return Err(format!("{from} depends on {to}, a tool: move what it needs into a crate"));
    };
    // A test may look sideways, for nobody builds on a test. What replays must not even test against the runtime.
    let sideways = kind == DependencyKind::Development && (from, to) != ("larder-sim", "larder");
    if below < above || sideways && below == above {
        return Ok(());
    }
    Err(format!(
        "{from} (floor {above}) depends on {to} (floor {below}): dependencies point down; move the shared part to a \
         lower floor, or hand it in as a value"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, kind: DependencyKind) -> Result<(), String> {
        allowed(&Edge { from, to, kind })
    }

    #[test]
    fn down_is_allowed_and_up_or_sideways_is_not() {
        for kind in [DependencyKind::Normal, DependencyKind::Build] {
            assert_eq!(edge("larder-sim", "larder-policy", kind), Ok(()));
            assert_eq!(edge("larder-cli", "larder-redis", kind), Ok(()));
            for (from, to) in
                [("larder-policy", "larder-trace"), ("larder-sim", "larder"), ("larder-trace", "larder-model")]
            {
                assert!(edge(from, to, kind).unwrap_err().contains("point down"), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn tests_may_look_sideways_but_not_up() {
        assert_eq!(edge("larder-moka", "larder-redis", DependencyKind::Development), Ok(()));
        assert!(edge("larder-policy", "larder-sim", DependencyKind::Development).is_err());
        assert!(edge("larder-sim", "larder", DependencyKind::Development).is_err());
    }

    #[test]
    fn tools_use_all_and_are_used_by_none() {
        assert_eq!(edge("larder-benches", "larder-cli", DependencyKind::Normal), Ok(()));
        assert!(edge("larder-cli", "larder-benches", DependencyKind::Development).unwrap_err().contains("a tool"));
    }

    #[test]
    fn every_package_needs_a_floor() {
        assert_eq!(place("larder-sim"), Ok(Some(2)));
        assert_eq!(place("xtask"), Ok(None));
        assert!(place("larder-util").unwrap_err().contains("no floor"));
    }
}
