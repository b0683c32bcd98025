//! Determines which files a trusted party vouches for, byte for byte.
//!
//! Anyone who can write the model can also write a seal next to it, and a model root does not cover files without
//! tensors, so neither pins files.

use super::{Evidence, PinnedBy, is_one_of};
use crate::policy::Policy;
use std::collections::BTreeMap;

/// Returns who vouches for each pinned file, in words, or why that is unknown.
pub(super) fn pinned<'e>(
    policy: &Policy,
    evidence: &'e Evidence,
) -> Result<BTreeMap<&'e str, String>, &'e str> {
    let mut pinned = BTreeMap::new();
    for pins in evidence.pins.as_result()? {
        let Some(words) = trusted_party(policy, &pins.by) else { continue };
        for path in &pins.files {
            pinned.entry(path.as_str()).or_insert_with(|| words.clone());
        }
    }
    Ok(pinned)
}

/// Returns who vouches for files, in words, if the policy trusts them.
fn trusted_party(policy: &Policy, by: &PinnedBy) -> Option<String> {
    let identities = &policy.signature.identities;
    match by {
        PinnedBy::Signature(signer) => {
            is_one_of(signer, identities).then(|| format!("signed by {}", signer.name))
        }
        PinnedBy::Seal { digest, .. } if policy.seal.expect_digest.contains(digest) => {
            Some("in the seal that the policy names".to_owned())
        }
        PinnedBy::Seal { outside: true, .. } => {
            Some("in the seal given from outside the model".to_owned())
        }
        PinnedBy::Seal { signed_by: Some(signer), .. } => {
            is_one_of(signer, identities).then(|| format!("in the seal signed by {}", signer.name))
        }
        PinnedBy::Seal { .. } => None,
        PinnedBy::Registry => Some("accepted in a registry".to_owned()),
    }
}
