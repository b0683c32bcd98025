//! The rules: what each finding means, how it is measured, how often it is wrong, what to do.
//!
//! All of it is one data file, `rules.toml`, with the versions of the public catalogues whose ids it
//! names. It is read once, and a test holds it to the ids that the source uses.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use tensorseal_base::severity::Severity;

/// One rule, its family's text filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// Stable id, `area/what-is-wrong`.
    pub id: &'static str,
    /// Usual severity; the finding may have another, with a reason in its message.
    pub severity: Severity,
    /// A few words.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What it does not mean.
    pub limits: &'static str,
    /// How it is measured.
    pub measured: &'static str,
    /// How often, or when, it is wrong.
    pub false_alarms: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Ids of the public catalogues.
    pub references: Vec<&'static str>,
}

impl Rule {
    /// The part of the id before the slash.
    pub fn area(&self) -> &'static str {
        self.id.split('/').next().unwrap_or(self.id)
    }
}

/// A public catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Its full name.
    pub title: String,
    /// The edition whose ids are named.
    pub version: String,
    /// What its ids start with, as they are written here.
    pub prefix: String,
}

/// Everything the data file says.
#[derive(Debug)]
pub struct Rules {
    /// Schema name of the data file and of what `explain --format json` prints.
    pub schema: &'static str,
    /// Version of the data file: a date.
    pub version: &'static str,
    /// The public catalogues, by short name.
    pub catalogues: &'static BTreeMap<String, Catalogue>,
    /// All rules, in order of their ids.
    pub all: Vec<Rule>,
}

/// The data file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesDocument {
    schema: String,
    version: String,
    catalogues: BTreeMap<String, Catalogue>,
    family: HashMap<String, RuleText>,
    rule: Vec<RuleEntry>,
}

/// What a family or a rule says.
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
    // Part of the program: what is wrong with it is seen by every test that makes a finding.
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

/// Everything that is known of the rules.
pub fn rules() -> &'static Rules {
    &RULES
}

/// The rule of this id.
pub fn find_rule(id: &str) -> Option<&'static Rule> {
    let all = &rules().all;
    all.binary_search_by(|rule| rule.id.cmp(id)).ok().map(|index| &all[index])
}

/// Usual severity and public ids of a rule.
pub fn severity_and_references(id: &str) -> (Severity, &'static [&'static str]) {
    find_rule(id).map_or((Severity::High, &[]), |rule| (rule.severity, &rule.references))
}

/// The catalogue that a public id is from, with its short name.
pub fn catalogue_of(reference: &str) -> Option<(&'static str, &'static Catalogue)> {
    let all = rules().catalogues.iter();
    all.filter(|(_, catalogue)| reference.starts_with(&catalogue.prefix))
        .max_by_key(|(_, catalogue)| catalogue.prefix.len())
        .map(|(name, catalogue)| (name.as_str(), catalogue))
}

/// The ids that are most like one that does not exist, likeliest first.
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

    /// Every rule id in quotes in the source, with the severity that stands beside it, if one does.
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
