//! Checks whether minijinja can parse a template, within limits that protect its stack.

use super::lexer::{Tag, TemplateToken};
use minijinja::machinery::parse;

/// The longest template in bytes that is parsed.
const MAX_BYTES: usize = 1 << 20;
/// The longest line in bytes: minijinja counts columns in 16 bits.
pub(super) const MAX_LINE: usize = 60_000;
/// The largest number of tokens in a tag. The parser is recursive and takes some KiB of stack per level, without a
/// limit that suits a thread; this and the following limits prevent an overflow.
const MAX_WORDS: usize = 1000;
/// The largest number of branches of conditions.
const MAX_BRANCHES: usize = 100;
/// The deepest nesting of blocks.
const MAX_BLOCKS: usize = 24;
/// The deepest nesting of brackets.
pub(super) const MAX_BRACKETS: usize = 16;
/// The statements that contain other statements.
const BLOCKS: [&str; 8] = ["autoescape", "block", "call", "filter", "for", "if", "macro", "with"];
/// The largest number of consecutive negations.
const MAX_NEGATIONS: usize = 16;

/// Tracks whether a template stays within the limits.
#[derive(Debug, Default)]
pub(super) struct NestingLimits {
    branches: usize,
    blocks: usize,
    too_deep: bool,
}

impl NestingLimits {
    /// Checks a tag.
    pub(super) fn check_tag(&mut self, tag: &Tag<'_>) {
        let mut in_row = 0usize;
        for (word, _) in &tag.words {
            let negates = word.is('-') || word.name() == Some("not");
            in_row = if negates { in_row + 1 } else { 0 };
            self.too_deep |= in_row > MAX_NEGATIONS;
        }
        match tag.words.first().and_then(|(word, _)| word.name()) {
            Some("elif") => self.branches += 1,
            Some("set") if !tag.words.iter().any(|(word, _)| word.is('=')) => self.blocks += 1,
            Some(name) if BLOCKS.contains(&name) => self.blocks += 1,
            Some(name) if name.starts_with("end") => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
        self.too_deep |= tag.words.len() > MAX_WORDS
            || brackets(&tag.words) > MAX_BRACKETS
            || self.branches > MAX_BRANCHES
            || self.blocks > MAX_BLOCKS;
    }

    /// The reason why a template cannot be parsed, if there is one.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        let is_long = text.len() > MAX_BYTES || text.split('\n').any(|line| line.len() > MAX_LINE);
        if self.too_deep || is_long {
            return Some("it exceeds the limits of length or nesting".to_owned());
        }
        let error = parse(text, "", Default::default()).err()?;
        let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
        Some(format!("{}{line}", error.detail().unwrap_or("it cannot be parsed")))
    }
}

/// The deepest nesting of brackets.
pub(super) fn brackets(words: &[(TemplateToken<'_>, u64)]) -> usize {
    let (mut open, mut deepest) = (0usize, 0);
    for (word, _) in words {
        match word {
            TemplateToken::Sign('(' | '[' | '{') => open += 1,
            TemplateToken::Sign(')' | ']' | '}') => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
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
