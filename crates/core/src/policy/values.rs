//! The value types of a policy: patterns, ages, limits and names.

use jiff::SignedDuration;
use std::fmt;
use std::str::FromStr;
use tensorseal_base::severity::Severity;

/// A pattern in which `*` matches any characters, including none. All other characters match themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Returns whether the pattern matches a whole text.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        // The earliest match of each part leaves the most text for the following parts.
        for part in parts {
            match text.find(part) {
                Some(at) => text = &text[at + part.len()..],
                None => return false,
            }
        }
        text.ends_with(last)
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches every text.
    pub(super) fn is_everything(&self) -> bool {
        self.0.chars().all(|c| c == '*')
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("must not be empty".to_owned()),
            text if text.chars().any(char::is_control) => {
                Err("must not contain control characters".to_owned())
            }
            text => Ok(Self(text.to_owned())),
        }
    }
}

/// A maximum age, written as a number and `m`, `h`, `d` or `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    seconds: u32,
}

impl Age {
    /// Returns the age as a duration.
    pub fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.seconds))
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected an age such as 90m, 12h, 30d or 4w".to_owned();
        let (number, unit) =
            text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
        let unit: u32 = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(expected()),
        };
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(expected());
        }
        match number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit)) {
            Some(0) => Err("must be greater than zero".to_owned()),
            Some(seconds) => Ok(Self { seconds }),
            None => Err("must be at most a century".to_owned()),
        }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "m")];
        let (size, name) = units
            .into_iter()
            .find(|(size, _)| self.seconds.is_multiple_of(*size))
            .unwrap_or((1, "s"));
        write!(f, "{}{name}", self.seconds / size)
    }
}

/// Which code of a model a loader may execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeAllowed {
    /// No code is allowed.
    None,
    /// Code is allowed in files that a trusted party vouches for by the digest of the whole file.
    Pinned,
    /// Any code is allowed.
    Any,
}

impl CodeAllowed {
    /// All values.
    pub const ALL: [Self; 3] = [Self::None, Self::Pinned, Self::Any];

    /// Returns the value as written in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pinned => "pinned",
            Self::Any => "any",
        }
    }
}

/// How unrecognised files and programs are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFiles {
    /// They fail the gate.
    Fail,
    /// They are allowed if a trusted party vouches for them by the digest of the whole file.
    Pinned,
    /// They are allowed and listed in the report.
    List,
}

impl UnknownFiles {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Fail, Self::Pinned, Self::List];

    /// Returns the value as written in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pinned => "pinned",
            Self::List => "list",
        }
    }
}

/// An area of rules that a policy can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Findings about the structure of files.
    Format,
    /// Findings of the comparison with a seal.
    Integrity,
    /// Findings about signatures.
    Signature,
    /// Findings about the values of weights.
    Weights,
    /// Findings about data hidden in low bits.
    Payload,
    /// Findings about watermarks.
    Watermark,
    /// Findings of the comparison with a baseline.
    Lineage,
    /// Findings about files besides weights, and about code that a loader would execute.
    Content,
    /// Findings about published digests of files.
    Claims,
}

impl Area {
    /// All values.
    pub const ALL: [Self; 9] = [
        Self::Format,
        Self::Integrity,
        Self::Signature,
        Self::Weights,
        Self::Payload,
        Self::Watermark,
        Self::Lineage,
        Self::Content,
        Self::Claims,
    ];

    /// Returns the name: the first part of the ids of the rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Integrity => "integrity",
            Self::Signature => "signature",
            Self::Weights => "weights",
            Self::Payload => "payload",
            Self::Watermark => "watermark",
            Self::Lineage => "lineage",
            Self::Content => "content",
            Self::Claims => "claims",
        }
    }

    /// Returns the area of a rule; `None` if no policy can limit it.
    pub fn from_rule(rule: &str) -> Option<Self> {
        let (area, _) = rule.split_once('/')?;
        Self::ALL.into_iter().find(|known| known.name() == area)
    }
}

/// The most severe findings that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// No findings are allowed, not even remarks.
    None,
    /// Findings up to this severity are allowed.
    Upto(Severity),
}

impl Limit {
    /// The default limit: findings that fail a command by default are not allowed.
    pub const DEFAULT: Self = Self::Upto(Severity::Low);

    /// Returns whether a finding of this severity is allowed.
    pub fn lets_through(self, severity: Severity) -> bool {
        match self {
            Self::None => false,
            Self::Upto(worst) => severity <= worst,
        }
    }

    /// Returns the value as written in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Upto(severity) => severity.name(),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(Self::None),
            name => name
                .parse()
                .map(Self::Upto)
                .map_err(|_| "expected none, info, low, medium, high or critical".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_any_characters_and_all_else_is_itself() {
        for (of, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*@example.com", "release@example.com", true),
            ("*@example.com", "release@example.com.evil", false),
            ("model.layers.*.mlp.*", "model.layers.7.mlp.up.weight", true),
            ("model.layers.*.mlp.*", "model.layers.7.attention.mlp", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("*.*", "a.b.c", true),
            ("[a-z]?", "[a-z]?", true),
            ("[a-z]?", "ab", false),
            ("**", "", true),
        ] {
            assert_eq!(pattern(of).matches(text), expected, "{of} {text}");
        }
        assert!("".parse::<Pattern>().is_err() && "a\nb".parse::<Pattern>().is_err());
    }

    #[test]
    fn ages_have_a_unit() {
        for (text, shown) in
            [("90m", "90m"), ("12h", "12h"), ("30d", "30d"), ("14d", "2w"), ("24h", "1d")]
        {
            assert_eq!(text.parse::<Age>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "d",
            "30",
            "30D",
            "-1d",
            "+1d",
            "1.5d",
            "0d",
            "99999999999d",
            "5000000w",
            "1é",
            "d1",
        ] {
            assert!(text.parse::<Age>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn none_lets_nothing_through() {
        assert!(!Limit::None.lets_through(Severity::Info));
        assert!(Limit::Upto(Severity::Low).lets_through(Severity::Low));
        assert!(!Limit::Upto(Severity::Low).lets_through(Severity::Medium));
        assert!(Limit::None < Limit::Upto(Severity::Info));
    }

    /// The same match by trying every end of every star.
    fn matches_slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| matches_slowly(rest, &text[skip..])),
            Some((c, rest)) => text.first() == Some(c) && matches_slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_what_trying_everything_matches(of in "[ab*é]{1,7}", text in "[abé]{0,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(pattern(&of).matches(&text), matches_slowly(&chars(&of), &chars(&text)));
        }
    }
}
