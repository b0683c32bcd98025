//! The rules that a log refers to, and the public catalogues that these refer to.

use super::level;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_core::judge::Severity;
use tensorseal_core::judge::rules::{Rule, catalogue_of, find_rule, rules};

/// The rules and catalogue entries that a log refers to.
pub(super) struct ReferencedRules {
    rules: Vec<&'static Rule>,
    /// The ids that are used, by the short name of their catalogue.
    taxa: BTreeMap<&'static str, Vec<&'static str>>,
}

impl ReferencedRules {
    pub(super) fn of(ids: &BTreeSet<&str>) -> Self {
        let rules: Vec<&Rule> = ids.iter().filter_map(|id| find_rule(id)).collect();
        let mut taxa: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for reference in rules.iter().flat_map(|rule| &rule.references) {
            if let Some((name, _)) = catalogue_of(reference) {
                taxa.entry(name).or_default().insert(reference);
            }
        }
        let taxa = taxa.into_iter().map(|(name, ids)| (name, ids.into_iter().collect())).collect();
        Self { rules, taxa }
    }

    /// Returns the position of a rule in [`ReferencedRules::rules`], or -1 if it has none, as the standard requires.
    pub(super) fn index(&self, id: &str) -> i64 {
        self.rules.binary_search_by(|rule| rule.id.cmp(id)).map_or(-1, |index| index as i64)
    }

    /// Returns the rule descriptors.
    pub(super) fn rules(&self) -> Vec<Value> {
        self.rules.iter().map(|rule| self.descriptor(rule)).collect()
    }

    fn descriptor(&self, rule: &Rule) -> Value {
        let parts = [
            ("What it means", rule.meaning),
            ("What it does not say", rule.limits),
            ("How it is measured", rule.measured),
            ("False alarms", rule.false_alarms),
            ("What to do", rule.action),
        ];
        let text = parts.map(|(heading, text)| format!("{heading}: {text}")).join("\n\n");
        let markdown = parts.map(|(heading, text)| format!("**{heading}.** {text}")).join("\n\n");
        let relationships: Vec<Value> =
            rule.references.iter().filter_map(|reference| self.relationship(reference)).collect();
        let mut descriptor = json!({
            "id": rule.id,
            "name": pascal(rule.id),
            "shortDescription": { "text": format!("{}.", rule.title) },
            "fullDescription": { "text": rule.meaning },
            "help": { "text": text, "markdown": markdown },
            "defaultConfiguration": { "level": level(rule.severity) },
            "properties": {
                "security-severity": score(rule.severity),
                "tags": ["security", rule.area()],
            },
        });
        if !relationships.is_empty() {
            descriptor["relationships"] = relationships.into();
        }
        descriptor
    }

    fn relationship(&self, reference: &str) -> Option<Value> {
        let (name, _) = catalogue_of(reference)?;
        let index = self.taxa.get(name)?.binary_search(&reference).ok()?;
        let component = self.taxa.keys().position(|other| *other == name)?;
        Some(json!({
            "target": {
                "id": reference,
                "index": index,
                "toolComponent": { "name": name, "index": component },
            },
            "kinds": ["relevant"],
        }))
    }

    /// Returns the catalogues with the ids that are used.
    pub(super) fn taxonomies(&self) -> Vec<Value> {
        let described = |(name, ids): (&&str, &Vec<&str>)| {
            let catalogue = rules().catalogues.get(*name)?;
            let taxa: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
            Some(json!({
                "name": name,
                "fullName": catalogue.title,
                "version": catalogue.version,
                "shortDescription": { "text": format!("{}.", catalogue.title) },
                "isComprehensive": false,
                "taxa": taxa,
            }))
        };
        self.taxa.iter().filter_map(described).collect()
    }

    /// Returns references to the catalogues.
    pub(super) fn supported(&self) -> Vec<Value> {
        let names = self.taxa.keys().enumerate();
        names.map(|(index, name)| json!({ "name": name, "index": index })).collect()
    }
}

/// Returns the score by which code scanning sorts: critical from 9, high from 7, medium from 4.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Info => "0.0",
    }
}

/// Converts `area/what-is-wrong` to `AreaWhatIsWrong`, because SARIF rule names have no punctuation.
fn pascal(id: &str) -> String {
    id.split(['/', '-'])
        .flat_map(|word| {
            let mut chars = word.chars();
            chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect::<Vec<_>>()
        })
        .collect()
}
