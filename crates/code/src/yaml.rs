//! Finds members of YAML mappings line by line, without a YAML parser: a name and the value after it are in the text,
//! plain or quoted.

/// The longest value in bytes, including what comes before it in the line.
const MAX_VALUE: usize = 256;
/// The largest number of members of a document that are visited.
const MAX_MEMBERS: usize = 4096;

/// Passes the name and the scalar value of every member with one of `names` to `visit`. The value may be on the next
/// line.
pub(super) fn each_member(text: &str, names: &[&str], mut visit: impl FnMut(&str, &str)) {
    let mut lines = text.lines().peekable();
    let mut left = MAX_MEMBERS;
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        for (at, _) in line.char_indices().filter(|(at, _)| begins(line, *at)) {
            let Some((name, rest)) = name(&line[at..], names) else { continue };
            visit(name, &value(rest, next));
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }
}

/// Passes every tag that creates a Python object to `visit`, without its prefix.
pub(super) fn python_tags(text: &str, mut visit: impl FnMut(&str)) {
    for prefix in ["!!python/", "tag:yaml.org,2002:python/"] {
        for (at, _) in text.match_indices(prefix) {
            let tag =
                text[at + prefix.len()..].split(|c: char| c.is_whitespace() || ",]}>".contains(c));
            visit(clipped(tag.into_iter().next().unwrap_or_default()));
        }
    }
}

/// Whether there are names or tags that only a YAML parser resolves: an alias as a key, an explicit and quoted key, a
/// tag handle, or a tag with escapes.
pub(super) fn has_indirection(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches(['-', ' ', '\t']);
        let is_alias = line.strip_prefix('*').is_some_and(|rest| {
            let name = rest.trim_start_matches(|c: char| c.is_alphanumeric() || "_-".contains(c));
            name.len() < rest.len() && name.trim_start().starts_with(':')
        });
        let is_marked = line.strip_prefix("? ").is_some_and(|rest| {
            matches!(rest.trim_start().chars().next(), Some('"' | '\'' | '*' | '|' | '>'))
        });
        let is_escaped = line.split(char::is_whitespace).any(|word| {
            let tag = word.trim_start_matches(['[', '{', '(']);
            tag.starts_with('!') && tag.contains('%')
        });
        is_alias || is_marked || is_escaped || line.starts_with("%TAG")
    })
}

/// Whether a name can begin here: at the start, after white space, or after a flow indicator.
fn begins(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    before.is_none_or(|c| c.is_whitespace() || matches!(c, '{' | ',' | '[' | '?' | '\u{feff}'))
}

/// Parses one of `names` at the start of a line. Returns the name and the text after the colon.
fn name<'n, 'l>(line: &'l str, names: &[&'n str]) -> Option<(&'n str, &'l str)> {
    let (name, rest) = match quoted(line) {
        Some((name, rest)) => (*names.iter().find(|candidate| **candidate == name)?, rest),
        None => {
            names.iter().find_map(|candidate| Some((*candidate, line.strip_prefix(candidate)?)))?
        }
    };
    let rest = rest.trim_start().strip_prefix(':')?;
    Some((name, rest))
}

/// Parses a scalar: quoted, or up to the end of a plain one.
fn value(rest: &str, next: &str) -> String {
    // The properties before a value are short.
    let (rest, next) = (clipped(rest), clipped(next));
    let here = skip_properties(rest.trim_start());
    let is_empty = here.is_empty() || here.starts_with(['|', '>', '#']);
    let text = if is_empty { skip_properties(next.trim_start()) } else { here };
    let plain = match quoted(text) {
        Some((value, _)) => return clipped(&value).to_owned(),
        None => text.split([',', '}', ']']).next().unwrap_or_default(),
    };
    let plain = plain.split(" #").next().unwrap_or_default();
    clipped(plain.trim()).to_owned()
}

/// The text of a node after its anchor and tag.
fn skip_properties(mut text: &str) -> &str {
    while text.starts_with(['&', '!']) {
        text = text.find(char::is_whitespace).map_or("", |end| text[end..].trim_start());
    }
    text
}

/// Parses a quoted scalar at the start of a text. Returns the scalar and the text after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if value.len() > MAX_VALUE {
            return None;
        }
        match c {
            '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                value.push('\'');
            }
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' if quote == '"' => {
                let (_, escaped) = chars.next()?;
                let digits = match escaped {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    other => {
                        value.push(other);
                        continue;
                    }
                };
                let mut code = 0;
                for _ in 0..digits {
                    code = code << 4 | chars.next()?.1.to_digit(16)?;
                }
                value.push(char::from_u32(code)?);
            }
            c => value.push(c),
        }
    }
    None
}

fn clipped(text: &str) -> &str {
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        each_member(text, &["_target_", "loader_module"], |name, value| {
            all.push(format!("{name}={value}"))
        });
        all
    }

    #[test]
    fn members_are_found_in_every_form() {
        for text in [
            "_target_: a.b",
            "model:\n  - _target_: a.b  # why",
            "x: {_target_: a.b, y: 1}",
            "x: [{ '_target_' : 'a.b' }]",
            "\"_target_\": \"a.b\"",
            "\"\\x5ftarget_\": a.b",
            "_target_: &anchor !!str a.b",
            "_target_: >-\n  a.b",
            "_target_:\n  a.b",
            "? _target_ : a.b",
        ] {
            assert_eq!(all(text), ["_target_=a.b"], "{text}");
        }
        assert_eq!(all("x_target_: a\n_target_x: b\n_target_ a: c"), [""; 0]);
        assert_eq!(all("loader_module: mlflow.sklearn\n"), ["loader_module=mlflow.sklearn"]);
    }

    #[test]
    fn what_is_written_by_reference_is_told() {
        for text in [
            "k: &k _target_\nmodel:\n  *k : a.b",
            "model:\n  ? \"_tar\\\n    get_\"\n  : a.b",
            "%TAG !x! tag:yaml.org,2002:\n---\na: 1",
            "a: !!p%79thon/name:x",
        ] {
            assert!(has_indirection(text), "{text}");
        }
        for text in ["a: *b", "- *b", "x: 100 % y", "a: 'b: *c'", "? plain\n: 1", "say: hi! 5%"] {
            assert!(!has_indirection(text), "{text}");
        }
    }

    #[test]
    fn objects_of_python_are_told() {
        let mut tags = Vec::new();
        python_tags("a: !!python/object/apply:nonexistent_module.call [1]\n", |tag| {
            tags.push(tag.to_owned())
        });
        assert_eq!(tags, ["object/apply:nonexistent_module.call"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>(), yaml in "(_target_|[\"':{}\\[\\],#|>&! \n\\\\xué-]){0,40}") {
            all(&text);
            all(&yaml);
            python_tags(&yaml, |_| {});
        }
    }
}
