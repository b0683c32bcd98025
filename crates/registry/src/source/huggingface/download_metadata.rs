//! Reads the metadata files that `hf download --local-dir` writes for each file, so as not to download it again. They
//! are below `.cache/huggingface/download`, under the path of the file with `.metadata` appended, and have three lines:
//! the commit, the entity tag and the time (`huggingface_hub/_local_folder.py`). The tag is the SHA-256 of a large file,
//! and the git blob id of a small file.

use super::blobs::{DigestOrigin, parse_digest};
use crate::source::{ChangeToken, ListedDigest, ListedFile};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::regular_file;

/// The directory of the metadata below the download directory.
const FOLDER: &str = ".cache/huggingface/download";

/// The longest metadata file that is read, in bytes. A usual one has about 124.
const MAX_LEN: u64 = 1 << 10;

/// The download metadata of a model directory.
#[derive(Debug)]
pub(crate) struct DownloadMetadata {
    /// The directory with the metadata of the files at the top of the model.
    folder: PathBuf,
    /// The same directory as a path relative to the model, with a `/` at the end.
    relative: String,
}

impl DownloadMetadata {
    /// Finds the metadata of the model at `model`: in the model or, if the model is a part of a download, in the nearest
    /// directory above it up to `root`. Both paths must be canonical.
    pub(crate) fn find(root: &Path, model: &Path) -> Option<DownloadMetadata> {
        let above = model.ancestors().take_while(|place| place.starts_with(root));
        for (steps, place) in above.enumerate() {
            let folder = place.join(FOLDER);
            if metadata_without_links(&folder).is_some_and(|metadata| metadata.is_dir()) {
                let below = model.strip_prefix(place).ok()?;
                let mut relative = format!("{}{FOLDER}/", "../".repeat(steps));
                for name in below {
                    relative.push_str(&format!("{}/", name.to_str()?));
                }
                return Some(DownloadMetadata { folder: folder.join(below), relative });
            }
        }
        None
    }

    /// Returns the metadata file of a model file, if it exists. The client rewrites it whenever it asks the hub, so it has
    /// no change token.
    pub(crate) fn listed_file(&self, path: &str) -> Option<ListedFile> {
        let metadata = metadata_without_links(&self.place(path)).filter(Metadata::is_file)?;
        let path = format!("{}{path}.metadata", self.relative);
        Some(ListedFile {
            path,
            bytes: metadata.len(),
            change_token: ChangeToken::None,
            digests: Vec::new(),
        })
    }

    /// Returns the digest in the metadata of a model file; `None` if there is no metadata, or the client of the hub would
    /// not accept it.
    pub(crate) fn listed_digest(&self, path: &str) -> Option<ListedDigest> {
        let place = self.place(path);
        metadata_without_links(&place).filter(Metadata::is_file)?;
        let text = regular_file::read_at_most(&place, MAX_LEN).ok()?;
        if text.len() as u64 > MAX_LEN { None } else { parse(&text) }
    }

    fn place(&self, path: &str) -> PathBuf {
        self.folder.join(format!("{path}.metadata"))
    }
}

/// Returns the file metadata of a path that has no symbolic link in it.
fn metadata_without_links(path: &Path) -> Option<Metadata> {
    let metadata = fs::symlink_metadata(path).ok()?;
    (fs::canonicalize(path).ok()? == path).then_some(metadata)
}

