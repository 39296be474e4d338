//! The model the kernel carries is the one its folder tells of, and every model has its card and its recipe.

use super::Finding;
use crate::project::Project;

/// The folder of the model that ships, and the file the kernel is built with.
const SHIPPED: (&str, &str) = ("models/general/model.larder", "crates/larder-policy/src/learned/general.larder");

/// What a model's folder must have.
const NEEDED: &[&str] = &["model.larder", "card.md", "train.toml", "held_out.tsv", "reliability.svg"];

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let read = |path: &str| std::fs::read(project.root.join(path)).ok();
    let folders = std::fs::read_dir(project.root.join("models")).into_iter().flatten().flatten();
    let mut folders: Vec<String> = folders.map(|entry| project.relative(&entry.path())).collect();
    folders.sort();
    let mut findings: Vec<Finding> =
        folders.iter().flat_map(|folder| lacking(folder, |path| read(path).is_some())).collect();
    findings.extend(differs(read(SHIPPED.0).as_deref(), read(SHIPPED.1).as_deref()));
    findings
}

fn lacking(folder: &str, is_there: impl Fn(&str) -> bool) -> Vec<Finding> {
    let paths = NEEDED.iter().map(|name| format!("{folder}/{name}"));
    paths.filter(|path| !is_there(path)).map(|path| Finding::new(&path, 1, "missing: run `larder train`")).collect()
}

fn differs(folder: Option<&[u8]>, kernel: Option<&[u8]>) -> Option<Finding> {
    let same = folder.is_some() && folder == kernel;
    (!same).then(|| Finding::new(SHIPPED.0, 1, format!("differs from {}, which the kernel is built with", SHIPPED.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_lacks_something_is_found() {
        assert_eq!(lacking("models/a", |_| true), []);
        let findings = lacking("models/a", |path| !path.ends_with("card.md"));
        assert!(findings.len() == 1 && findings[0].path == "models/a/card.md");
    }

    #[test]
    fn another_model_than_the_kernels_is_found() {
        assert_eq!(differs(Some(b"same"), Some(b"same")), None);
        assert!(differs(Some(b"one"), Some(b"other")).is_some());
        assert!(differs(None, None).is_some());
    }
}
