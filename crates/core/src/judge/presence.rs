//! Judges the detection of a mark: whether it is as expected, and whether it counts as evidence.

use super::Finding;
use super::watermark::{ABSENT, Detection, DetectionMode, PRESENT, Presence};
use crate::watermark::unreadable::UnreadableWeights;
use serde_json::json;

/// Whether a mark is expected to be present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpectedPresence {
    /// The mark is expected: an owner checks their own model.
    #[default]
    Present,
    /// No mark is expected: a publisher checks that a model carries no mark of someone else.
    Absent,
}

/// Whether the original of an informed detection was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalProvenance {
    /// The root of the original matches the root that the caller knows as published.
    Published,
    /// The caller gave no published root.
    Unpublished,
}

/// Compares a detection with what was expected. `original` applies to informed detections.
pub fn findings(
    detection: &Detection,
    expected: ExpectedPresence,
    original: Option<OriginalProvenance>,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = unexpected_result(detection, expected).into_iter().collect();
    if let Some(read) = &detection.payload_read
        && detection.committed
        && !detection.payload_ok
    {
        let claimed = detection.payload.as_deref().unwrap_or("none");
        let message = format!("the mark carries payload {read}, but the claim states {claimed}");
        findings.push(Finding::new("watermark/other-payload", message));
    }
    if !detection.committed {
        let message = format!(
            "uncommitted key: not evidence of ownership; a matching key can be found for any weights, so only a key that was committed to before the model was published counts (key {})",
            detection.key_id
        );
        findings.push(Finding::new("watermark/uncommitted-key", message));
    }
    if detection.mode == DetectionMode::Informed
        && original == Some(OriginalProvenance::Unpublished)
    {
        let message = "unverified original: not evidence; a matching original can be made for any model and key, so only an original whose root was published before the key was generated counts (--original-root)";
        findings.push(Finding::new("watermark/unpublished-original", message));
    }
    findings
}

/// Returns a finding if the original of an informed detection could be read only in part. Weights that cannot be
/// read were not compared.
pub fn unreadable_original(unreadable: &UnreadableWeights) -> Option<Finding> {
    let finding = || {
        let message = format!("the original was compared only in part: {}", unreadable.summary());
        Finding::new("watermark/original-not-read", message)
            .with("weights_not_read", unreadable.weights)
            .with("share_not_read", unreadable.share)
            .with("tensors_not_read", unreadable.tensors.clone())
    };
    (!unreadable.is_empty()).then(finding)
}

fn unexpected_result(detection: &Detection, expected: ExpectedPresence) -> Option<Finding> {
    let key = &detection.key_id;
    let chance = chance(detection.log10_p);
    let (rule, message) = match (detection.verdict, expected) {
        (Presence::Present, ExpectedPresence::Present)
        | (Presence::Absent, ExpectedPresence::Absent) => {
            return None;
        }
        (Presence::Present, ExpectedPresence::Absent) => (
            "watermark/present",
            format!("the mark of key {key} is present (probability of a chance match: {chance})"),
        ),
        (Presence::Absent, ExpectedPresence::Present) => (
            "watermark/absent",
            format!(
                "the mark of key {key} is absent: the correlation is within chance ({chance}), where a mark would be detected"
            ),
        ),
        (Presence::Inconclusive, _) => ("watermark/inconclusive", inconclusive(detection)),
    };
    let mut finding = Finding::new(rule, message).with("log10_p", detection.log10_p);
    if let (Some(reason), Some(unreadable)) = (detection.reason, &detection.not_read) {
        finding = finding
            .with("reason", json!(reason))
            .with("weights_not_read", unreadable.weights)
            .with("share_not_read", unreadable.share)
            .with("tensors_not_read", unreadable.tensors.clone());
    }
    Some(finding)
}

/// Formats a probability from its decimal logarithm.
fn chance(log10_p: Option<f64>) -> String {
    log10_p.map_or("no bound".to_owned(), |log10_p| format!("10^{log10_p:.1}"))
}

