//! Decides which models are read, and which are skipped because their listings did not change.

use super::listed_digests::{self, update_framed};
use crate::source::{ChangeToken, ListedFile, ListedModel};
use crate::state::StoredModel;
use jiff::{SignedDuration, Timestamp};
use tensorseal_base::hashing::HashingPlan;
use tensorseal_core::record::ModelState;
use tensorseal_core::seal::Seal;
use tensorseal_format::Checkpoint;

/// The models that are read even if their listings did not change: unchanged change tokens do not prove that the content
/// is unchanged.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeepCheckSchedule {
    /// Reads models whose last deep check is older than this.
    pub max_age: Option<SignedDuration>,
    /// Reads the models of this part of a rotation.
    pub part: Option<RotationPart>,
    /// Reads all models.
    pub everything: bool,
}

/// One part of a rotation through all models. A model is always in the same part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPart {
    /// The index of the part, from 0 to `count - 1`.
    pub index: u32,
    /// The number of parts, at least 1.
    pub count: u32,
}

impl RotationPart {
    /// Returns whether a model is in this part.
    pub fn contains(self, source: &str, name: &str) -> bool {
        let mut hasher = blake3::Hasher::new_derive_key("tensorseal 2026 part of a registry");
        for text in [source, name] {
            update_framed(&mut hasher, text.as_bytes());
        }
        let mut number = [0; 8];
        hasher.finalize_xof().fill(&mut number);
        u64::from_le_bytes(number) % u64::from(self.count.max(1)) == u64::from(self.index)
    }
}

fn add_file(hasher: &mut blake3::Hasher, file: &ListedFile) {
    update_framed(hasher, file.path.as_bytes());
    update_framed(hasher, &file.bytes.to_le_bytes());
    // The value has no maps, so its JSON is deterministic.
    update_framed(hasher, &serde_json::to_vec(&file.change_token).unwrap_or_default());
}

impl DeepCheckSchedule {
    /// Returns whether a model must be read.
    pub fn is_due(
        &self,
        stored: &StoredModel,
        source: &str,
        listed: &ListingFingerprint,
        now: Timestamp,
    ) -> bool {
        let Some(checked) = stored.last_deep_check else { return true };
        let changed = !listed.detects_writes
            || stored.checked_listing_digest != Some(listed.digest)
            || stored.state == ModelState::Missing;
        let old = self.max_age.is_some_and(|max_age| now.duration_since(checked) > max_age);
        let part = self.part.is_some_and(|part| part.contains(source, &listed.name));
        changed || old || part || self.everything
    }
}

/// A fingerprint of the listing of a model. It changes whenever the listing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingFingerprint {
    /// The name of the model.
    pub name: String,
    /// The digest of the version, paths, lengths, change tokens, stated digests, sidecars and missing parts.
    pub digest: [u8; 32],
    /// Whether the digest would change if a file were written. It would not if the source has no change tokens.
    pub detects_writes: bool,
}

impl ListingFingerprint {
    /// Computes the fingerprint of a listed model.
    pub fn from_listed(listed: &ListedModel) -> ListingFingerprint {
        let mut hasher = blake3::Hasher::new_derive_key("tensorseal 2026 fingerprint of a model");
        update_framed(&mut hasher, listed.version.as_deref().unwrap_or_default().as_bytes());
        for file in &listed.files {
            add_file(&mut hasher, file);
        }
        update_framed(&mut hasher, &listed_digests::expectations_digest(&listed.files, None));
        for file in &listed.sidecars {
            match file.change_token {
                ChangeToken::None => update_framed(&mut hasher, file.path.as_bytes()),
                _ => add_file(&mut hasher, file),
            }
        }
        for missing in listed.incomplete.iter().chain(&listed.unreadable) {
            update_framed(&mut hasher, missing.as_bytes());
        }
        ListingFingerprint {
            name: listed.name.clone(),
            digest: *hasher.finalize().as_bytes(),
            detects_writes: listed.files.iter().all(|file| file.change_token != ChangeToken::None),
        }
    }

