//! What follows from the detection of a mark: whether it is as expected, and whether it is evidence.

use super::Finding;
use super::watermark::{ABSENT, Detection, DetectionMode, PRESENT, Presence};
use crate::watermark::unreadable::UnreadableWeights;
use serde_json::json;

/// What is expected of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpectedPresence {
    /// It is there: the check of an owner.
    #[default]
    Present,
    /// It is not: the check of whoever must not ship another's model.
    Absent,
}

/// Where the original of an informed detection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalProvenance {
    /// Its root is the one that was published, as the caller says.
    Published,
    /// Nobody says so.
    Unpublished,
}

/// Holds a detection against what was expected of it. `original` is that of an informed detection.
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
        let message = format!("the mark says payload {read}, the claim says {claimed}");
        findings.push(Finding::new("watermark/other-payload", message));
    }
    if !detection.committed {
        let message = format!(
            "uncommitted key: not evidence of ownership; keys that fit can be found for any weights, so only one that was committed to before the model was published counts (key {})",
            detection.key_id
        );
        findings.push(Finding::new("watermark/uncommitted-key", message));
    }
    if detection.mode == DetectionMode::Informed
        && original == Some(OriginalProvenance::Unpublished)
    {
        let message = "the original was taken on trust: not evidence; one that fits can be made from any model and key, so only an original whose root was published before the key was drawn counts (--original-root)";
        findings.push(Finding::new("watermark/unpublished-original", message));
    }
    findings
}

/// That the original of an informed detection could not be read as a whole: of what was not, no difference was looked
/// at.
pub fn unreadable_original(not_read: &UnreadableWeights) -> Option<Finding> {
    let told = || {
        let message = format!(
            "the original was used in part: {}, and the difference from these was not looked at",
            not_read.summary()
        );
        Finding::new("watermark/original-not-read", message)
            .with("weights_not_read", not_read.weights)
            .with("share_not_read", not_read.share)
            .with("tensors_not_read", not_read.tensors.clone())
    };
    (!not_read.is_empty()).then(told)
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
            format!("the mark of key {key} is there: chance has {chance} for it"),
        ),
        (Presence::Absent, ExpectedPresence::Present) => (
            "watermark/absent",
            format!(
                "the mark of key {key} is not there: nothing beyond chance ({chance}), where a mark would show"
            ),
        ),
        (Presence::Inconclusive, _) => ("watermark/inconclusive", inconclusive(detection)),
    };
    let mut finding = Finding::new(rule, message).with("log10_p", detection.log10_p);
    if let (Some(reason), Some(not_read)) = (detection.reason, &detection.not_read) {
        finding = finding
            .with("reason", json!(reason))
            .with("weights_not_read", not_read.weights)
            .with("share_not_read", not_read.share)
            .with("tensors_not_read", not_read.tensors.clone());
    }
    Some(finding)
}

/// A probability in words, from its decimal logarithm.
fn chance(log10_p: Option<f64>) -> String {
    log10_p.map_or("no bound".to_owned(), |log10_p| format!("10^{log10_p:.1}"))
}

fn inconclusive(detection: &Detection) -> String {
    let Detection { key_id, log10_p, elements, .. } = detection;
    if let Some(why) = detection.not_looked_for() {
        return format!("nothing can be said of key {key_id}: {why}");
    }
    if *elements == 0 {
        return format!(
            "nothing can be said of key {key_id}: no carrier has a finite non-zero element"
        );
    }
    let chance = chance(*log10_p);
    if log10_p.is_some_and(|log10_p| log10_p <= ABSENT) {
        return format!(
            "key {key_id} shows more than chance explains well ({chance}), but less than the 10^{PRESENT} that a mark must show"
        );
    }
    format!(
        "nothing can be said of key {key_id}: nothing beyond chance was seen ({chance}), but a mark on these {elements} elements might not have been seen either"
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
    fn the_three_ways_of_not_knowing_are_told_apart() {
        let said = |log10_p, elements| {
            let found = detection(Presence::Inconclusive, log10_p, elements);
            findings(&found, ExpectedPresence::Present, None)[0].message.clone()
        };
        assert!(said(0.0, 0).contains("no carrier has a finite"));
        assert!(said(-7.0, 9).contains("more than chance explains"));
        assert!(said(-1.0, 9).contains("might not have been seen"));
    }

    #[test]
    fn what_was_not_read_is_told_and_neither_expectation_is_met() {
        let tensors = vec!["layers.0.weight".to_owned()];
        let not_read = UnreadableWeights { weights: 1, told: 1, bytes: 8, share: 0.875, tensors };
        let found = detection(Presence::Absent, 0.0, 9).with_unreadable(&not_read);
        for expected in [ExpectedPresence::Present, ExpectedPresence::Absent] {
            let said = &findings(&found, expected, None)[0];
            assert_eq!(said.rule, "watermark/inconclusive");
            assert!(said.message.contains("87.5 %"), "{}", said.message);
            assert!(said.message.contains("layers.0.weight"), "{}", said.message);
            assert_eq!(said.evidence["reason"], "unread-scheme");
        }
    }

    #[test]
    fn a_mark_that_says_something_else_than_its_claim_is_told() {
        let mut found = detection(Presence::Present, -50.0, 9);
        found.committed = true;
        found.payload_read = Some("0000000000000007".to_owned());
        assert_eq!(rules(&found, ExpectedPresence::Present), ["watermark/other-payload"]);
        (found.payload, found.payload_ok) = (found.payload_read.clone(), true);
        assert!(rules(&found, ExpectedPresence::Present).is_empty());
    }

    #[test]
    fn an_original_on_trust_is_no_evidence() {
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
