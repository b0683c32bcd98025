//! The marks that a policy asks for: their keys and claims, and what became of them.

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

/// Keys and claims, in the order of the policy.
#[derive(Default)]
pub(super) struct PolicyWatermarks {
    /// The keys.
    pub keys: Vec<WatermarkKey>,
    claims: Vec<Option<Claim>>,
    /// Digests of the claims that could be read.
    pub claim_digests: Vec<String>,
}

impl PolicyWatermarks {
    /// Reads the keys and claims of a policy. A claim that is malformed, or that its key does not open, is
    /// a finding.
    pub(super) fn read(file: &PolicyFile, report: &mut Report) -> Result<Self, Error> {
        let mut marks = Self::default();
        let wanted = &file.policy.watermarks;
        if wanted.len() > MAX_KEYS {
            return Err(in_policy(Error::TooManyKeys(MAX_KEYS), file, "watermark".to_owned()));
        }
        for (index, mark) in wanted.iter().enumerate() {
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
                            marks.claim_digests.push(root_text(digest.as_bytes()));
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
            marks.keys.push(key);
            marks.claims.push(claim);
        }
        refuse_duplicate_keys(marks.keys.iter().map(WatermarkKey::id))?;
        Ok(marks)
    }

    /// What was found of each mark.
    pub(super) fn judge(&self, measured: &WatermarkMeasurement) -> Vec<Detection> {
        let of = |(at, key): (usize, &WatermarkKey)| {
            let claimed = self.claims[at].as_ref();
            let claimed = claimed.map(|c| ClaimedMark { payload: c.payload(), alpha: c.alpha });
            let groups = measured.groups.iter().map(|g| (g.name.as_str(), &g.sums[at])).collect();
            let ways = [judge::KeyMeasurement { mode: DetectionMode::Blind, groups }];
            let found = judge::judge(
                key.id(),
                &ways,
                &DetectionContext { keys: self.keys.len(), claim: claimed },
            );
            found.with_unreadable(&measured.carriers.unreadable)
        };
        self.keys.iter().enumerate().map(of).collect()
    }

    /// What there is to say of marks besides whether they are as the policy expects.
    pub(super) fn findings(file: &PolicyFile, detections: &[Detection]) -> Vec<Finding> {
        const EXPECTED: [&str; 3] =
            ["watermark/present", "watermark/absent", "watermark/inconclusive"];
        let of = |(mark, detection): (&WatermarkPolicy, &Detection)| {
            presence::findings(detection, mark.expect, None)
        };
        let all = file.policy.watermarks.iter().zip(detections).flat_map(of);
        all.filter(|finding| !EXPECTED.contains(&finding.rule)).collect()
    }
}

/// A key that is looked for twice would be paid for as two.
///
/// # Errors
/// [`Error::DuplicateKey`].
pub fn refuse_duplicate_keys<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Error::DuplicateKey(id.to_owned()));
        }
    }
    Ok(())
}

/// A claim, if its key opens it.
fn check_claim(claim: Claim, key: &WatermarkKey, name: &str, report: &mut Report) -> Option<Claim> {
    if claim.is_opened_by(key) {
        return Some(claim);
    }
    let message =
        format!("the key {} does not open this claim, which is of key {}", key.id(), claim.key_id);
    report.findings.push(Finding::new("watermark/claim-not-opened", message).in_file(name));
    None
}
