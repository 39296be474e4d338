//! The names of things in the remote tier: `users:42` is a key, `users!tag:vip` a tag's mark, `users!all` the namespace's,
//! `users!lease:42` a lease, `users!models` what its instances learned, `users!dashboards` where their dashboards are.
//!
//! A namespace has neither `:` nor `!`, so the first of the two tells a key from a mark, whatever the key's text is.

use super::Name;

/// The longest name, in bytes.
pub const MAX_BYTES: usize = 512;
/// What stands before a key in its name, at most.
pub(crate) const MOST_BEFORE_KEY: usize = 64 + 1;
/// What follows the namespace in the name of a tag's mark, and of its own.
const TAG: &str = "!tag:";
const ALL: &str = "!all";

/// The name of a key.
pub fn key(namespace: &str, key: &str) -> Name {
    (before_key(namespace) + key).into()
}

/// What stands before the text of a key in its name.
pub(crate) fn before_key(namespace: &str) -> String {
    [namespace, ":"].concat()
}

/// The name of the mark that says when a tag was invalidated.
pub fn tag(namespace: &str, tag: &str) -> Name {
    [namespace, TAG, tag].concat().into()
}

/// The name of the mark that says when the whole namespace was.
pub fn all(namespace: &str) -> Name {
    [namespace, ALL].concat().into()
}

/// Whose mark is called so: the namespace, and the tag if it is one's.
pub(super) fn marked(mark: &str) -> (&str, Option<&str>) {
    let space = namespace(mark);
    (space, mark[space.len()..].strip_prefix(TAG))
}

/// Whether a name is a mark's, and no key's.
pub(super) fn is_mark(name: &str) -> bool {
    name[namespace(name).len()..].starts_with('!')
}

/// The name of the lease on a key.
pub fn lease(name: &str) -> Name {
    let space = namespace(name);
    let rest = name.get(space.len() + 1..).unwrap_or_default();
    [space, "!lease:", rest].concat().into()
}

/// The name of what the instances of a namespace's service learned.
pub fn models(namespace: &str) -> Name {
    [namespace, "!models"].concat().into()
}

/// The name of where the dashboards of a namespace's service are.
pub fn dashboards(namespace: &str) -> Name {
    [namespace, "!dashboards"].concat().into()
}

/// The namespace a name lies in.
pub fn namespace(name: &str) -> &str {
    name.bytes().position(|b| b == b':' || b == b'!').map_or(name, |end| &name[..end])
}

/// Whether a namespace may be called so: 1 to 64 characters out of `a-z A-Z 0-9 . _ -`.
pub fn is_namespace(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_a_mark() {
        let hostile = ["!all", "!tag:x", ":", "", "a:b!c", "{x}"].map(|text| key("users", text));
        let of_service = [models("users"), dashboards("users")];
        let marks = [all("users"), tag("users", "x"), tag("users", ""), lease("users:x"), lease("users:!all")];
        let marks = [&marks[..], &of_service].concat();
        assert!(
            hostile.iter().all(|name| !marks.contains(name) && !is_mark(name))
                && marks.iter().all(|name| is_mark(name))
        );
        for name in hostile.iter().chain(&marks) {
            assert_eq!(namespace(name), "users");
        }
        assert_eq!(marked(&all("users")), ("users", None));
        assert_eq!(marked(&tag("users", "!all")), ("users", Some("!all")));
        assert_eq!(&*lease("users:42"), "users!lease:42");
        assert_ne!(lease("users:a"), lease("users:b"));
    }

    #[test]
    fn a_namespace_cannot_forge_a_separator() {
        assert!(is_namespace("api.v2_users-EU"));
        for bad in ["", "a:b", "a!b", "é", "a b", "a\0", &"x".repeat(65)] {
            assert!(!is_namespace(bad), "{bad:?}");
        }
    }
}
