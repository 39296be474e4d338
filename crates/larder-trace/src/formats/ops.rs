//! The words foreign formats use for operations.

use larder_policy::Op;

const WORDS: &[(&str, Op)] = &[
    ("get", Op::Get),
    ("gets", Op::Get),
    ("get_lease", Op::Get),
    ("read", Op::Get),
    ("r", Op::Get),
    ("head", Op::Get),
    ("set", Op::Set),
    ("set_lease", Op::Set),
    ("add", Op::Set),
    ("replace", Op::Set),
    ("cas", Op::Set),
    ("append", Op::Set),
    ("prepend", Op::Set),
    ("incr", Op::Set),
    ("decr", Op::Set),
    ("put", Op::Set),
    ("post", Op::Set),
    ("patch", Op::Set),
    ("write", Op::Set),
    ("w", Op::Set),
    ("delete", Op::Delete),
    ("del", Op::Delete),
    ("d", Op::Delete),
];

/// The operation a word stands for, in any case.
pub(crate) fn of(word: &[u8]) -> Option<Op> {
    WORDS.iter().find(|(w, _)| w.as_bytes().eq_ignore_ascii_case(word)).map(|(_, op)| *op)
}

/// The operation's name in our own formats.
pub(super) fn name(op: Op) -> &'static str {
    match op {
        Op::Get => "get",
        Op::Set => "set",
        Op::Delete => "delete",
    }
}
