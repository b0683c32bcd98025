//! Splits a template into tokens by the rules of Jinja2. It never fails: an invalid template still has tokens.

/// A token inside a tag.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TemplateToken<'a> {
    /// A name or a keyword.
    Name(&'a str),
    /// A string with its escapes resolved.
    Text(String),
    /// A number.
    Number(&'a str),
    /// Any other character.
    Sign(char),
}

impl TemplateToken<'_> {
    /// Whether the token is this character.
    pub(super) fn is(&self, sign: char) -> bool {
        matches!(self, TemplateToken::Sign(c) if *c == sign)
    }

    /// The name, if the token is a name.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            TemplateToken::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The tokens of one tag, `{{ … }}` or `{% … %}`, each with its line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tag<'a> {
    pub words: Vec<(TemplateToken<'a>, u64)>,
}

/// Passes every tag of a template in order to `visit`.
pub(super) fn tags<'a>(text: &'a str, mut visit: impl FnMut(&Tag<'a>)) {
    let mut lexer = TemplateLexer { text, at: 0, line: 1, open_ended: 0 };
    while let Some(end) = lexer.next_tag() {
        let tag = lexer.tag(end);
        let is_raw = matches!(tag.words.as_slice(), [(TemplateToken::Name("raw"), _)]);
        visit(&tag);
        if is_raw {
            lexer.skip_raw();
        }
    }
}

struct TemplateLexer<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    /// The number of tags, comments and strings without an end. Each of them costs a search of the whole rest.
    open_ended: u32,
}

/// The largest number of searches for a missing end.
const MAX_OPEN_ENDED: u32 = 64;

impl<'a> TemplateLexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Advances by a number of bytes, which must end at a character boundary, and returns the text.
    fn advance(&mut self, bytes: usize) -> &'a str {
        let text = self.rest().get(..bytes).unwrap_or_default();
        self.line += text.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.at += bytes;
        text
    }

    /// Advances to the inside of the next tag and returns the delimiter that ends it. Comments are skipped.
    fn next_tag(&mut self) -> Option<&'static str> {
        loop {
            let open = self.rest().find('{')?;
            let next = self.rest().as_bytes().get(open + 1).copied();
            self.advance(open + 1);
            match next {
                Some(b'#') => {
                    // A comment without an end is not a comment for Jinja, so it must not hide anything here.
                    match self.ended(|rest| rest.find("#}")) {
                        Some(end) => {
                            self.advance(end + 2);
                        }
                        None => continue,
                    }
                }
                Some(b'{') => {
                    self.advance(1);
                    return Some("}}");
                }
                Some(b'%') => {
                    self.advance(1);
                    return Some("%}");
                }
                _ => {}
            }
        }
    }

    /// Advances to the end of a raw block.
    fn skip_raw(&mut self) {
        let end = self.ended(|rest| {
            let mut tags = rest.match_indices("{%").map(|(at, _)| at);
            tags.find(|at| {
                let inside = rest.get(at + 2..).unwrap_or_default();
                inside.trim_start_matches(['-', '+']).trim_start().starts_with("endraw")
            })
        });
        self.advance(end.unwrap_or_default());
    }

    /// Returns the result of `find` for the rest. After too many failures it does not search any more.
    fn ended<T>(&mut self, find: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        if self.open_ended >= MAX_OPEN_ENDED {
            return None;
        }
        let found = find(self.rest());
        self.open_ended += u32::from(found.is_none());
        found
    }

    /// Reads the tokens up to the end of a tag.
    fn tag(&mut self, end: &str) -> Tag<'a> {
        let mut tag = Tag::default();
        let mut open = 0usize;
        // The sign that trims the text before a tag is not a token.
        if self.rest().starts_with(['-', '+']) {
            self.advance(1);
        }
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.advance(blank);
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return tag };
            let closing = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if open == 0 && closing.starts_with(end) {
                self.advance(rest.len() - closing.len() + end.len());
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
                    self.advance(length);
                    return TemplateToken::Text(text);
                }
                None => {
                    self.advance(1);
                }
            },
            '0'..='9' => {
                let mut length = length_of(|c| c == '_' || c.is_alphanumeric());
                // A dot before a digit begins a fraction, not an attribute.
                let fraction = rest[length..].strip_prefix('.').unwrap_or_default();
                if fraction.starts_with(|c: char| c.is_ascii_digit()) {
                    let end = fraction.find(|c: char| !is_part(c)).unwrap_or(fraction.len());
                    length += 1 + end;
                }
                return TemplateToken::Number(self.advance(length));
            }
            c if is_part(c) => {
                return TemplateToken::Name(
                    self.advance(length_of(|c| c == '_' || c.is_alphanumeric())),
                );
            }
            c => {
                self.advance(c.len_utf8());
            }
        }
        TemplateToken::Sign(first)
    }
}

/// Parses the Python string at the start of a text. Returns its value and its length in the text.
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

/// Resolves an escape. An unknown escape is kept, as in Python.
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

/// Resolves an escape of up to three octal digits.
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

/// Resolves an escape with the Unicode name of a character. Only the underscore matters.
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
