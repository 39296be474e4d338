//! Generated pages say what the registries say.

use super::Finding;
use crate::docs::{PAGES, Page};
use crate::project::Project;

pub(super) fn check(project: &Project) -> Vec<Finding> {
    PAGES.iter().filter_map(|page| stale(page, project.text(page.path).as_deref())).collect()
}

fn stale(page: &Page, found: Option<&str>) -> Option<Finding> {
    let wanted = (page.write)();
    let advice = "run `cargo xtask docs` and commit the result";
    let Some(found) = found else { return Some(Finding::new(page.path, 1, format!("missing: {advice}"))) };
    if found == wanted {
        return None;
    }
    let same = found.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
    Some(Finding::new(page.path, same + 1, format!("differs from the code: {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_page_is_found() {
        for page in PAGES {
            let fresh = (page.write)();
            assert_eq!(stale(page, Some(&fresh)), None);
            assert_eq!(stale(page, None).unwrap().line, 1);
            let last = fresh.lines().count();
            let cut: Vec<_> = fresh.lines().take(last - 1).collect();
            assert_eq!(stale(page, Some(&cut.join("\n"))).unwrap().line, last);
        }
    }
}
