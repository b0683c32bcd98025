//! Which models are read, and which are skipped because nothing of them moved.

use super::listed_digests::{self, update_framed};
use crate::source::{ChangeToken, ListedFile, ListedModel};
use crate::state::StoredModel;
use jiff::{SignedDuration, Timestamp};
use tensorseal_base::hashing::HashingPlan;
use tensorseal_core::record::ModelState;
use tensorseal_core::seal::Seal;
use tensorseal_format::Checkpoint;

/// What is read although nothing moved: marks that did not move are no proof.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeepCheckSchedule {
    /// Models whose last deep check is older than this.
    pub max_age: Option<SignedDuration>,
    /// Models of this part.
    pub part: Option<RotationPart>,
    /// All of them.
    pub everything: bool,
}

/// One of so many parts of all models; a model is always in the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPart {
    /// From 0 to `of - 1`.
    pub index: u32,
    /// How many there are, at least one.
    pub count: u32,
}

impl RotationPart {
    /// Whether a model is in it.
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
    // It has no maps whose order could differ.
    update_framed(hasher, &serde_json::to_vec(&file.change_token).unwrap_or_default());
}

impl DeepCheckSchedule {
    /// Whether a model is to be read, by what is known of it.
    pub fn is_due(
        &self,
        known: &StoredModel,
        source: &str,
        listed: &ListingFingerprint,
        now: Timestamp,
    ) -> bool {
        let Some(checked) = known.last_deep_check else { return true };
        let moved = !listed.detects_writes
            || known.checked_listing_digest != Some(listed.digest)
            || known.state == ModelState::Missing;
        let old = self.max_age.is_some_and(|most| now.duration_since(checked) > most);
        let part = self.part.is_some_and(|part| part.contains(source, &listed.name));
        moved || old || part || self.everything
    }
}

/// A digest of what a source lists of a model: it moves when anything in the list does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingFingerprint {
    /// Its name.
    pub name: String,
    /// Of version, paths, lengths, marks, what is claimed and by which files beside it, and what is missing.
    pub digest: [u8; 32],
    /// Whether it would move if a file was written: a source that has no marks tells nothing.
    pub detects_writes: bool,
}

impl ListingFingerprint {
    /// Of a model as it is listed.
    pub fn from_listed(listed: &ListedModel) -> ListingFingerprint {
        let mut mark = blake3::Hasher::new_derive_key("tensorseal 2026 marks of a model");
        update_framed(&mut mark, listed.version.as_deref().unwrap_or_default().as_bytes());
        for file in &listed.files {
            add_file(&mut mark, file);
        }
        update_framed(&mut mark, &listed_digests::expectations_digest(&listed.files, None));
        for file in &listed.sidecars {
            match file.change_token {
                ChangeToken::None => update_framed(&mut mark, file.path.as_bytes()),
                _ => add_file(&mut mark, file),
            }
        }
        for missing in listed.incomplete.iter().chain(&listed.unreadable) {
            update_framed(&mut mark, missing.as_bytes());
        }
        ListingFingerprint {
            name: listed.name.clone(),
            digest: *mark.finalize().as_bytes(),
            detects_writes: listed.files.iter().all(|file| file.change_token != ChangeToken::None),
        }
    }

    /// Of the model and of all that this program measures when it examines it: with these digests of its
    /// files, and its layout as it was `accepted`, where the model does not tell it.
    pub fn examination_key(
        &self,
        model: &Checkpoint,
        hashings: &HashingPlan,
        accepted: Option<&Seal>,
    ) -> [u8; 32] {
        let mut mark = blake3::Hasher::new_derive_key("tensorseal 2026 examination of a model");
        update_framed(&mut mark, &self.digest);
        update_framed(&mut mark, env!("CARGO_PKG_VERSION").as_bytes());
        update_framed(&mut mark, accepted.map_or("", |seal| &seal.model.root).as_bytes());
        for file in 0..model.files.len() {
            // It has no maps whose order could differ.
            update_framed(
                &mut mark,
                &serde_json::to_vec(hashings.for_file(file)).unwrap_or_default(),
            );
        }
        *mark.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(marks: &ListingFingerprint, state: ModelState) -> StoredModel {
        StoredModel {
            id: 1,
            state,
            version: None,
            checked_listing_digest: Some(marks.digest),
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
        let marks = ListingFingerprint::from_listed(&listed);
        let before = known(&marks, ModelState::Ok);
        let now = Timestamp::from_second(1_000_100).unwrap();
        let due = |due: DeepCheckSchedule, known: &StoredModel, marks: &ListingFingerprint| {
            due.is_due(known, "s", marks, now)
        };
        assert!(!due(DeepCheckSchedule::default(), &before, &marks));
        let mut moved = listed.clone();
        moved.files[0].change_token = ChangeToken::Digest("y".to_owned());
        assert!(due(
            DeepCheckSchedule::default(),
            &before,
            &ListingFingerprint::from_listed(&moved)
        ));
        assert!(
            due(DeepCheckSchedule::default(), &known(&marks, ModelState::Missing), &marks),
            "it came back"
        );
        let mut unmarked = listed.clone();
        unmarked.files[0].change_token = ChangeToken::None;
        let unmarked = ListingFingerprint::from_listed(&unmarked);
        assert!(
            due(DeepCheckSchedule::default(), &known(&unmarked, ModelState::Ok), &unmarked),
            "nothing would move"
        );
        // The seal beside it was written, or a note of its download removed.
        for mark in [ChangeToken::Digest("z".to_owned()), ChangeToken::None] {
            let is_note = mark == ChangeToken::None;
            let said = |path: &str, bytes: u64, mark: &ChangeToken| {
                let (path, mark) = (path.to_owned(), mark.clone());
                let beside =
                    vec![ListedFile { path, bytes, change_token: mark, digests: Vec::new() }];
                ListingFingerprint::from_listed(&ListedModel { sidecars: beside, ..listed.clone() })
            };
            let with = said("a.beside", 7, &mark);
            assert!(due(DeepCheckSchedule::default(), &before, &with));
            let then = known(&with, ModelState::Ok);
            assert!(due(DeepCheckSchedule::default(), &then, &marks));
            assert_eq!(
                due(DeepCheckSchedule::default(), &then, &said("a.beside", 8, &mark)),
                !is_note
            );
        }
        let never = StoredModel { last_deep_check: None, ..before.clone() };
        assert!(due(DeepCheckSchedule::default(), &never, &marks));
        for (seconds, expected) in [(99, true), (100, false)] {
            let max_age = Some(SignedDuration::from_secs(seconds));
            assert_eq!(
                due(DeepCheckSchedule { max_age, ..DeepCheckSchedule::default() }, &before, &marks),
                expected
            );
        }
        assert!(due(
            DeepCheckSchedule { everything: true, ..DeepCheckSchedule::default() },
            &before,
            &marks
        ));
    }

    /// Every model is in exactly one part, and the parts are about equal.
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
