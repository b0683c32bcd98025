//! The outcomes of policy rules in words.

pub use tensorseal_core::document::policy::PolicyUsed;
use tensorseal_core::policy::gate::RuleStatus;

/// Returns the outcome of a policy rule in words.
pub fn words(outcome: RuleStatus) -> &'static str {
    match outcome {
        RuleStatus::Pass => "pass",
        RuleStatus::Allowed => "allowed",
        RuleStatus::NotChecked => "not checked",
        RuleStatus::Fail => "fail",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Report;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use tensorseal_core::judge::finding::Disposition;
    use tensorseal_core::judge::{Finding, Severity};
    use tensorseal_core::policy::gate::{ExceptionUse, RuleOutcome};

    /// A gate that is closed, with every outcome and every standing, and `name` wherever a name can be.
    pub(crate) fn report(name: &str) -> Report {
        let rule = |rule, outcome| RuleOutcome {
            rule,
            of: Some(name.to_owned()),
            outcome,
            evidence: format!("evidence of {name}"),
            numbers: [("count", 3.into())].into(),
        };
        let policy = PolicyUsed {
            source: name.to_owned(),
            name: Some(name.to_owned()),
            sha256: "0".repeat(64),
            time: Timestamp::UNIX_EPOCH,
            passed: false,
            rules: vec![
                rule("signature.required", RuleStatus::Pass),
                rule("severity.weights", RuleStatus::Allowed),
                rule("watermark.expect", RuleStatus::NotChecked),
                rule("severity.payload", RuleStatus::Fail),
            ],
            exceptions: vec![ExceptionUse {
                rule: "weights/row-outlier",
                file: None,
                tensor: Some(name.to_owned()),
                reason: name.to_owned(),
                expires: jiff::civil::date(1970, 1, 31),
                expired: false,
                allowed: 1,
            }],
        };
        let finding = |rule, severity, standing| Finding {
            severity,
            standing: Some(standing),
            ..Finding::new(rule, "m").in_tensor(name)
        };
        let expires = jiff::civil::date(1970, 1, 31);
        let allowed = Disposition::Allowed { reason: name.to_owned(), expires };
        let mut report = Report::new("gate", "model");
        let findings = vec![
            finding("weights/row-outlier", Severity::High, allowed),
            finding(
                "format/misaligned",
                Severity::Low,
                Disposition::Within { rule: "severity.format" },
            ),
            finding(
                "payload/low-bits",
                Severity::Info,
                Disposition::Violates { rule: "severity.payload" },
            ),
        ];
        report.judge_by(policy, findings);
        report
    }

    #[test]
    fn the_policy_alone_decides_what_fails() {
        let mut report = report("n");
        for fail_on in Severity::ALL {
            report.fail_on = fail_on;
            let failing: Vec<&str> =
                report.findings.iter().filter(|f| report.fails(f)).map(|f| f.rule).collect();
            assert_eq!(failing, ["payload/low-bits"]);
        }
        assert_eq!(
            report.findings[0].rule, "payload/low-bits",
            "first, although its severity is info"
        );
        assert_eq!(
            crate::summary::sentence(&report),
            "The policy is not met: 2 of 4 requirements failed, of which 1 could not be checked: \
             watermark.expect (n), severity.payload (n)."
        );
    }

    #[test]
    fn the_terminal_shows_every_rule_and_when_quiet_those_that_fail() {
        let shown = |failing| {
            let mut out = Vec::new();
            let palette = crate::human::Palette::default();
            crate::human::rules(&report("n"), failing, palette, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            shown(true),
            "not checked  \"watermark.expect (n)\"  evidence of n\n\
             fail         \"severity.payload (n)\"  evidence of n\n"
        );
        assert!(shown(false).starts_with("policy    n\n\npass "));
        assert_eq!(shown(false).lines().count(), 6);
    }

    proptest! {
        #[test]
        fn a_hostile_name_does_not_act_on_a_screen(name in any::<String>()) {
            let mut out = Vec::new();
            let palette = crate::human::Palette::default();
            crate::human::rules(&report(&name), false, palette, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            prop_assert_eq!(text.lines().count(), 6);
        }
    }
}
