//! Notes that `hf download --local-dir` leaves of each file, so as not to fetch it again: below
//! `.cache/huggingface/download` of the directory, under the path of the file and `.metadata`, three lines with
//! the commit, the entity tag and the time (`huggingface_hub/_local_folder.py`). The
//! tag is the SHA-256 of a large file, and the id that git gives a small one.

use super::blobs::{DigestOrigin, parse_digest};
use crate::source::{ChangeToken, ListedDigest, ListedFile};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::regular_file;

/// Where they are, below the directory that was downloaded to.
const FOLDER: &str = ".cache/huggingface/download";

/// Longest note that is read, in bytes: one has 124 and some.
const MAX_LEN: u64 = 1 << 10;

/// The notes of a directory, or of one below it.
#[derive(Debug)]
pub(crate) struct DownloadMetadata {
    /// Where those of the files at its top are.
    folder: PathBuf,
    /// The same, as seen from there.
    shown: String,
}

impl DownloadMetadata {
    /// Those of the model at `model`: in it or, where a part of what was downloaded is a model, in a directory
    /// above it up to `root`, the nearest ones. Both are paths without links.
    pub(crate) fn find(root: &Path, model: &Path) -> Option<DownloadMetadata> {
        let above = model.ancestors().take_while(|place| place.starts_with(root));
        for (steps, place) in above.enumerate() {
            let folder = place.join(FOLDER);
            if plain(&folder).is_some_and(|metadata| metadata.is_dir()) {
                let below = model.strip_prefix(place).ok()?;
                let mut shown = format!("{}{FOLDER}/", "../".repeat(steps));
                for name in below {
                    shown.push_str(&format!("{}/", name.to_str()?));
                }
                return Some(DownloadMetadata { folder: folder.join(below), shown });
            }
        }
        None
    }

    /// The note of a file of the model, if there is one. Every look at the hub writes it again: it has no mark.
    pub(crate) fn listed_file(&self, path: &str) -> Option<ListedFile> {
        let metadata = plain(&self.place(path)).filter(Metadata::is_file)?;
        let path = format!("{}{path}.metadata", self.shown);
        Some(ListedFile {
            path,
            bytes: metadata.len(),
            change_token: ChangeToken::None,
            digests: Vec::new(),
        })
    }

    /// What the note of a file of the model claims; `None`: there is none, or it is no such note, as the
    /// hub's own client takes it.
    pub(crate) fn listed_digest(&self, path: &str) -> Option<ListedDigest> {
        let place = self.place(path);
        plain(&place).filter(Metadata::is_file)?;
        let text = regular_file::read_at_most(&place, MAX_LEN).ok()?;
        if text.len() as u64 > MAX_LEN { None } else { parse(&text) }
    }

    fn place(&self, path: &str) -> PathBuf {
        self.folder.join(format!("{path}.metadata"))
    }
}

/// What is at a path that leads there without any link.
fn plain(path: &Path) -> Option<Metadata> {
    let metadata = fs::symlink_metadata(path).ok()?;
    (fs::canonicalize(path).ok()? == path).then_some(metadata)
}

