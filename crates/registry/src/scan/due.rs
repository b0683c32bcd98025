//! Which models are read, and which are skipped because nothing of them moved.

use super::claims::{self, add};
use crate::source::{Listed, ListedFile, Mark};
use crate::state::Known;
use jiff::{SignedDuration, Timestamp};
use tensorseal_base::hashing::Hashings;
use tensorseal_core::record::State;
use tensorseal_core::seal::Seal;
use tensorseal_format::Checkpoint;

/// What is read although nothing moved: marks that did not move are no proof.
#[derive(Debug, Clone, Copy, Default)]
pub struct Due {
    /// Models whose last deep check is older than this.
    pub max_age: Option<SignedDuration>,
    /// Models of this part.
    pub part: Option<Part>,
    /// All of them.
    pub everything: bool,
}

/// One of so many parts of all models; a model is always in the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 0 to `of - 1`.
    pub index: u32,
    /// How many there are, at least one.
    pub of: u32,
}

impl Part {
    /// Whether a model is in it.
    pub fn has(self, source: &str, name: &str) -> bool {
        let mut hasher = blake3::Hasher::new_derive_key("tensorseal 2026 part of a registry");
        for text in [source, name] {
            add(&mut hasher, text.as_bytes());
        }
        let mut number = [0; 8];
        hasher.finalize_xof().fill(&mut number);
        u64::from_le_bytes(number) % u64::from(self.of.max(1)) == u64::from(self.index)
    }
}

fn add_file(hasher: &mut blake3::Hasher, file: &ListedFile) {
    add(hasher, file.path.as_bytes());
    add(hasher, &file.bytes.to_le_bytes());
    // It has no maps whose order could differ.
    add(hasher, &serde_json::to_vec(&file.mark).unwrap_or_default());
}

impl Due {
    /// Whether a model is to be read, by what is known of it.
    pub fn is_due(&self, known: &Known, source: &str, listed: &Marks, now: Timestamp) -> bool {
        let Some(checked) = known.last_deep_check else { return true };
        let moved = !listed.would_move
            || known.checked_mark != Some(listed.mark)
            || known.state == State::Missing;
        let old = self.max_age.is_some_and(|most| now.duration_since(checked) > most);
        let part = self.part.is_some_and(|part| part.has(source, &listed.name));
        moved || old || part || self.everything
    }
}

/// A digest of what a source lists of a model: it moves when anything in the list does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// Its name.
    pub name: String,
    /// Of version, paths, lengths, marks, what is claimed and by which files beside it, and what is missing.
    pub mark: [u8; 32],
    /// Whether it would move if a file was written: a source that has no marks tells nothing.
    pub would_move: bool,
}

impl Marks {
    /// Of a model as it is listed.
    pub fn of(listed: &Listed) -> Marks {
        let mut mark = blake3::Hasher::new_derive_key("tensorseal 2026 marks of a model");
        add(&mut mark, listed.version.as_deref().unwrap_or_default().as_bytes());
        for file in &listed.files {
            add_file(&mut mark, file);
        }
        add(&mut mark, &claims::digest(&listed.files, None));
        for file in &listed.beside {
            match file.mark {
                Mark::None => add(&mut mark, file.path.as_bytes()),
                _ => add_file(&mut mark, file),
            }
        }
        for missing in listed.incomplete.iter().chain(&listed.unreadable) {
            add(&mut mark, missing.as_bytes());
        }
        Marks {
            name: listed.name.clone(),
            mark: *mark.finalize().as_bytes(),
            would_move: listed.files.iter().all(|file| file.mark != Mark::None),
        }
    }

    /// Of the model and of all that this program measures when it examines it: with these digests of its
    /// files, and its layout as it was `accepted`, where the model does not tell it.
    pub fn to_examine(
        &self,
        model: &Checkpoint,
        hashings: &Hashings,
        accepted: Option<&Seal>,
    ) -> [u8; 32] {
        let mut mark = blake3::Hasher::new_derive_key("tensorseal 2026 examination of a model");
        add(&mut mark, &self.mark);
        add(&mut mark, env!("CARGO_PKG_VERSION").as_bytes());
        add(&mut mark, accepted.map_or("", |seal| &seal.model.root).as_bytes());
        for file in 0..model.files.len() {
            // It has no maps whose order could differ.
            add(&mut mark, &serde_json::to_vec(hashings.of(file)).unwrap_or_default());
        }
        *mark.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(marks: &Marks, state: State) -> Known {
        Known {
            id: 1,
            state,
            version: None,
            checked_mark: Some(marks.mark),
            checked_claims: None,
            checked_tool: None,
            last_deep_check: Some(Timestamp::from_second(1_000_000).unwrap()),
        }
    }

    #[test]
    fn what_is_due() {
        let file = ListedFile {
            path: "a".to_owned(),
            bytes: 1,
            mark: Mark::Digest("x".to_owned()),
            claims: Vec::new(),
        };
        let listed = Listed { name: "m".to_owned(), files: vec![file], ..Listed::default() };
        let marks = Marks::of(&listed);
        let before = known(&marks, State::Ok);
        let now = Timestamp::from_second(1_000_100).unwrap();
        let due = |due: Due, known: &Known, marks: &Marks| due.is_due(known, "s", marks, now);
        assert!(!due(Due::default(), &before, &marks));
        let mut moved = listed.clone();
        moved.files[0].mark = Mark::Digest("y".to_owned());
        assert!(due(Due::default(), &before, &Marks::of(&moved)));
        assert!(due(Due::default(), &known(&marks, State::Missing), &marks), "it came back");
        let mut unmarked = listed.clone();
        unmarked.files[0].mark = Mark::None;
        let unmarked = Marks::of(&unmarked);
        assert!(due(Due::default(), &known(&unmarked, State::Ok), &unmarked), "nothing would move");
        // The seal beside it was written, or a note of its download removed.
        for mark in [Mark::Digest("z".to_owned()), Mark::None] {
            let is_note = mark == Mark::None;
            let said = |path: &str, bytes: u64, mark: &Mark| {
                let (path, mark) = (path.to_owned(), mark.clone());
                let beside = vec![ListedFile { path, bytes, mark, claims: Vec::new() }];
                Marks::of(&Listed { beside, ..listed.clone() })
            };
            let with = said("a.beside", 7, &mark);
            assert!(due(Due::default(), &before, &with));
            let then = known(&with, State::Ok);
            assert!(due(Due::default(), &then, &marks));
            assert_eq!(due(Due::default(), &then, &said("a.beside", 8, &mark)), !is_note);
        }
        let never = Known { last_deep_check: None, ..before.clone() };
        assert!(due(Due::default(), &never, &marks));
        for (seconds, expected) in [(99, true), (100, false)] {
            let max_age = Some(SignedDuration::from_secs(seconds));
            assert_eq!(due(Due { max_age, ..Due::default() }, &before, &marks), expected);
        }
        assert!(due(Due { everything: true, ..Due::default() }, &before, &marks));
    }

    /// Every model is in exactly one part, and the parts are about equal.
    #[test]
    fn parts_share_all_models() {
        let mut sizes = [0; 7];
        for model in 0..1400 {
            let name = format!("org/model-{model}");
            let parts: Vec<u32> =
                (0..7).filter(|index| Part { index: *index, of: 7 }.has("s", &name)).collect();
            assert_eq!(parts.len(), 1);
            sizes[parts[0] as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (140..260).contains(size)), "{sizes:?}");
    }
}
