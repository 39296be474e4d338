//! What the pages for newcomers show is what compiles.

use std::fs;

#[test]
fn the_quick_start_is_short_and_the_same_everywhere() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let file = fs::read_to_string(format!("{root}/examples/quick_start.rs")).unwrap();
    let (_, program) = file.split_once("\n\n").expect("a blank line after the file's own comment");
    assert!(program.lines().count() <= 15, "{} lines", program.lines().count());
    for page in ["README.md", "crates/larder/README.md"] {
        let text = fs::read_to_string(format!("{root}/{page}")).unwrap();
        assert!(
            text.contains(&format!("```rust\n{program}```")),
            "{page} does not show examples/quick_start.rs as it is"
        );
    }
}
