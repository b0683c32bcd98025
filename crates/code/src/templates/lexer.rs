//! The words of a template, by the rules of Jinja2. It stops at nothing: what is no template for Jinja is
//! still words here.

/// A word inside of a tag.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TemplateToken<'a> {
    /// A name or a keyword.
    Name(&'a str),
    /// A string, its escapes resolved.
    Text(String),
    /// A number.
    Number(&'a str),
    /// Any other character.
    Sign(char),
}

impl TemplateToken<'_> {
    /// Whether it is this character.
    pub(super) fn is(&self, sign: char) -> bool {
        matches!(self, TemplateToken::Sign(c) if *c == sign)
    }

    /// The name that it is.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            TemplateToken::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The words of one tag, `{{ … }}` or `{% … %}`, each with its line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tag<'a> {
    pub words: Vec<(TemplateToken<'a>, u64)>,
}

/// Shows every tag of a template in order.
pub(super) fn tags<'a>(text: &'a str, mut look: impl FnMut(&Tag<'a>)) {
    let mut lexer = TemplateLexer { text, at: 0, line: 1, open_ended: 0 };
    while let Some(end) = lexer.next_tag() {
        let tag = lexer.tag(end);
        let is_raw = matches!(tag.words.as_slice(), [(TemplateToken::Name("raw"), _)]);
        look(&tag);
        if is_raw {
            lexer.pass_raw();
        }
    }
}

struct TemplateLexer<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    /// How often something began that has no end: each took a look at all that follows.
    open_ended: u32,
}

/// After so many, what begins is a word like others.
const MOST_OPEN_ENDED: u32 = 64;

impl<'a> TemplateLexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes on by so many bytes, which end with a character.
    fn pass(&mut self, bytes: usize) -> &'a str {
        let passed = self.rest().get(..bytes).unwrap_or_default();
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.at += bytes;
        passed
    }

    /// Goes to the inside of the next tag; what ends it is returned. Comments are passed over.
    fn next_tag(&mut self) -> Option<&'static str> {
        loop {
            let open = self.rest().find('{')?;
            let next = self.rest().as_bytes().get(open + 1).copied();
            self.pass(open + 1);
            match next {
                Some(b'#') => {
                    // One without an end is none for Jinja, and hides nothing here.
                    match self.ended(|rest| rest.find("#}")) {
                        Some(end) => {
                            self.pass(end + 2);
                        }
                        None => continue,
                    }
                }
                Some(b'{') => {
                    self.pass(1);
                    return Some("}}");
                }
                Some(b'%') => {
                    self.pass(1);
                    return Some("%}");
                }
                _ => {}
            }
        }
    }

    /// Goes behind the end of what is not to be read.
    fn pass_raw(&mut self) {
        let end = self.ended(|rest| {
            let mut tags = rest.match_indices("{%").map(|(at, _)| at);
            tags.find(|at| {
                let inside = rest.get(at + 2..).unwrap_or_default();
                inside.trim_start_matches(['-', '+']).trim_start().starts_with("endraw")
            })
        });
        self.pass(end.unwrap_or_default());
    }

    /// What `find` finds in the rest; what is not there is not looked for again and again.
    fn ended<T>(&mut self, find: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        if self.open_ended >= MOST_OPEN_ENDED {
            return None;
        }
        let found = find(self.rest());
        self.open_ended += u32::from(found.is_none());
        found
    }

    /// The words up to the end of a tag.
    fn tag(&mut self, end: &str) -> Tag<'a> {
        let mut tag = Tag::default();
        let mut open = 0usize;
        // What trims the text before a tag is no word of it.
        if self.rest().starts_with(['-', '+']) {
            self.pass(1);
        }
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.pass(blank);
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return tag };
            let closing = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if open == 0 && closing.starts_with(end) {
                self.pass(rest.len() - closing.len() + end.len());
                return tag;
            }
            let line = self.line;
            let word = self.word(first);
            match word {
                TemplateToken::Sign('(' | '[' | '{') => open += 1,
                TemplateToken::Sign(')' | ']' | '}') => open = open.saturating_sub(1),
                _ => {}
            }
            tag.words.push((word, line));
        }
    }

    fn word(&mut self, first: char) -> TemplateToken<'a> {
        let rest = self.rest();
        let is_part = |c: char| c == '_' || c.is_alphanumeric();
        let length_of = |c: fn(char) -> bool| rest.find(|x| !c(x)).unwrap_or(rest.len());
        match first {
            '\'' | '"' => match self.ended(|rest| string(rest, first)) {
                Some((text, length)) => {
                    self.pass(length);
                    return TemplateToken::Text(text);
                }
                None => {
                    self.pass(1);
                }
            },
            '0'..='9' => {
                let mut length = length_of(|c| c == '_' || c.is_alphanumeric());
                // A fraction, not an attribute.
                let fraction = rest[length..].strip_prefix('.').unwrap_or_default();
                if fraction.starts_with(|c: char| c.is_ascii_digit()) {
                    let end = fraction.find(|c: char| !is_part(c)).unwrap_or(fraction.len());
                    length += 1 + end;
                }
                return TemplateToken::Number(self.pass(length));
            }
            c if is_part(c) => {
                return TemplateToken::Name(
                    self.pass(length_of(|c| c == '_' || c.is_alphanumeric())),
                );
            }
            c => {
                self.pass(c.len_utf8());
            }
        }
        TemplateToken::Sign(first)
    }
}

