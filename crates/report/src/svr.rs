//! in-toto Simple Verification Result (v0.2): the policy rules that a model met.

use super::Report;
use super::statement::{
    self as stating, StatementContext, VerdictStatementError, met, policy_of, verifier,
};
use serde_json::json;
use tensorseal_signing::Statement;

/// The predicate type of the statement.
pub const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/svr/v0.2";

/// Returns the statement of the rules that were met, ready to be signed. For a model that failed it names none.
///
/// # Errors
/// Returns an error if the report has no verdict of a policy.
pub fn statement(
    report: &Report,
    stated: &StatementContext,
) -> Result<Statement, VerdictStatementError> {
    let policy = policy_of(report)?;
    let predicate = json!({
        "verifier": { "id": verifier(stated, report), "policies": [stating::policy(stated, policy)] },
        "timeCreated": policy.time.to_string(),
        "properties": met(policy),
    });
    Ok(Statement {
        subject: stated.subject.clone(),
        sha256: stated.sha256,
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PolicyUsed, vsa};
    use std::fs;
    use tensorseal_core::policy::PolicyFile;
    use tensorseal_core::policy::gate::{
        CoverageEvidence, Evidence, FileEvidence, Observation, judge,
    };
    use tensorseal_format::{ContentClass, FileContent};

    fn stated() -> StatementContext {
        StatementContext {
            subject: "demo".to_owned(),
            sha256: [7; 32],
            resource_uri: None,
            policy_uri: Some("https://example.com/policy".to_owned()),
            verifier: None,
            inputs: Vec::new(),
        }
    }

    /// A gate that measured everything, or nothing.
    fn report(measured: bool) -> Report {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        let text =
            "schema = \"tensorseal.policy/1\"\naudit.required = true\nseverity.format = \"low\"";
        fs::write(&path, text).unwrap();
        let file = PolicyFile::read(&path).unwrap();
        let mut evidence = Evidence::empty("2027-01-01T00:00:00Z".parse().unwrap());
        if measured {
            evidence.coverage = Observation::Observed(CoverageEvidence::default());
            evidence.audit = Observation::Observed(3);
            let model = FileEvidence {
                path: "model.safetensors".to_owned(),
                bytes: 8,
                content: FileContent::new(ContentClass::Safetensors),
                readable: true,
                unreadable: false,
            };
            evidence.files = Observation::Observed(vec![model]);
        }
        let judgement = judge(&file.policy, &evidence);
        let used = PolicyUsed::new(&file, evidence.now, &judgement);
        let mut report = Report::new("gate", "demo");
        report.judge_by(used, judgement.findings);
        report
    }

    #[test]
    fn what_is_met_is_named_and_of_what_failed_nothing_is() {
        let passed = statement(&report(true), &stated()).unwrap().predicate;
        let names = json!([
            "TENSORSEAL_AUDIT_REQUIRED",
            "TENSORSEAL_GATE_PASSED",
            "TENSORSEAL_SEVERITY_FORMAT",
            "TENSORSEAL_SEVERITY_PAYLOAD",
            "TENSORSEAL_SEVERITY_WEIGHTS"
        ]);
        assert_eq!(passed["properties"], names);
        assert_eq!(passed["timeCreated"], "2027-01-01T00:00:00Z");
        assert_eq!(passed["verifier"]["policies"][0]["uri"], "https://example.com/policy");
        let failed = statement(&report(false), &stated()).unwrap().predicate;
        assert_eq!(failed["properties"], json!([]));

        let passed = vsa::statement(&report(true), &stated()).unwrap().predicate;
        assert_eq!(passed["verificationResult"], "PASSED");
        assert_eq!(passed["verifiedLevels"], names);
        assert!(passed["resourceUri"].as_str().unwrap().starts_with("ni:///sha-256;BwcH"));
        let failed = vsa::statement(&report(false), &stated()).unwrap().predicate;
        assert_eq!(failed["verificationResult"], "FAILED");
        assert_eq!(failed["verifiedLevels"], json!(["FAILED"]));
    }

    #[test]
    fn without_a_verdict_nothing_is_stated() {
        let mut judged = Report::new("verify", "demo");
        assert_eq!(statement(&judged, &stated()).unwrap_err(), VerdictStatementError::Incomplete);
        judged.judge(tensorseal_core::judge::Severity::Medium);
        assert_eq!(statement(&judged, &stated()).unwrap_err(), VerdictStatementError::NoPolicy);
        let mut broken = report(true);
        broken.verdict = tensorseal_core::judge::Verdict::Incomplete;
        assert_eq!(
            vsa::statement(&broken, &stated()).unwrap_err(),
            VerdictStatementError::Incomplete
        );
    }
}