fn inconclusive(detection: &Detection) -> String {
    let Detection { key_id, log10_p, elements, .. } = detection;
    if let Some(why) = detection.not_looked_for() {
        return format!("inconclusive for key {key_id}: {why}");
    }
    if *elements == 0 {
        return format!("inconclusive for key {key_id}: no carrier has a finite non-zero element");
    }
    let chance = chance(*log10_p);
    if log10_p.is_some_and(|log10_p| log10_p <= ABSENT) {
        return format!(
            "inconclusive for key {key_id}: the probability of a chance match is {chance}, and a mark counts as present from 10^{PRESENT}"
        );
    }
    format!(
        "inconclusive for key {key_id}: the correlation is within chance ({chance}), but a mark on these {elements} elements could go undetected"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::watermark::judge;

    fn detection(verdict: Presence, log10_p: f64, elements: u64) -> Detection {
        let log10_p = Some(log10_p);
        Detection { verdict, log10_p, elements, ..judge("k", &[], &Default::default()) }
    }

    fn rules(detection: &Detection, expected: ExpectedPresence) -> Vec<&'static str> {
        findings(detection, expected, None).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn only_what_was_expected_passes() {
        let uncommitted = "watermark/uncommitted-key";
        let present = detection(Presence::Present, -50.0, 9);
        let absent = detection(Presence::Absent, 0.0, 9);
        let unclear = detection(Presence::Inconclusive, -7.0, 9);
        for (found, expected, rule) in [
            (&present, ExpectedPresence::Present, None),
            (&present, ExpectedPresence::Absent, Some("watermark/present")),
            (&absent, ExpectedPresence::Absent, None),
            (&absent, ExpectedPresence::Present, Some("watermark/absent")),
            (&unclear, ExpectedPresence::Absent, Some("watermark/inconclusive")),
            (&unclear, ExpectedPresence::Present, Some("watermark/inconclusive")),
        ] {
            let all: Vec<&str> = rule.into_iter().chain([uncommitted]).collect();
            assert_eq!(rules(found, expected), all);
        }
        let committed = Detection { committed: true, ..present };
        assert!(rules(&committed, ExpectedPresence::Present).is_empty());
    }

    #[test]
    fn three_kinds_of_inconclusive_results_have_different_messages() {
        let message = |log10_p, elements| {
            let found = detection(Presence::Inconclusive, log10_p, elements);
            findings(&found, ExpectedPresence::Present, None)[0].message.clone()
        };
        assert!(message(0.0, 0).contains("no carrier has a finite"));
        assert!(message(-7.0, 9).contains("counts as present from"));
        assert!(message(-1.0, 9).contains("could go undetected"));
    }

    #[test]
    fn unreadable_weights_are_reported_and_meet_neither_expectation() {
        let tensors = vec!["layers.0.weight".to_owned()];
        let unreadable =
            UnreadableWeights { weights: 1, certain: 1, bytes: 8, share: 0.875, tensors };
        let found = detection(Presence::Absent, 0.0, 9).with_unreadable(&unreadable);
        for expected in [ExpectedPresence::Present, ExpectedPresence::Absent] {
            let finding = &findings(&found, expected, None)[0];
            assert_eq!(finding.rule, "watermark/inconclusive");
            assert!(finding.message.contains("87.5 %"), "{}", finding.message);
            assert!(finding.message.contains("layers.0.weight"), "{}", finding.message);
            assert_eq!(finding.evidence["reason"], "unread-scheme");
        }
    }

    #[test]
    fn a_payload_that_differs_from_its_claim_is_reported() {
        let mut found = detection(Presence::Present, -50.0, 9);
        found.committed = true;
        found.payload_read = Some("0000000000000007".to_owned());
        assert_eq!(rules(&found, ExpectedPresence::Present), ["watermark/other-payload"]);
        (found.payload, found.payload_ok) = (found.payload_read.clone(), true);
        assert!(rules(&found, ExpectedPresence::Present).is_empty());
    }

    #[test]
    fn an_unpublished_original_is_no_evidence() {
        let mut found = detection(Presence::Present, -50.0, 9);
        found.committed = true;
        found.mode = DetectionMode::Informed;
        let rule =
            |original| findings(&found, ExpectedPresence::Present, original).pop().map(|f| f.rule);
        assert_eq!(
            rule(Some(OriginalProvenance::Unpublished)),
            Some("watermark/unpublished-original")
        );
        assert_eq!(rule(Some(OriginalProvenance::Published)), None);
    }
}
