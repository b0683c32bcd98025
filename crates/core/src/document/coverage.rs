//! How much of a model was looked at, and what was not.

use super::{safe_text, units};
use serde::Serialize;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::hex::hex;
use tensorseal_engine::RunReport;
use tensorseal_format::{Checkpoint, FileRole, ModelFile, SkippedPath};

/// What a report speaks of, and what not.
#[derive(Debug, Default, Serialize)]
pub struct Coverage {
    /// Bytes of all files of the model.
    pub bytes_total: u64,
    /// Bytes that were measured.
    pub bytes_checked: u64,
    /// What exists and was not measured.
    pub not_covered: Vec<SkippedPath>,
    /// Files that are neither weights nor known to go along with them: measured as bytes, and nobody here
    /// knows what they are.
    pub not_understood: Vec<UnrecognisedFile>,
    /// Bytes of files that hold weights, or are loaded as if they did, and that no audit can look into here.
    pub weights_bytes_not_audited: u64,
    /// The files that these are of.
    #[serde(skip)]
    pub weights_not_audited: Vec<String>,
}

/// A file that nobody here knows what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnrecognisedFile {
    /// Path relative to the model.
    pub path: String,
    /// The class of its bytes, as far as they have one.
    pub class: &'static str,
    /// Length in bytes.
    pub bytes: u64,
    /// The hash function, `:`, and the digest of the file; null: its bytes were not read.
    pub digest: Option<String>,
}

impl Coverage {
    /// Of a model, of which `run` measured `bytes_checked` bytes; `None`: nothing was measured.
    pub fn new(model: &Checkpoint, run: Option<&RunReport>, bytes_checked: u64) -> Self {
        let mut coverage = Self { bytes_checked, ..Self::default() };
        coverage.add(model, run);
        coverage
    }

    /// Adds another model: of a comparison, the second.
    pub fn add(&mut self, model: &Checkpoint, run: Option<&RunReport>) {
        let files = model.model_files();
        self.bytes_total += files.iter().map(|file| file.bytes).sum::<u64>();
        self.not_covered.extend(model.skipped.iter().cloned());
        for (index, file) in files.iter().enumerate() {
            if is_unrecognised(file) {
                self.not_understood.push(UnrecognisedFile {
                    path: file.path.clone(),
                    class: file.content.class.name(),
                    bytes: file.bytes,
                    digest: run.and_then(|run| digest(run, index)),
                });
            } else if model.has_unread_weights(index) {
                self.weights_bytes_not_audited += model.unread_bytes(index);
                self.weights_not_audited.push(file.path.clone());
            }
        }
    }

    /// Weights that no audit could look into, in words: how much, and in which files.
    pub fn not_audited(&self) -> Option<String> {
        const NAMED: usize = 3;
        let named = self.weights_not_audited.iter().take(NAMED).map(|path| safe_text::name(path));
        let named: Vec<String> = named.collect();
        let more = match self.weights_not_audited.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let bytes = units::bytes(self.weights_bytes_not_audited);
        (!named.is_empty())
            .then(|| format!("{bytes} of weights not audited: {}{more}", named.join(", ")))
    }
}

/// What a model is that has not one tensor which can be read: what is there instead.
pub fn describe_missing_weights(model: &Checkpoint) -> String {
    const NAMED: usize = 5;
    let files = model.model_files();
    let mut order: Vec<&ModelFile> = files.iter().collect();
    // Those that hold weights come first.
    order.sort_by_key(|file| (file.content.role, file.content.class));
    let mut kinds: Vec<String> = Vec::new();
    let alike = |a: &&ModelFile, b: &&ModelFile| {
        (a.content.role, a.content.class) == (b.content.role, b.content.class)
    };
    for of_class in order.chunk_by(alike).take(NAMED) {
        let class = of_class[0].content.class.name();
        let more = match of_class.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        kinds.push(format!("{class} ({}{more})", safe_text::name(&of_class[0].path)));
    }
    let there = match kinds.is_empty() {
        true => "there is no file".to_owned(),
        false => format!("there is {}", kinds.join(", ")),
    };
    format!("no tensor that can be read: nothing to judge; {there}")
}

/// Whether nobody here knows what a file is. Programs and libraries are known, and told of by themselves.
fn is_unrecognised(file: &ModelFile) -> bool {
    file.content.role == FileRole::Unknown
}

/// The digest of a whole file, by the first hash function that a run has one of.
fn digest(run: &RunReport, index: usize) -> Option<String> {
    if let Some(whole) = run.whole_files.get(&index) {
        return Some(format!("blake3:{}", hex(whole)));
    }
    let found = run.file_digests.get(index)?.as_ref()?;
    let of = |algorithm: HashAlgorithm| {
        Some(format!("{}:{}", algorithm.name(), hex(found.whole(algorithm)?)))
    };
    HashAlgorithm::ALL.into_iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorseal_format::OpenOptions;

    fn model(files: &[(&str, &[u8])]) -> Checkpoint {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        Checkpoint::open(directory.path(), &OpenOptions::default()).unwrap()
    }

    #[test]
    fn what_is_not_understood_is_listed_and_is_no_weight() {
        let mut model =
            model(&[("a.xyz", b"\x01\x02\xff\x00"), ("b.onnx", b"12345"), ("c.txt", b"text")]);
        for file in &mut model.files {
            file.content.role = match &file.path[..1] {
                "a" => FileRole::Unknown,
                "b" => FileRole::Weights,
                _ => FileRole::Companion,
            };
        }
        let coverage = Coverage::new(&model, None, 0);
        assert_eq!(coverage.bytes_total, 13);
        let listed: Vec<_> = coverage.not_understood.iter().map(|file| &*file.path).collect();
        assert_eq!(listed, ["a.xyz"]);
        assert_eq!(coverage.weights_bytes_not_audited, 5);
        assert_eq!(coverage.not_audited().as_deref(), Some("5 B of weights not audited: b.onnx"));
        assert!(
            describe_missing_weights(&model).contains("(b.onnx)"),
            "{}",
            describe_missing_weights(&model)
        );
    }

    #[test]
    fn of_no_file_it_says_so() {
        assert!(describe_missing_weights(&model(&[])).ends_with("there is no file"));
        assert_eq!(Coverage::new(&model(&[]), None, 0).not_audited(), None);
    }
}