/// The string that a text begins with, as Python has it, and its length as it is written.
fn string(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, at + 1)),
            '\\' => {
                let (_, escaped) = chars.next()?;
                escape(escaped, &mut chars, &mut value);
            }
            c => value.push(c),
        }
    }
    None
}

type Chars<'t> = std::iter::Skip<std::str::CharIndices<'t>>;

/// Resolves an escape; one that Python does not know stays as it is.
fn escape(escaped: char, chars: &mut Chars<'_>, value: &mut String) {
    let digits = match escaped {
        'n' => return value.push('\n'),
        't' => return value.push('\t'),
        'r' => return value.push('\r'),
        '\n' => return,
        '\\' | '\'' | '"' => return value.push(escaped),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        'N' => return named(chars, value),
        '0'..='7' => return octal(escaped, chars, value),
        other => {
            value.push('\\');
            return value.push(other);
        }
    };
    let mut ahead = chars.clone();
    let code = (0..digits).try_fold(0u32, |code, _| {
        let digit = ahead.next()?.1.to_digit(16)?;
        code.checked_mul(16)?.checked_add(digit)
    });
    match code.and_then(char::from_u32) {
        Some(c) => {
            *chars = ahead;
            value.push(c);
        }
        None => value.push('\\'),
    }
}

/// Up to three octal digits.
fn octal(first: char, chars: &mut Chars<'_>, value: &mut String) {
    let mut code = first.to_digit(8).unwrap_or_default();
    for _ in 0..2 {
        let mut ahead = chars.clone();
        let Some(digit) = ahead.next().and_then(|(_, c)| c.to_digit(8)) else { break };
        code = code * 8 + digit;
        *chars = ahead;
    }
    value.extend(char::from_u32(code));
}

/// A character by its name in Unicode. The underscore is the one that matters.
fn named(chars: &mut Chars<'_>, value: &mut String) {
    let mut ahead = chars.clone();
    let name: String = ahead.by_ref().map(|(_, c)| c).take(64).take_while(|c| *c != '}').collect();
    match name.strip_prefix('{') {
        Some(name)
            if name.eq_ignore_ascii_case("low line") || name.eq_ignore_ascii_case("underscore") =>
        {
            *chars = ahead;
            value.push('_');
        }
        _ => value.push_str("\\N"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        tags(text, |tag| {
            all.extend(tag.words.iter().map(|(word, _)| match word {
                TemplateToken::Name(name) => (*name).to_owned(),
                TemplateToken::Text(text) => format!("'{text}'"),
                TemplateToken::Number(number) => (*number).to_owned(),
                TemplateToken::Sign(c) => c.to_string(),
            }));
        });
        all
    }

    #[test]
    fn words_are_those_of_jinja() {
        assert_eq!(words("a {{- b.c[1] -}} d"), ["b", ".", "c", "[", "1", "]"]);
        assert_eq!(words("{% if a %}{{ {'x': {}} }}{% endif %}").len(), 9);
        assert_eq!(words("{# {{ a }} #}{{ b }}"), ["b"]);
        assert_eq!(words("{% raw %}{{ a }}{% endraw %}{{ b }}"), ["raw", "endraw", "b"]);
        assert_eq!(words("{{ '}}' }}{{ 1.5e3 + 1.x }}"), ["'}}'", "1.5e3", "+", "1", ".", "x"]);
        assert_eq!(words("{{ été }}"), ["été"]);
        // Not for Jinja, and looked through all the same.
        assert_eq!(words("{{ a & b ' c }}"), ["a", "&", "b", "'", "c"]);
        assert_eq!(words("{# {{ a }}"), ["a"]);
    }

    #[test]
    fn strings_are_those_of_python() {
        assert_eq!(words(r#"{{ '\x61\u0062\143\N{LOW LINE}\n\'\d' }}"#), ["'abc_\n'\\d'"]);
        assert_eq!(words(r#"{{ "a'b" 'c\"d' }}"#), ["'a'b'", "'c\"d'"]);
        assert_eq!(words(r"{{ '\x6' }}"), ["'\\6'"]);
    }

    #[test]
    fn lines_are_counted() {
        let mut lines = Vec::new();
        tags("a\n{{ b }}\n{%\n c %}", |tag| lines.extend(tag.words.iter().map(|(_, line)| *line)));
        assert_eq!(lines, [2, 4]);
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>(), jinja in "(\\{\\{|\\}\\}|\\{%|%\\}|\\{#|#\\}|raw|endraw|['\"\\\\._\\[\\](){}|~+xuN0-9 aé\n-]){0,60}") {
            words(&text);
            words(&jinja);
        }
    }
}
