//! Whether a template is plain Jinja, to a reader that is not Jinja2.

use super::lexer::{Tag, TemplateToken};
use minijinja::machinery::parse;

/// Longest template that is parsed.
const MOST_BYTES: usize = 1 << 20;
/// Longest line: minijinja counts columns in 16 bits.
pub(super) const MOST_LINE: usize = 60_000;
/// Most words of a tag, most branches of conditions, and most blocks and brackets in one another: a parser
/// that descends takes some KiB of stack for each, without a bound that suits a thread.
const MOST_WORDS: usize = 1000;
const MOST_BRANCHES: usize = 100;
const MOST_BLOCKS: usize = 24;
pub(super) const MOST_BRACKETS: usize = 16;
/// Statements that others stand in.
const BLOCKS: [&str; 8] = ["autoescape", "block", "call", "filter", "for", "if", "macro", "with"];
/// Most signs in a row that turn a value round.
const MOST_SIGNS: usize = 16;

/// Whether a template may be parsed: nothing in it makes a parser go deep.
#[derive(Debug, Default)]
pub(super) struct NestingLimits {
    branches: usize,
    blocks: usize,
    too_deep: bool,
}

impl NestingLimits {
    /// Looks at a tag.
    pub(super) fn check_tag(&mut self, tag: &Tag<'_>) {
        let mut in_row = 0usize;
        for (word, _) in &tag.words {
            let turns = word.is('-') || word.name() == Some("not");
            in_row = if turns { in_row + 1 } else { 0 };
            self.too_deep |= in_row > MOST_SIGNS;
        }
        match tag.words.first().and_then(|(word, _)| word.name()) {
            Some("elif") => self.branches += 1,
            Some("set") if !tag.words.iter().any(|(word, _)| word.is('=')) => self.blocks += 1,
            Some(name) if BLOCKS.contains(&name) => self.blocks += 1,
            Some(name) if name.starts_with("end") => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
        self.too_deep |= tag.words.len() > MOST_WORDS
            || brackets(&tag.words) > MOST_BRACKETS
            || self.branches > MOST_BRANCHES
            || self.blocks > MOST_BLOCKS;
    }

    /// Why a template is not plain Jinja; `None`: it is.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        let is_long =
            text.len() > MOST_BYTES || text.split('\n').any(|line| line.len() > MOST_LINE);
        if self.too_deep || is_long {
            return Some("it is longer than any that is read".to_owned());
        }
        let error = parse(text, "", Default::default()).err()?;
        let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
        Some(format!("{}{line}", error.detail().unwrap_or("it cannot be parsed")))
    }
}

/// How deep brackets stand in one another.
pub(super) fn brackets(words: &[(TemplateToken<'_>, u64)]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for (word, _) in words {
        match word {
            TemplateToken::Sign('(' | '[' | '{') => open += 1,
            TemplateToken::Sign(')' | ']' | '}') => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tags;
    use super::*;

    fn fault(text: &str) -> Option<String> {
        let mut depth = NestingLimits::default();
        tags(text, |tag| depth.check_tag(tag));
        depth.fault(text)
    }

    #[test]
    fn extensions_are_not_plain() {
        assert_eq!(fault("{% for m in messages %}{{ m.content }}{% endfor %}"), None);
        let text = fault("{% generation %}{{ a }}{% endgeneration %}").unwrap();
        assert!(text.contains("line 1"), "{text}");
    }

    #[test]
    fn what_makes_parsers_go_deep_is_not_parsed() {
        for text in [
            format!("{{{{ a{} }}}}", ".b".repeat(100_000)),
            format!("{{{{ {} a }}}}", "- ".repeat(100_000)),
            format!("{{{{ {} a }}}}", "not ".repeat(100_000)),
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(100_000)),
            format!("{{{{ a{} }}}}", " + a".repeat(100_000)),
            "{% if a %}".repeat(50_000),
            format!("{}{{{{ & }}}}", "é".repeat(70_000)),
            format!("{{{{ {}{} }}}}", "[".repeat(100), "]".repeat(100)),
            format!("{}{}", "{% for a in b %}".repeat(100), "{% endfor %}".repeat(100)),
        ] {
            assert!(fault(&text).is_some(), "{}", &text[..40]);
        }
    }
}
