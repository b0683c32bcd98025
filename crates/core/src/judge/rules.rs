//! The rules: what each finding means, how it is measured, how often it is wrong, and what to do.
//!
//! All rules are in one data file, `rules.toml`, with the versions of the public catalogues whose ids it names. It
//! is parsed once. A test compares its ids with those that the source code uses.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use tensorseal_base::severity::Severity;

/// A rule, with the texts of its family filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// The stable id, `area/what-is-wrong`.
    pub id: &'static str,
    /// The usual severity. A finding may have another severity; its message then says why.
    pub severity: Severity,
    /// The title: a few words.
    pub title: &'static str,
    /// What a finding of the rule means.
    pub meaning: &'static str,
    /// What a finding of the rule does not mean.
    pub limits: &'static str,
    /// How the rule is checked.
    pub measured: &'static str,
    /// How often, or when, the rule gives a false alarm.
    pub false_alarms: &'static str,
    /// What to do about a finding of the rule.
    pub action: &'static str,
    /// The ids of public catalogues.
    pub references: Vec<&'static str>,
}

impl Rule {
    /// Returns the area of the rule: the part of the id before the slash.
    pub fn area(&self) -> &'static str {
        self.id.split('/').next().unwrap_or(self.id)
    }
}

/// A public catalogue of threats or controls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The full name.
    pub title: String,
    /// The edition that the ids refer to.
    pub version: String,
    /// The prefix of its ids as they are written here.
    pub prefix: String,
}

/// The content of the data file.
#[derive(Debug)]
pub struct Rules {
    /// The schema name of the data file and of the output of `explain --format json`.
    pub schema: &'static str,
    /// The version of the data file: a date.
    pub version: &'static str,
    /// The public catalogues by short name.
    pub catalogues: &'static BTreeMap<String, Catalogue>,
    /// All rules in order of their ids.
    pub all: Vec<Rule>,
}

/// The data file as it is stored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesDocument {
    schema: String,
    version: String,
    catalogues: BTreeMap<String, Catalogue>,
    family: HashMap<String, RuleText>,
    rule: Vec<RuleEntry>,
}

/// The texts of a family.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    limits: Option<String>,
    measured: Option<String>,
    false_alarms: Option<String>,
    action: Option<String>,
    references: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    id: String,
    severity: Severity,
    title: String,
    family: Option<String>,
    meaning: String,
    limits: Option<String>,
    measured: Option<String>,
    false_alarms: Option<String>,
    action: Option<String>,
    references: Option<Vec<String>>,
}

static DOCUMENT: LazyLock<RulesDocument> = LazyLock::new(|| {
    // The file is part of the program, so every test that creates a finding detects a malformed file.
    toml::from_str(include_str!("rules.toml")).unwrap_or_else(|error| panic!("rules.toml: {error}"))
});

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    schema: &DOCUMENT.schema,
    version: &DOCUMENT.version,
    catalogues: &DOCUMENT.catalogues,
    all: DOCUMENT.rule.iter().map(rule).collect(),
});

fn rule(entry: &'static RuleEntry) -> Rule {
    static NOTHING: RuleText = RuleText {
        limits: None,
        measured: None,
        false_alarms: None,
        action: None,
        references: None,
    };
    let named = entry.family.as_ref();
    let family = named.and_then(|name| DOCUMENT.family.get(name)).unwrap_or(&NOTHING);
    let text = |own: &'static Option<String>, shared: &'static Option<String>| -> &'static str {
        own.as_deref().or(shared.as_deref()).unwrap_or_default()
    };
    let references = entry.references.as_ref().or(family.references.as_ref());
    Rule {
        id: &entry.id,
        severity: entry.severity,
        title: &entry.title,
        meaning: &entry.meaning,
        limits: text(&entry.limits, &family.limits),
        measured: text(&entry.measured, &family.measured),
        false_alarms: text(&entry.false_alarms, &family.false_alarms),
        action: text(&entry.action, &family.action),
        references: references.into_iter().flatten().map(String::as_str).collect(),
    }
}

/// Returns all rules and catalogues.
///
/// # Panics
/// Panics if the built-in data file is malformed, which tests rule out.
pub fn rules() -> &'static Rules {
    &RULES
}

/// Returns the rule with this id.
pub fn find_rule(id: &str) -> Option<&'static Rule> {
    let all = &rules().all;
    all.binary_search_by(|rule| rule.id.cmp(id)).ok().map(|index| &all[index])
}

/// Returns the usual severity and the public ids of a rule; for an unknown rule, `High` and no ids.
pub fn severity_and_references(id: &str) -> (Severity, &'static [&'static str]) {
    find_rule(id).map_or((Severity::High, &[]), |rule| (rule.severity, &rule.references))
}

