//! Judges `[[watermark]]`: marks that must be present or absent.

use super::{Evidence, JudgementBuilder, RuleStatus};
use crate::judge::Finding;
use crate::judge::presence::ExpectedPresence;
use crate::judge::watermark::{Detection, Presence};
use crate::policy::WatermarkPolicy;

const RULE: &str = "watermark.expect";

pub(super) fn judge(marks: &[WatermarkPolicy], evidence: &Evidence, gate: &mut JudgementBuilder) {
    for (index, mark) in marks.iter().enumerate() {
        let key = mark.key.display().to_string();
        let found = evidence
            .watermarks
            .get(index)
            .map_or(Err("the mark was not searched for"), |m| m.as_result());
        let outcome = match found {
            Err(why) => gate.not_checked(RULE, why),
            Ok(found) => one(mark, found, gate),
        };
        outcome.of = Some(key);
        if let Ok(Some(log10_p)) = found.map(|found| found.log10_p) {
            outcome.numbers.insert("log10_p", log10_p.into());
        }
    }
}

fn one<'a>(
    mark: &WatermarkPolicy,
    found: &Detection,
    gate: &'a mut JudgementBuilder,
) -> &'a mut super::RuleOutcome {
    let key = &found.key_id;
    let is_certain = found.log10_p.is_some_and(|log10_p| log10_p <= mark.max_log10_p);
    let chance = found.log10_p.map_or("no bound".to_owned(), |log10_p| format!("10^{log10_p:.1}"));
    let message = match (mark.expect, found.verdict) {
        (ExpectedPresence::Present, Presence::Present)
            if mark.claim.is_some() && !found.committed =>
        {
            format!("the key {key} does not open its claim")
        }
        (ExpectedPresence::Present, Presence::Present) if is_certain => {
            let message = format!(
                "the mark of key {key} is present (probability of a chance match: {chance})"
            );
            return gate.rule(RULE, RuleStatus::Pass, message);
        }
        (ExpectedPresence::Absent, Presence::Absent) => {
            return gate.rule(RULE, RuleStatus::Pass, format!("the mark of key {key} is absent"));
        }
        (ExpectedPresence::Present, Presence::Present) => format!(
            "the mark of key {key} is present, but the probability of a chance match is {chance}, more than 10^{:.1}",
            mark.max_log10_p
        ),
        (ExpectedPresence::Absent, Presence::Present) => {
            format!("the mark of key {key} is present (probability of a chance match: {chance})")
        }
        (ExpectedPresence::Present, Presence::Absent) => {
            format!("the mark of key {key} is absent")
        }
        (_, Presence::Inconclusive) => {
            format!("inconclusive for key {key}: the probability of a chance match is {chance}")
        }
    };
    gate.fail(RULE, Finding::new("policy/watermark", message).with("log10_p", found.log10_p))
}