/// What a note claims. Lines end as on the system that it was written on.
fn parse(text: &[u8]) -> Option<ListedDigest> {
    let mut lines = std::str::from_utf8(text).ok()?.lines().map(str::trim);
    let (commit, tag, time) = (lines.next()?, lines.next()?, lines.next()?);
    let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_time = time.parse().is_ok_and(|time: f64| time.is_finite() && time >= 0.0);
    if !is_commit || !is_time || lines.next().is_some() {
        return None;
    }
    let algorithm = match tag.len() {
        64 => HashAlgorithm::Sha256,
        _ => HashAlgorithm::GitBlob,
    };
    let place = DigestOrigin {
        name: "the note of its download",
        remedy: "restore it, or remove its note below .cache/huggingface/download if it was changed on purpose",
    };
    parse_digest(algorithm, tag, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;
    use tensorseal_base::hex::hex;

    const COMMIT: &str = "11c5a3d5811f50298f278a704980280950aedb10";

    fn note(tag: &str) -> String {
        format!("{COMMIT}\n{tag}\n1712656091.123\n")
    }

    #[test]
    fn a_note_claims_what_its_tag_says() {
        let (large, small) = ("7c".repeat(32), "a1".repeat(20));
        let large = parse(note(&large).as_bytes()).unwrap();
        assert_eq!((large.algorithm, large.digest), (HashAlgorithm::Sha256, vec![0x7c; 32]));
        for text in [note(&small), note(&small).replace('\n', "\r\n")] {
            let small = parse(text.as_bytes()).unwrap();
            assert_eq!((small.algorithm, small.digest), (HashAlgorithm::GitBlob, vec![0xa1; 20]));
        }
        let sound = note(&small);
        for text in [
            String::new(),
            sound.replace("1712656091.123\n", ""),
            sound.replace("1712656091.123", "yesterday"),
            sound.replace("1712656091.123", "inf"),
            sound.replace("1712656091.123", "-1.5"),
            sound.replace(COMMIT, "main"),
            sound.replace("a1a1", "A1A1"),
            note("\"a1\""),
            note("d41d8cd98f00b204e9800998ecf8427e-2"),
            format!("{sound}more\n"),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    /// Nothing is read but notes that lie where the client puts them.
    #[test]
    fn notes_are_found_where_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let model = root.join("downloaded/Q4");
        let folder = root.join("downloaded").join(FOLDER);
        fs::create_dir_all(&model).unwrap();
        assert!(DownloadMetadata::find(&root, &model).is_none());
        fs::create_dir_all(folder.join("Q4/deep")).unwrap();
        let sound = note(&"7c".repeat(32));
        fs::write(folder.join("Q4/x.gguf.metadata"), &sound).unwrap();
        fs::write(folder.join("Q4/deep/er.metadata"), &sound).unwrap();
        fs::write(folder.join("Q4/long.metadata"), format!("{sound}{}", " ".repeat(1024))).unwrap();
        fs::create_dir(folder.join("Q4/directory.metadata")).unwrap();
        fs::write(root.join("elsewhere"), &sound).unwrap();
        symlink(root.join("elsewhere"), folder.join("Q4/link.metadata")).unwrap();
        symlink(folder.join("Q4/deep"), folder.join("Q4/linked")).unwrap();

        let notes = DownloadMetadata::find(&root, &model).unwrap();
        let there = notes.listed_file("x.gguf").unwrap();
        assert_eq!(there.path, "../.cache/huggingface/download/Q4/x.gguf.metadata");
        assert_eq!((there.change_token, there.bytes), (ChangeToken::None, sound.len() as u64));
        assert!(
            notes.listed_digest("x.gguf").is_some() && notes.listed_digest("deep/er").is_some()
        );
        assert!(notes.listed_file("long").is_some() && notes.listed_digest("long").is_none());
        for path in ["none", "directory", "link", "linked/er", "../../../../../elsewhere"] {
            assert!(
                notes.listed_file(path).is_none() && notes.listed_digest(path).is_none(),
                "{path}"
            );
        }
        // Those above the root are nobody's, and nearer ones count alone.
        assert!(DownloadMetadata::find(&model, &model).is_none());
        fs::create_dir_all(model.join(FOLDER)).unwrap();
        assert!(DownloadMetadata::find(&root, &model).unwrap().listed_digest("x.gguf").is_none());
        fs::remove_dir_all(model.join(".cache")).unwrap();
        symlink(root.join("downloaded/.cache"), model.join(".cache")).unwrap();
        let shown = DownloadMetadata::find(&root, &model).unwrap().shown;
        assert_eq!(shown, "../.cache/huggingface/download/Q4/", "a link is passed over");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// However a note is cut off or altered, it claims nothing that does not stand in it.
        #[test]
        fn a_note_claims_nothing_else(
            large: bool,
            seed: [u8; 32],
            time in 0.0..4e9f64,
            cut in 0..130usize,
            at in 0..130usize,
            byte: u8,
        ) {
            let digest = &seed[..if large { 32 } else { 20 }];
            let sound = format!("{COMMIT}\n{}\n{time:?}\n", hex(digest)).into_bytes();
            prop_assert_eq!(parse(&sound).map(|claim| claim.digest), Some(digest.to_vec()));
            if let Some(claim) = parse(&sound[..cut.min(sound.len())]) {
                prop_assert_eq!(&claim.digest, digest);
            }
            let mut altered = sound.clone();
            altered[at % sound.len()] = byte;
            if let Some(claim) = parse(&altered) {
                prop_assert!(String::from_utf8(altered).unwrap().contains(&hex(&claim.digest)));
            }
        }

        #[test]
        fn no_bytes_do_harm(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
