//! Identifiers of findings and models that stay the same from scan to scan.

use tensorseal_core::record::{ModelRecord, RecordedFinding};

/// The key-derivation context, which separates these digests from all others (BLAKE3 paper, section 2.3).
const CONTEXT: &str = "tensorseal 2026-11-29 identity of a finding in a registry";

/// Returns the identifier of a finding: BLAKE3 over source, model, version, rule, file and tensor, in hexadecimal. It does
/// not depend on the message or the severity, so a receiver recognises a finding that it has seen before.
pub fn finding_uid(model: &ModelRecord, finding: &RecordedFinding) -> String {
    uid(&[
        Some(&model.source),
        Some(&model.name),
        model.version.as_deref(),
        Some(&finding.rule),
        finding.file.as_deref(),
        finding.tensor.as_deref(),
    ])
}

/// Returns the identifier of a model.
pub fn model_uid(source: &str, name: &str) -> String {
    uid(&[Some(source), Some(name)])
}

/// Hashes the parts. Each is preceded by its length, and a missing part differs from an empty one.
fn uid(parts: &[Option<&str>]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    for part in parts {
        match part {
            Some(text) => {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
            None => {
                hasher.update(&u64::MAX.to_le_bytes());
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;
    use std::collections::BTreeSet;
    use tensorseal_base::severity::Severity;
    use tensorseal_core::record::ModelState;

    #[test]
    fn a_finding_is_known_again_and_no_other_is_taken_for_it() {
        let model = sample_registry::model("/models", "a", ModelState::Ok);
        let finding = sample_registry::finding(Severity::High, "format/overlap");
        let first = finding_uid(&model, &finding);
        let mut again = (model.clone(), finding.clone());
        again.0.state = ModelState::Modified;
        again.1.message = "in other words".to_owned();
        again.1.severity = Severity::Low;
        assert_eq!(first, finding_uid(&again.0, &again.1));

        let mut all = BTreeSet::from([first, model_uid(&model.source, &model.name)]);
        let mut others = vec![(model.clone(), finding.clone()); 7];
        others[0].0.source = "/model".to_owned();
        others[0].0.name = "sa".to_owned();
        others[1].0.version = Some(String::new());
        others[2].1.rule = "format/gap".to_owned();
        others[3].1.file = Some("f".to_owned());
        others[4].1.tensor = Some("f".to_owned());
        others[5].0.name = "b".to_owned();
        others[6].1.file = Some(String::new());
        for (model, finding) in &others {
            assert!(all.insert(finding_uid(model, finding)), "{model:?} {finding:?}");
        }
    }
}