/// Returns the catalogue that a public id belongs to, with its short name.
pub fn catalogue_of(reference: &str) -> Option<(&'static str, &'static Catalogue)> {
    let all = rules().catalogues.iter();
    all.filter(|(_, catalogue)| reference.starts_with(&catalogue.prefix))
        .max_by_key(|(_, catalogue)| catalogue.prefix.len())
        .map(|(name, catalogue)| (name.as_str(), catalogue))
}

/// Returns the ids that are most similar to an unknown one, the most similar first.
pub fn nearest(id: &str, count: usize) -> Vec<&'static str> {
    let likeness = |rule: &Rule| {
        let name = rule.id.split('/').nth(1).unwrap_or_default();
        strsim::jaro_winkler(id, rule.id).max(strsim::jaro_winkler(id, name))
    };
    let mut scored: Vec<(f64, &str)> = rules().all.iter().map(|r| (likeness(r), r.id)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(count).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_data_file_is_sound() {
        assert_eq!(rules().schema, "tensorseal.rules/1");
        let all = &rules().all;
        assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id), "in order, each once");
        for (rule, entry) in all.iter().zip(&DOCUMENT.rule) {
            let id = rule.id;
            assert!(entry.family.iter().all(|name| DOCUMENT.family.contains_key(name)), "{id}");
            for text in [rule.meaning, rule.limits, rule.measured, rule.false_alarms, rule.action] {
                assert!(text.ends_with('.') && text == text.trim(), "{id}: {text:?}");
                assert_eq!(text.matches('`').count() % 2, 0, "{id}: {text:?}");
            }
            assert!(!rule.title.is_empty() && !rule.title.ends_with('.'), "{id}");
            for reference in &rule.references {
                assert!(catalogue_of(reference).is_some(), "{id}: {reference}");
            }
        }
        let used: BTreeSet<_> = DOCUMENT.rule.iter().filter_map(|e| e.family.as_ref()).collect();
        assert_eq!(used.len(), DOCUMENT.family.len(), "families are used");
    }

    #[test]
    fn severities_and_catalogues_are_found() {
        assert_eq!(severity_and_references("integrity/header-changed").0, Severity::Medium);
        assert_eq!(severity_and_references("integrity/tensor-changed").0, Severity::Critical);
        assert_eq!(severity_and_references("format/overlap").0, Severity::High);
        assert!(severity_and_references("integrity/tensor-changed").1.contains(&"AML.T0018"));
        assert_eq!(severity_and_references("no/such"), (Severity::High, &[][..]));
        for (id, name) in [
            ("AML.T0018", "atlas"),
            ("LLM04", "owasp-llm"),
            ("ML06", "owasp-ml"),
            ("SI-7", "sp-800-53"),
        ] {
            assert_eq!(catalogue_of(id).map(|found| found.0), Some(name));
        }
        assert_eq!(catalogue_of("X-1"), None);
    }

    #[test]
    fn an_id_that_is_nearly_right_is_found() {
        assert_eq!(nearest("integrity/tensor-chnaged", 1), ["integrity/tensor-changed"]);
        assert_eq!(nearest("low-bits", 1), ["payload/low-bits"]);
    }

    /// Collects every quoted rule id in the source code, with the severity that follows it, if there is one.
    fn in_source(directory: &Path, found: &mut Vec<(String, Option<Severity>)>) {
        let areas: BTreeSet<_> = rules().all.iter().map(Rule::area).collect();
        let is_id = |text: &str| {
            let dashed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let parts = text.split_once('/');
            let is_rule = |area, what: &str| {
                areas.contains(area) && !what.is_empty() && what.chars().all(dashed)
            };
            parts.is_some_and(|(area, what)| is_rule(area, what))
        };
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                in_source(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("rules.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let pieces: Vec<&str> = text.split('"').collect();
                for pair in pieces.windows(2).filter(|pair| is_id(pair[0])) {
                    let word = pair[1].trim_start_matches(", ").trim_start_matches("Severity::");
                    let word = word.split(')').next().unwrap_or_default().to_lowercase();
                    found.push((pair[0].to_owned(), word.parse().ok()));
                }
            }
        }
    }

    #[test]
    fn every_rule_of_the_source_is_described_and_every_described_one_is_used() {
        let mut found = Vec::new();
        for folder in ["crates", "src"] {
            in_source(&tensorseal_testing::workspace().join(folder), &mut found);
        }
        assert!(found.len() > 100, "{}", found.len());
        for (id, severity) in &found {
            let rule = find_rule(id).unwrap_or_else(|| panic!("{id} is not in rules.toml"));
            if let Some(severity) = severity {
                assert_eq!(rule.severity, *severity, "{id}");
            }
        }
        let used: BTreeSet<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        for rule in &rules().all {
            assert!(used.contains(rule.id), "{} is described and not used", rule.id);
        }
    }
}
