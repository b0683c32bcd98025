//! Which files somebody who is trusted vouches for, byte for byte.
//!
//! Whoever can write the model can write a seal beside it, and a model root says nothing of files without
//! tensors: neither pins anything.

use super::{Evidence, PinnedBy, is_one_of};
use crate::policy::Policy;
use std::collections::BTreeMap;

/// By path, who vouches for it in words; or why that is not known.
pub(super) fn pinned<'e>(
    policy: &Policy,
    evidence: &'e Evidence,
) -> Result<BTreeMap<&'e str, String>, &'e str> {
    let mut pinned = BTreeMap::new();
    for pins in evidence.pins.as_result()? {
        let Some(words) = who(policy, &pins.by) else { continue };
        for path in &pins.files {
            pinned.entry(path.as_str()).or_insert_with(|| words.clone());
        }
    }
    Ok(pinned)
}

/// Who vouches, if it is somebody whom the policy trusts.
fn who(policy: &Policy, by: &PinnedBy) -> Option<String> {
    let identities = &policy.signature.identities;
    match by {
        PinnedBy::Signature(signer) => {
            is_one_of(signer, identities).then(|| format!("signed by {}", signer.name))
        }
        PinnedBy::Seal { digest, .. } if policy.seal.expect_digest.contains(digest) => {
            Some("in the seal that the policy names".to_owned())
        }
        PinnedBy::Seal { outside: true, .. } => Some("in the seal that was given".to_owned()),
        PinnedBy::Seal { signed_by: Some(signer), .. } => is_one_of(signer, identities)
            .then(|| format!("in the seal that is signed by {}", signer.name)),
        PinnedBy::Seal { .. } => None,
        PinnedBy::Registry => Some("accepted in a registry".to_owned()),
    }
}
