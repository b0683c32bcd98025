//! The findings, grouped by severity and rule. Each rule is explained once.

use crate::Report;
use crate::evidence::EvidenceTables;
use crate::units::count;
use askama::filters::Safe;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tensorseal_core::judge::rules::{Rule, catalogue_of, find_rule};
use tensorseal_core::judge::{Finding, Severity};

/// Largest number of findings of one rule that are listed. The rest is counted.
const OF_RULE: usize = 40;

/// Largest number of findings that the page lists.
const OF_PAGE: usize = 240;

/// The findings in the order in which the page lists them.
pub(super) struct Chapters<'a> {
    /// The findings of each severity, most severe first.
    pub chapters: Vec<(Severity, Vec<RuleSection<'a>>)>,
}

/// The findings of one rule at one severity.
pub(super) struct RuleSection<'a> {
    /// The id of the rule.
    pub id: &'static str,
    /// Number of its findings.
    pub total: usize,
    /// Number on the page, from 1, and finding.
    pub listed: Vec<(usize, &'a Finding)>,
}

impl<'a> Chapters<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let mut groups: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
        for finding in &report.findings {
            let key = (Reverse(finding.severity), finding.rule);
            groups.entry(key).or_default().push(finding);
        }
        let mut number = 0;
        let mut chapters: Vec<(Severity, Vec<RuleSection>)> = Vec::new();
        for ((severity, rule), findings) in groups {
            let room = OF_RULE.min(OF_PAGE - number);
            let listed = findings.iter().take(room).map(|finding| {
                number += 1;
                (number, *finding)
            });
            let part = RuleSection { id: rule, listed: listed.collect(), total: findings.len() };
            match chapters.last_mut() {
                Some((last, parts)) if *last == severity.0 => parts.push(part),
                _ => chapters.push((severity.0, vec![part])),
            }
        }
        Self { chapters }
    }

    /// Returns the listed findings with their numbers.
    pub(super) fn listed(&self) -> impl Iterator<Item = (usize, &'a Finding)> + '_ {
        let parts = self.chapters.iter().flat_map(|(_, parts)| parts);
        parts.flat_map(|part| part.listed.iter().copied())
    }
}

impl RuleSection<'_> {
    /// Returns the rule, if it is known.
    pub(super) fn rule(&self) -> Option<&'static Rule> {
        find_rule(self.id)
    }
}

/// Returns the number of findings of a chapter.
pub(super) fn total(parts: &[RuleSection<'_>]) -> String {
    count(parts.iter().map(|part| part.total as u64).sum(), "finding")
}

/// Returns the evidence of a finding.
pub(super) fn evidence(finding: &Finding) -> EvidenceTables {
    EvidenceTables::of(&finding.evidence)
}

/// Returns the text of a rule with the parts in backticks as code.
pub(super) fn prose(text: &str) -> Safe<String> {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => super::escape::text(part),
        _ => format!("<code>{}</code>", super::escape::text(part)),
    });
    Safe(parts.collect())
}

/// Returns the references of a rule: what separates each from the one before, the title of its catalogue, and its id.
pub(super) fn references(rule: &Rule) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut last = None;
    let mut listed = Vec::new();
    for reference in &rule.references {
        let (name, title) = catalogue_of(reference).map_or(("", ""), |(n, c)| (n, &c.title));
        let gap = match last.replace(name) {
            None => " ",
            Some(last) if last == name => ", ",
            Some(_) => " · ",
        };
        listed.push((gap, title, *reference));
    }
    listed
}
