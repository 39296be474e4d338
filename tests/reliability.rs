//! The page of promises names tests that are there.

use std::fs;
use std::path::Path;

#[test]
fn every_test_the_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let named: Vec<_> = page.split('`').filter_map(|text| text.split_once(".rs::")).collect();
    assert!(named.len() > 30, "the page has lost its tests");
    for (file, test) in named {
        let source =
            fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_else(|error| panic!("{file}.rs: {error}"));
        assert!(source.contains(&format!("fn {test}(")), "{file}.rs has no test {test}");
    }
}