    /// Computes the key of an examination: it identifies the content of the model, the version of this program, the digests
    /// in `hashings`, and the accepted content, from which a damaged layout can be recovered.
    pub fn examination_key(
        &self,
        model: &Checkpoint,
        hashings: &HashingPlan,
        accepted: Option<&Seal>,
    ) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("tensorseal 2026 examination of a model");
        update_framed(&mut hasher, &self.digest);
        update_framed(&mut hasher, env!("CARGO_PKG_VERSION").as_bytes());
        update_framed(&mut hasher, accepted.map_or("", |seal| &seal.model.root).as_bytes());
        for file in 0..model.files.len() {
            // The value has no maps, so its JSON is deterministic.
            update_framed(
                &mut hasher,
                &serde_json::to_vec(hashings.for_file(file)).unwrap_or_default(),
            );
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(fingerprint: &ListingFingerprint, state: ModelState) -> StoredModel {
        StoredModel {
            id: 1,
            state,
            version: None,
            checked_listing_digest: Some(fingerprint.digest),
            checked_expectations: None,
            checked_tool: None,
            last_deep_check: Some(Timestamp::from_second(1_000_000).unwrap()),
        }
    }

    #[test]
    fn what_is_due() {
        let file = ListedFile {
            path: "a".to_owned(),
            bytes: 1,
            change_token: ChangeToken::Digest("x".to_owned()),
            digests: Vec::new(),
        };
        let listed =
            ListedModel { name: "m".to_owned(), files: vec![file], ..ListedModel::default() };
        let fingerprint = ListingFingerprint::from_listed(&listed);
        let before = stored(&fingerprint, ModelState::Ok);
        let now = Timestamp::from_second(1_000_100).unwrap();
        let due =
            |due: DeepCheckSchedule, stored: &StoredModel, fingerprint: &ListingFingerprint| {
                due.is_due(stored, "s", fingerprint, now)
            };
        assert!(!due(DeepCheckSchedule::default(), &before, &fingerprint));
        let mut written = listed.clone();
        written.files[0].change_token = ChangeToken::Digest("y".to_owned());
        assert!(due(
            DeepCheckSchedule::default(),
            &before,
            &ListingFingerprint::from_listed(&written)
        ));
        assert!(
            due(
                DeepCheckSchedule::default(),
                &stored(&fingerprint, ModelState::Missing),
                &fingerprint
            ),
            "it came back"
        );
        let mut tokenless = listed.clone();
        tokenless.files[0].change_token = ChangeToken::None;
        let tokenless = ListingFingerprint::from_listed(&tokenless);
        assert!(
            due(DeepCheckSchedule::default(), &stored(&tokenless, ModelState::Ok), &tokenless),
            "a write would not be detected"
        );
        // The seal was written, or download metadata was removed.
        for token in [ChangeToken::Digest("z".to_owned()), ChangeToken::None] {
            let is_metadata = token == ChangeToken::None;
            let with_sidecar = |path: &str, bytes: u64, token: &ChangeToken| {
                let (path, change_token) = (path.to_owned(), token.clone());
                let sidecars = vec![ListedFile { path, bytes, change_token, digests: Vec::new() }];
                ListingFingerprint::from_listed(&ListedModel { sidecars, ..listed.clone() })
            };
            let with = with_sidecar("a.sidecar", 7, &token);
            assert!(due(DeepCheckSchedule::default(), &before, &with));
            let then = stored(&with, ModelState::Ok);
            assert!(due(DeepCheckSchedule::default(), &then, &fingerprint));
            assert_eq!(
                due(DeepCheckSchedule::default(), &then, &with_sidecar("a.sidecar", 8, &token)),
                !is_metadata
            );
        }
        let never = StoredModel { last_deep_check: None, ..before.clone() };
        assert!(due(DeepCheckSchedule::default(), &never, &fingerprint));
        for (seconds, expected) in [(99, true), (100, false)] {
            let max_age = Some(SignedDuration::from_secs(seconds));
            assert_eq!(
                due(
                    DeepCheckSchedule { max_age, ..DeepCheckSchedule::default() },
                    &before,
                    &fingerprint
                ),
                expected
            );
        }
        assert!(due(
            DeepCheckSchedule { everything: true, ..DeepCheckSchedule::default() },
            &before,
            &fingerprint
        ));
    }

    /// Every model is in exactly one part, and the parts have about equal sizes.
    #[test]
    fn parts_share_all_models() {
        let mut sizes = [0; 7];
        for model in 0..1400 {
            let name = format!("org/model-{model}");
            let parts: Vec<u32> = (0..7)
                .filter(|index| RotationPart { index: *index, count: 7 }.contains("s", &name))
                .collect();
            assert_eq!(parts.len(), 1);
            sizes[parts[0] as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (140..260).contains(size)), "{sizes:?}");
    }
}
