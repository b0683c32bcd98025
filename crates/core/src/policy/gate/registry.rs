//! Judges `[registry]`: what registry scans recorded about the model.

use super::{Evidence, JudgementBuilder, ScanRecord, listed};
use crate::judge::Finding;
use crate::policy::{Age, RegistryPolicy};
use crate::record::ModelState;
use jiff::Timestamp;

const REQUIRED: &str = "registry.required";
const MAX_AGE: &str = "registry.max_age";

/// The rule of the findings.
const FINDING: &str = "policy/registry-check";

pub(super) fn judge(policy: RegistryPolicy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    if !policy.required {
        return;
    }
    let observed =
        evidence.registry.as_result().and_then(|record| Ok((record, evidence.root.as_result()?)));
    let (record, root) = match observed {
        Ok((Some(record), root)) => (record, root),
        Ok((None, _)) => {
            let message = "no registry scan has recorded the model".to_owned();
            gate.fail(REQUIRED, Finding::new(FINDING, message));
            return;
        }
        Err(why) => {
            gate.not_checked(REQUIRED, why);
            if policy.max_age.is_some() {
                gate.not_checked(MAX_AGE, why);
            }
            return;
        }
    };
    as_accepted(record, root, gate);
    if let Some(limit) = policy.max_age {
        age(record.last_deep_check, limit, evidence.now, gate);
    }
}

/// Judges whether all recorded files are as they were accepted, and no file was added.
fn as_accepted(record: &ScanRecord, root: &str, gate: &mut JudgementBuilder) {
    let state = record.state.name();
    let differences = record.differences.as_result();
    let found = differences.map_or(0, Vec::len);
    let message = match differences {
        _ if !matches!(record.state, ModelState::Ok | ModelState::New) => {
            format!("the last registry scan recorded the state {state}: {}", record.detail)
        }
        Ok(differences) if !differences.is_empty() => {
            let differences = listed(differences.iter().map(String::as_str));
            format!("the model differs from the content that was accepted: {differences}")
        }
        _ if record.root.as_deref() != Some(root) => {
            let recorded = record.root.as_deref().unwrap_or("none");
            format!("the last registry scan recorded the root {recorded}, found {root}")
        }
        Ok(_) => {
            gate.pass(REQUIRED, format!("the last registry scan recorded the state {state}"));
            return;
        }
        Err(why) => {
            gate.not_checked(REQUIRED, why);
            return;
        }
    };
    let finding = Finding::new(FINDING, message).with("state", state);
    gate.fail(REQUIRED, finding.with("differences", found));
}

fn age(checked: Option<Timestamp>, limit: Age, now: Timestamp, gate: &mut JudgementBuilder) {
    let Some(checked) = checked else {
        let message = "no registry scan has read the whole model".to_owned();
        gate.fail(MAX_AGE, Finding::new(FINDING, message));
        return;
    };
    let age = now.duration_since(checked);
    let seconds = age.as_secs();
    let outcome = if age > limit.duration() || age.is_negative() {
        let message = match age.is_negative() {
            true => format!("the last deep check was at {checked}, which is in the future"),
            false => format!("the last deep check was at {checked}, more than {limit} ago"),
        };
        gate.fail(MAX_AGE, Finding::new(FINDING, message).with("seconds", seconds))
    } else {
        gate.pass(MAX_AGE, format!("the last deep check was at {checked}, within {limit}"))
    };
    outcome.numbers.insert("seconds", seconds.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::gate::{Observation, RuleStatus};

    fn outcomes(record: Observation<Option<ScanRecord>>, max_age: Option<&str>) -> Vec<RuleStatus> {
        let now: Timestamp = "2026-11-29T00:00:00Z".parse().unwrap();
        let root = Observation::Observed("blake3:1".to_owned());
        let evidence = Evidence { registry: record, root, ..Evidence::empty(now) };
        let max_age = max_age.map(|age| age.parse().unwrap());
        let mut gate = JudgementBuilder::default();
        judge(RegistryPolicy { required: true, max_age }, &evidence, &mut gate);
        gate.rules.iter().map(|rule| rule.outcome).collect()
    }

    fn record(
        state: ModelState,
        root: &str,
        checked: Option<&str>,
    ) -> Observation<Option<ScanRecord>> {
        Observation::Observed(Some(ScanRecord {
            state,
            detail: String::new(),
            root: Some(root.to_owned()),
            last_deep_check: checked.map(|time| time.parse().unwrap()),
            differences: Observation::Observed(Vec::new()),
        }))
    }

    #[test]
    fn only_what_a_scan_found_as_accepted_passes() {
        use RuleStatus::{Fail, NotChecked, Pass};
        let yesterday = Some("2026-11-28T00:00:00Z");
        let of = |state, root| outcomes(record(state, root, yesterday), Some("2d"));
        assert_eq!(of(ModelState::Ok, "blake3:1"), [Pass, Pass]);
        assert_eq!(of(ModelState::New, "blake3:1"), [Pass, Pass]);
        assert_eq!(of(ModelState::Ok, "blake3:2"), [Fail, Pass], "other content since");
        for state in ModelState::ALL.into_iter().skip(2) {
            assert_eq!(of(state, "blake3:1"), [Fail, Pass], "{}", state.name());
        }
        let sound = |checked, age| outcomes(record(ModelState::Ok, "blake3:1", checked), age);
        assert_eq!(sound(yesterday, Some("12h")), [Pass, Fail]);
        assert_eq!(sound(Some("2026-11-30T00:00:00Z"), Some("12h")), [Pass, Fail]);
        assert_eq!(sound(None, Some("12h")), [Pass, Fail]);
        assert_eq!(sound(None, None), [Pass]);
        assert_eq!(outcomes(Observation::Observed(None), Some("2d")), [Fail]);
        let differing = |differences| {
            let Observation::Observed(Some(mut record)) =
                record(ModelState::Ok, "blake3:1", yesterday)
            else {
                unreachable!()
            };
            record.differences = differences;
            outcomes(Observation::Observed(Some(record)), None)
        };
        assert_eq!(
            differing(Observation::Observed(vec!["config.json: it changed".to_owned()])),
            [Fail]
        );
        assert_eq!(
            differing(Observation::not_examined()),
            [NotChecked],
            "the same root is not enough"
        );
        assert_eq!(outcomes(Observation::not_examined(), Some("2d")), [NotChecked, NotChecked]);
    }
}
