//! What to do after a report that fails.

use super::shell::quoted;
use std::path::Path;
use tensorseal_base::severity::Severity;
use tensorseal_core::judge::{Finding, Verdict};
use tensorseal_core::verbs::locations::default_seal;
use tensorseal_report::Report;

/// The remedy for what a report found, or else where its worst finding is explained.
pub(super) fn after(report: &Report) -> Option<String> {
    let worst = report.findings.iter().find(|finding| report.fails(finding));
    match report.command {
        "verify" if is_repairable(report) => Some(format!(
            "the changed bits are known: restore them with `tensorseal repair {} -o OUT`",
            model_and_seal(report)
        )),
        "gate" if report.verdict == Verdict::Fail && is_locatable(report) => {
            let model = model_and_seal(report);
            Some(format!("`tensorseal verify {model}` locates the change"))
        }
        _ => worst.map(|finding| {
            format!("`tensorseal explain {}` says what it means and what to do", finding.rule)
        }),
    }
}

/// The model, and the seal where it is not in its usual place, as arguments.
fn model_and_seal(report: &Report) -> String {
    let model = Path::new(&report.model.path);
    let seal = report.seal.as_ref().map(|seal| Path::new(&seal.source));
    match seal.filter(|seal| *seal != default_seal(model)) {
        Some(seal) => format!("{} --seal {}", quoted(model), quoted(seal)),
        None => quoted(model),
    }
}

/// Whether the model differs from what was sealed or signed, and there is a seal to locate the difference by.
fn is_locatable(report: &Report) -> bool {
    let is_change = |finding: &Finding| {
        let of_files = finding.rule == "signature/file-changed";
        let of_seal = ["integrity/seal-invalid", "integrity/seal-outdated"];
        of_files || is_difference(finding) && !of_seal.contains(&finding.rule)
    };
    let has_seal = report.seal.is_some() || default_seal(Path::new(&report.model.path)).is_file();
    has_seal && report.findings.iter().any(is_change)
}

/// Whether a finding says that the model differs from its seal. A signature that was added later is no difference.
fn is_difference(finding: &Finding) -> bool {
    finding.rule.starts_with("integrity/") && finding.severity > Severity::Info
}

/// Whether everything that differs from the seal was traced to flipped bits, so that `repair` can restore it.
fn is_repairable(report: &Report) -> bool {
    let mut changes = report.findings.iter().filter(|f| is_difference(f)).peekable();
    let all_known = |finding: &Finding| {
        let Some(pinpointed) = finding.evidence.get("pinpointed") else { return false };
        let number = |member: &str| pinpointed[member].as_u64();
        number("changes_total").is_some_and(|changes| changes > 0)
            && number("unexplained_total") == Some(0)
            && number("not_searched_total") == Some(0)
    };
    changes.peek().is_some() && changes.all(all_known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tensorseal_report::SealUsed;

    fn report(command: &'static str, findings: Vec<Finding>) -> Report {
        let mut report = Report::new(command, "my model");
        report.findings = findings;
        report.judge(Severity::Medium);
        report
    }

    fn flip(unexplained: u64, not_searched: u64) -> Finding {
        let mut finding = Finding::new("integrity/tensor-changed", "changed");
        finding.evidence.insert(
            "pinpointed",
            json!({
                "changes_total": 1,
                "unexplained_total": unexplained,
                "not_searched_total": not_searched,
            }),
        );
        finding
    }

    #[test]
    fn the_remedy_is_named_only_where_it_helps() {
        let repair =
            "the changed bits are known: restore them with `tensorseal repair 'my model' -o OUT`";
        assert_eq!(after(&report("verify", vec![flip(0, 0)])).unwrap(), repair);
        let unknown = Finding::new("integrity/tensor-changed", "changed");
        for findings in [vec![flip(1, 0)], vec![flip(0, 1)], vec![flip(0, 0), unknown]] {
            let text = after(&report("verify", findings)).unwrap();
            assert!(text.starts_with("`tensorseal explain integrity/tensor-changed`"), "{text}");
        }
        let gate = |finding: Finding| {
            let mut report = report("gate", vec![finding]);
            report.seal = Some(SealUsed {
                digest: None,
                source: "my model.seal.json".to_owned(),
                signed_by: None,
                compared: None,
            });
            after(&report).unwrap()
        };
        let verify = "`tensorseal verify 'my model'` locates the change";
        assert_eq!(gate(flip(0, 0)), verify);
        assert_eq!(gate(Finding::new("signature/file-changed", "changed")), verify);
        assert!(gate(Finding::new("integrity/seal-invalid", "cut")).contains("explain"));
        // There is no seal to compare with.
        assert!(after(&report("gate", vec![flip(0, 0)])).unwrap().contains("explain"));
        assert_eq!(after(&report("verify", vec![])), None);
    }
}
