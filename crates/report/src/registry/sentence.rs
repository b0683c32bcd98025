//! What all registry reports word alike.

use super::Overview;
use crate::units::{bytes, count, grouped, span};
use tensorseal_base::severity::Severity;
use tensorseal_core::record::{ModelRecord, ModelState};

/// Returns the summary line of a scan:
///
/// ```text
/// registry  500 models: 497 ok, 1 modified, 2 new; 12 deep-checked, 31.8 GiB read in 40 s; oldest deep check 29 days ago
/// ```
///
/// What is read may exceed the size of the models: one whose content changed is read again to be examined.
pub fn summary_line(overview: &Overview<'_>) -> String {
    let summary = overview.summary;
    let mut parts = vec![states(overview)];
    if let Some(run) = &summary.last_run {
        let mut part =
            format!("{} deep-checked, {} read", grouped(run.deep_checked), bytes(run.bytes_read));
        match run.seconds() {
            Some(seconds) => part += &format!(" in {}", span(seconds.round() as i64)),
            None => part += ", still running or interrupted",
        }
        parts.push(part);
    }
    parts.extend(oldest(overview));
    if let Some(errors) = summary.last_run.as_ref().map(|run| run.errors.len() as u64)
        && errors > 0
    {
        parts.push(format!("{} could not be checked", grouped(errors)));
    }
    if let Some(passed_over) = overview.passed_over.filter(|passed_over| passed_over.count > 0) {
        parts.push(format!("{} skipped", grouped(passed_over.count)));
    }
    format!("registry  {}", parts.join("; "))
}

/// Returns the number of models in each state.
pub(super) fn states(overview: &Overview<'_>) -> String {
    let total = count(overview.summary.total(), "model");
    let of = |state: ModelState| match overview.summary.in_state(state) {
        0 => None,
        number => Some(format!("{} {}", grouped(number), state.name())),
    };
    let states: Vec<String> = ModelState::ALL.into_iter().filter_map(of).collect();
    if states.is_empty() { total } else { format!("{total}: {}", states.join(", ")) }
}

/// Returns the age of the oldest deep check, and how many models were never deep-checked.
fn oldest(overview: &Overview<'_>) -> Option<String> {
    let never = overview.summary.never_deep_checked;
    let oldest = overview.summary.oldest_deep_check;
    let oldest = oldest.map(|time| format!("oldest deep check {} ago", overview.age(time)));
    let never = (never > 0).then(|| format!("{} never deep-checked", grouped(never)));
    let parts: Vec<String> = oldest.into_iter().chain(never).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Abbreviates a commit or a digest.
pub(super) fn short(version: &str) -> String {
    version.strip_prefix("sha256:").unwrap_or(version).chars().take(12).collect()
}

/// Returns the number of findings of each severity above info, most severe first: `2 critical, 1 low`.
pub(super) fn findings(model: &ModelRecord) -> Option<String> {
    let of = |severity: Severity| {
        let number = model.findings.iter().filter(|finding| finding.severity == severity).count();
        (number > 0).then(|| format!("{} {}", grouped(number as u64), severity.name()))
    };
    let said = Severity::ALL.into_iter().rev().filter(|severity| *severity > Severity::Info);
    let parts: Vec<String> = said.filter_map(of).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;
    use tensorseal_core::record::RegistrySummary;

    #[test]
    fn one_line_says_it() {
        let models = sample_registry::models("c");
        let mut summary = sample_registry::summary(&models);
        let line =
            |summary: &RegistrySummary| summary_line(&sample_registry::overview(summary, &models));
        assert_eq!(
            line(&summary),
            "registry  6 models: 1 ok, 1 new, 1 modified, 1 bit-rot, 1 missing, 1 incomplete; \
             2 deep-checked, 31.8 GiB read in 40 s; oldest deep check 29 days ago, 1 never deep-checked; \
             1 could not be checked"
        );
        if let Some(run) = &mut summary.last_run {
            run.ended = None;
            run.errors = vec![String::new(); 1200];
        }
        let text = line(&summary);
        assert!(text.contains("31.8 GiB read, still running or interrupted;"), "{text}");
        assert!(text.ends_with("; 1,200 could not be checked"), "{text}");
        assert_eq!(line(&RegistrySummary::empty()), "registry  0 models");
    }

    #[test]
    fn findings_are_counted_worst_first_without_info() {
        let mut model = sample_registry::model("/models", "a", ModelState::Ok);
        assert_eq!(findings(&model), None);
        for severity in [Severity::Low, Severity::Info, Severity::Critical, Severity::Low] {
            model.findings.push(sample_registry::finding(severity, "format/overlap"));
        }
        assert_eq!(findings(&model).as_deref(), Some("1 critical, 2 low"));
    }
}
