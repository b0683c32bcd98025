//! The names that templates may call.

/// Functions that Jinja has, and those that loaders of chat templates add.
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

/// Words of the language that a bracket may follow.
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

/// Whether a function of this name is one of Jinja, or of every loader.
pub(super) fn is_known(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Whether it is a word of the language.
pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}