/// Parses a metadata file. Lines may end with LF or CRLF.
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
    let origin = DigestOrigin {
        name: "its download metadata",
        remedy: "restore it, or remove its metadata below .cache/huggingface/download if you changed it on purpose",
    };
    parse_digest(algorithm, tag, origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;
    use tensorseal_base::hex::hex;

    const COMMIT: &str = "11c5a3d5811f50298f278a704980280950aedb10";

    fn metadata_text(tag: &str) -> String {
        format!("{COMMIT}\n{tag}\n1712656091.123\n")
    }

    #[test]
    fn the_tag_is_the_digest() {
        let (large, small) = ("7c".repeat(32), "a1".repeat(20));
        let large = parse(metadata_text(&large).as_bytes()).unwrap();
        assert_eq!((large.algorithm, large.digest), (HashAlgorithm::Sha256, vec![0x7c; 32]));
        for text in [metadata_text(&small), metadata_text(&small).replace('\n', "\r\n")] {
            let small = parse(text.as_bytes()).unwrap();
            assert_eq!((small.algorithm, small.digest), (HashAlgorithm::GitBlob, vec![0xa1; 20]));
        }
        let valid = metadata_text(&small);
        for text in [
            String::new(),
            valid.replace("1712656091.123\n", ""),
            valid.replace("1712656091.123", "yesterday"),
            valid.replace("1712656091.123", "inf"),
            valid.replace("1712656091.123", "-1.5"),
            valid.replace(COMMIT, "main"),
            valid.replace("a1a1", "A1A1"),
            metadata_text("\"a1\""),
            metadata_text("d41d8cd98f00b204e9800998ecf8427e-2"),
            format!("{valid}more\n"),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    /// Only metadata at the path where the client writes it is read.
    #[test]
    fn metadata_is_found_where_the_client_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let model = root.join("downloaded/Q4");
        let folder = root.join("downloaded").join(FOLDER);
        fs::create_dir_all(&model).unwrap();
        assert!(DownloadMetadata::find(&root, &model).is_none());
        fs::create_dir_all(folder.join("Q4/deep")).unwrap();
        let valid = metadata_text(&"7c".repeat(32));
        fs::write(folder.join("Q4/x.gguf.metadata"), &valid).unwrap();
        fs::write(folder.join("Q4/deep/er.metadata"), &valid).unwrap();
        fs::write(folder.join("Q4/long.metadata"), format!("{valid}{}", " ".repeat(1024))).unwrap();
        fs::create_dir(folder.join("Q4/directory.metadata")).unwrap();
        fs::write(root.join("elsewhere"), &valid).unwrap();
        symlink(root.join("elsewhere"), folder.join("Q4/link.metadata")).unwrap();
        symlink(folder.join("Q4/deep"), folder.join("Q4/linked")).unwrap();

        let metadata = DownloadMetadata::find(&root, &model).unwrap();
        let there = metadata.listed_file("x.gguf").unwrap();
        assert_eq!(there.path, "../.cache/huggingface/download/Q4/x.gguf.metadata");
        assert_eq!((there.change_token, there.bytes), (ChangeToken::None, valid.len() as u64));
        assert!(
            metadata.listed_digest("x.gguf").is_some()
                && metadata.listed_digest("deep/er").is_some()
        );
        assert!(metadata.listed_file("long").is_some() && metadata.listed_digest("long").is_none());
        for path in ["none", "directory", "link", "linked/er", "../../../../../elsewhere"] {
            assert!(
                metadata.listed_file(path).is_none() && metadata.listed_digest(path).is_none(),
                "{path}"
            );
        }
        // Metadata above the root is ignored, and only the nearest counts.
        assert!(DownloadMetadata::find(&model, &model).is_none());
        fs::create_dir_all(model.join(FOLDER)).unwrap();
        assert!(DownloadMetadata::find(&root, &model).unwrap().listed_digest("x.gguf").is_none());
        fs::remove_dir_all(model.join(".cache")).unwrap();
        symlink(root.join("downloaded/.cache"), model.join(".cache")).unwrap();
        let relative = DownloadMetadata::find(&root, &model).unwrap().relative;
        assert_eq!(relative, "../.cache/huggingface/download/Q4/", "links are ignored");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Truncated or altered metadata never gives a digest that is not in its text.
        #[test]
        fn altered_metadata_gives_no_other_digest(
            large: bool,
            seed: [u8; 32],
            time in 0.0..4e9f64,
            cut in 0..130usize,
            at in 0..130usize,
            byte: u8,
        ) {
            let digest = &seed[..if large { 32 } else { 20 }];
            let valid = format!("{COMMIT}\n{}\n{time:?}\n", hex(digest)).into_bytes();
            prop_assert_eq!(parse(&valid).map(|listed| listed.digest), Some(digest.to_vec()));
            if let Some(listed) = parse(&valid[..cut.min(valid.len())]) {
                prop_assert_eq!(&listed.digest, digest);
            }
            let mut altered = valid.clone();
            altered[at % valid.len()] = byte;
            if let Some(listed) = parse(&altered) {
                prop_assert!(String::from_utf8(altered).unwrap().contains(&hex(&listed.digest)));
            }
        }

        #[test]
        fn no_bytes_do_harm(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
