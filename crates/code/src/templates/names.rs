//! The functions that templates may call.

/// The functions of Jinja, and those that loaders of chat templates add.
const FUNCTIONS: [&str; 12] = [
    "caller",
    "cycler",
    "dict",
    "joiner",
    "lipsum",
    "loop",
    "namespace",
    "raise_exception",
    "range",
    "self",
    "strftime_now",
    "super",
];

/// The keywords that a bracket may follow.
const KEYWORDS: [&str; 24] = [
    "and",
    "as",
    "block",
    "call",
    "do",
    "elif",
    "else",
    "filter",
    "for",
    "from",
    "if",
    "import",
    "in",
    "include",
    "is",
    "macro",
    "not",
    "or",
    "print",
    "recursive",
    "return",
    "set",
    "trans",
    "with",
];

/// Whether a function is part of Jinja or of every loader.
pub(super) fn is_known(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Whether a name is a keyword.
pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}
