//! How much of a model was measured, and which parts were not.

use super::safe_text;
use serde::Serialize;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_base::hex::hex;
use tensorseal_base::units;
use tensorseal_engine::RunReport;
use tensorseal_format::{Checkpoint, ContentClass, FileRole, ModelFile, SkippedPath};

/// The parts of a model that a report covers, and those that it does not.
#[derive(Debug, Default, Serialize)]
pub struct Coverage {
    /// The size of all model files in bytes.
    pub bytes_total: u64,
    /// The number of bytes that were measured.
    pub bytes_checked: u64,
    /// Paths that exist and are not part of the model.
    pub not_covered: Vec<SkippedPath>,
    /// Files that are neither weights nor known companion files. Their bytes are measured, but their content is not
    /// understood.
    pub not_understood: Vec<UnrecognisedFile>,
    /// The number of bytes in files that hold weights, or are loaded as weights, and that an audit cannot read.
    pub weights_bytes_not_audited: u64,
    /// The files with weights that an audit cannot read.
    #[serde(skip)]
    pub weights_not_audited: Vec<String>,
    /// The number of files without tensors that nothing vouches for, because only a model root was compared.
    #[serde(skip)]
    pub files_not_verified: u64,
}

/// A file of an unknown kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnrecognisedFile {
    /// The path relative to the model.
    pub path: String,
    /// The content class of the file.
    pub class: &'static str,
    /// The length in bytes.
    pub bytes: u64,
    /// The digest of the file as `ALGORITHM:HEX`; null if the file was not read.
    pub digest: Option<String>,
}

impl Coverage {
    /// Returns the coverage of a model of which `run` measured `bytes_checked` bytes. `run` is `None` if nothing was
    /// measured.
    pub fn new(model: &Checkpoint, run: Option<&RunReport>, bytes_checked: u64) -> Self {
        let mut coverage = Self { bytes_checked, ..Self::default() };
        coverage.add(model, run);
        coverage
    }

    /// Adds another model, such as the second one of a comparison.
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

    /// Describes the weights that were not audited, by size and file; `None` if there are none.
    pub fn not_audited(&self) -> Option<String> {
        const MAX_NAMED: usize = 3;
        let named =
            self.weights_not_audited.iter().take(MAX_NAMED).map(|path| safe_text::name(path));
        let named: Vec<String> = named.collect();
        let more = match self.weights_not_audited.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let bytes = units::bytes(self.weights_bytes_not_audited);
        (!named.is_empty())
            .then(|| format!("{bytes} of weights not audited: {}{more}", named.join(", ")))
    }

    /// Describes the files that were not compared with anything; `None` if there are none.
    pub fn not_verified(&self) -> Option<String> {
        (self.files_not_verified > 0).then(|| {
            let files = units::count(self.files_not_verified, "file");
            format!("{files} not verified: the root covers tensors only")
        })
    }
}

/// Describes the files of a model without a readable tensor.
pub fn describe_missing_weights(model: &Checkpoint) -> String {
    const MAX_NAMED: usize = 5;
    let files = model.model_files();
    let mut order: Vec<&ModelFile> = files.iter().collect();
    // Files that hold weights come first.
    order.sort_by_key(|file| (file.content.role, file.content.class));
    let mut kinds: Vec<String> = Vec::new();
    let alike = |a: &&ModelFile, b: &&ModelFile| {
        (a.content.role, a.content.class) == (b.content.role, b.content.class)
    };
    for of_class in order.chunk_by(alike).take(MAX_NAMED) {
        let files = units::count(of_class.len() as u64, &file_noun(of_class[0].content.class));
        let more = match of_class.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        kinds.push(format!("{files} ({}{more})", safe_text::name(&of_class[0].path)));
    }
    let holds_weights = files.iter().any(|file| file.content.role == FileRole::Weights);
    let weights = if holds_weights { "readable weights" } else { "weights" };
    match &kinds[..] {
        [] if model.skipped.is_empty() => "the directory is empty".to_owned(),
        [] => "no files found that are part of a model".to_owned(),
        kinds => format!("no {weights} found, only {}", kinds.join(", ")),
    }
}

/// Returns what a file of a class is called: `JSON file`.
fn file_noun(class: ContentClass) -> String {
    let kind = match class {
        ContentClass::Json => "JSON",
        ContentClass::Html => "HTML",
        ContentClass::Pdf => "PDF",
        ContentClass::Unknown => "unrecognised",
        class => class.name(),
    };
    format!("{kind} file")
}

/// Returns whether the kind of a file is unknown. Programs and libraries are known kinds, which have findings.
fn is_unrecognised(file: &ModelFile) -> bool {
    file.content.role == FileRole::Unknown
}

/// Returns the digest of a whole file, by the first hash function that the run used for it.
fn digest(run: &RunReport, index: usize) -> Option<String> {
    if let Some(whole) = run.whole_files.get(&index) {
        return Some(format!("blake3:{}", hex(whole)));
    }
    let digests = run.file_digests.get(index)?.as_ref()?;
    let of = |algorithm: HashAlgorithm| {
        Some(format!("{}:{}", algorithm.name(), hex(digests.whole(algorithm)?)))
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
    fn unknown_files_are_listed_and_do_not_count_as_weights() {
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
        let missing = describe_missing_weights(&model);
        assert!(missing.starts_with("no readable weights found, only 1 "), "{missing}");
        assert!(missing.contains(" file (b.onnx), 1 text file (c.txt)"), "{missing}");
        let companions: [(&str, &[u8]); 2] = [("config.json", b"{}"), ("vocab.json", b"{}")];
        assert_eq!(
            describe_missing_weights(&self::model(&companions)),
            "no weights found, only 2 JSON files (config.json and 1 more)"
        );
    }

    #[test]
    fn files_that_no_root_covers_are_counted() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.not_verified(), None);
        coverage.files_not_verified = 12;
        let words = "12 files not verified: the root covers tensors only";
        assert_eq!(coverage.not_verified().as_deref(), Some(words));
    }

    #[test]
    fn a_model_without_files_is_described() {
        assert!(describe_missing_weights(&model(&[])).ends_with("the directory is empty"));
        assert_eq!(Coverage::new(&model(&[]), None, 0).not_audited(), None);
    }
}
