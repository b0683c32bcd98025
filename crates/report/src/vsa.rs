//! SLSA Verification Summary Attestation (v1): the verdict of a gate, for consumers who trust its signer.
//!
//! The attestation claims no SLSA level, because none was checked. Its `verifiedLevels` name the policy rules that the
//! model met.

use super::Report;
use super::statement::{
    self as stating, StatementContext, VerdictStatementError, met, of_digest, policy_of,
    resource_uri, verifier,
};
use serde_json::{Value, json};
use tensorseal_base::hex::hex;
use tensorseal_signing::Statement;

/// The predicate type of the statement.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// Returns the statement of the verdict, ready to be signed.
///
/// # Errors
/// Returns an error if the report has no verdict of a policy.
pub fn statement(
    report: &Report,
    stated: &StatementContext,
) -> Result<Statement, VerdictStatementError> {
    let policy = policy_of(report)?;
    let levels = match met(policy) {
        levels if policy.passed => levels,
        _ => vec!["FAILED".to_owned()],
    };
    let inputs: Vec<Value> = stated
        .inputs
        .iter()
        .map(|input| {
            json!({
                "name": input.name,
                "uri": of_digest(&input.sha256),
                "digest": { "sha256": hex(&input.sha256) },
            })
        })
        .collect();
    let tool = &report.tool;
    let predicate = json!({
        "verifier": { "id": verifier(stated, report), "version": { tool.name: tool.version } },
        "timeVerified": policy.time.to_string(),
        "resourceUri": resource_uri(stated),
        "policy": stating::policy(stated, policy),
        "inputAttestations": inputs,
        "verificationResult": if policy.passed { "PASSED" } else { "FAILED" },
        "verifiedLevels": levels,
    });
    Ok(Statement {
        subject: stated.subject.clone(),
        sha256: stated.sha256,
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate,
    })
}
