//! The marks that a policy names: their keys and claims, and their detection.

use super::in_policy;
use crate::document::Report;
use crate::judge::watermark::{
    self as judge, ClaimedMark, Detection, DetectionContext, DetectionMode,
};
use crate::judge::{Finding, presence};
use crate::policy::{PolicyFile, WatermarkPolicy};
use crate::seal::document::root_text;
use crate::verbs::Error;
use crate::verbs::trust::read_small;
use crate::watermark::claim::{self, Claim, ClaimError};
use crate::watermark::detect::{MAX_KEYS, WatermarkMeasurement};
use crate::watermark::key::WatermarkKey;
use std::collections::BTreeSet;

/// The keys and claims, in the order of the policy.
#[derive(Default)]
pub(super) struct PolicyWatermarks {
    /// The keys.
    pub keys: Vec<WatermarkKey>,
    claims: Vec<Option<Claim>>,
    /// The digests of the claims that could be read.
    pub claim_digests: Vec<String>,
}

impl PolicyWatermarks {
    /// Reads the keys and claims of a policy. A malformed claim, or one that its key does not open, is a finding.
    pub(super) fn read(file: &PolicyFile, report: &mut Report) -> Result<Self, Error> {
        let mut watermarks = Self::default();
        let marks = &file.policy.watermarks;
        if marks.len() > MAX_KEYS {
            return Err(in_policy(Error::TooManyKeys(MAX_KEYS), file, "watermark".to_owned()));
        }
        for (index, mark) in marks.iter().enumerate() {
            let key = WatermarkKey::read(&file.resolve(&mark.key));
            let place = |key: &str| format!("watermark[{index}].{key}");
            let key = key.map_err(|error| in_policy(error, file, place("key")))?;
            let claim = match &mark.claim {
                None => None,
                Some(path) => {
                    let path = file.resolve(path);
                    match Claim::read(&path) {
                        Ok(claim) => {
                            let bytes = read_small(&path, claim::MAX_FILE)?;
                            let digest = blake3::hash(&bytes);
                            watermarks.claim_digests.push(root_text(digest.as_bytes()));
                            check_claim(claim, &key, &path.display().to_string(), report)
                        }
                        Err(error @ ClaimError::Malformed { .. }) => {
                            let message = format!("the claim cannot be used: {error}");
                            let finding = Finding::new("watermark/claim-invalid", message);
                            report.findings.push(finding.in_file(&path.display().to_string()));
                            None
                        }
                        Err(error) => return Err(in_policy(error, file, place("claim"))),
                    }
                }
            };
            watermarks.keys.push(key);
            watermarks.claims.push(claim);
        }
        refuse_duplicate_keys(watermarks.keys.iter().map(WatermarkKey::id))?;
        Ok(watermarks)
    }

    /// Judges the detection of each mark.
    pub(super) fn judge(&self, measured: &WatermarkMeasurement) -> Vec<Detection> {
        let detection = |(at, key): (usize, &WatermarkKey)| {
            let claimed = self.claims[at].as_ref();
            let claimed = claimed.map(|c| ClaimedMark { payload: c.payload(), alpha: c.alpha });
            let groups = measured.groups.iter().map(|g| (g.name.as_str(), &g.sums[at])).collect();
            let measurements = [judge::KeyMeasurement { mode: DetectionMode::Blind, groups }];
            let found = judge::judge(
                key.id(),
                &measurements,
                &DetectionContext { keys: self.keys.len(), claim: claimed },
            );
            found.with_unreadable(&measured.carriers.unreadable)
        };
        self.keys.iter().enumerate().map(detection).collect()
    }

    /// Returns the findings about marks, except whether they are as the policy expects, which the policy judges.
    pub(super) fn findings(file: &PolicyFile, detections: &[Detection]) -> Vec<Finding> {
        const EXPECTED: [&str; 3] =
            ["watermark/present", "watermark/absent", "watermark/inconclusive"];
        let findings = |(mark, detection): (&WatermarkPolicy, &Detection)| {
            presence::findings(detection, mark.expect, None)
        };
        let all = file.policy.watermarks.iter().zip(detections).flat_map(findings);
        all.filter(|finding| !EXPECTED.contains(&finding.rule)).collect()
    }
}

/// Refuses duplicate keys, which would distort the correction for several keys.
///
/// # Errors
/// Returns [`Error::DuplicateKey`] for the first key that occurs twice.
pub fn refuse_duplicate_keys<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Error::DuplicateKey(id.to_owned()));
        }
    }
    Ok(())
}

/// Returns the claim if its key opens it, else reports a finding.
fn check_claim(claim: Claim, key: &WatermarkKey, name: &str, report: &mut Report) -> Option<Claim> {
    if claim.is_opened_by(key) {
        return Some(claim);
    }
    let message =
        format!("key {} does not open this claim, which belongs to key {}", key.id(), claim.key_id);
    report.findings.push(Finding::new("watermark/claim-not-opened", message).in_file(name));
    None
}
