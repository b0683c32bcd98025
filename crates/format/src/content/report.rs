//! Accounting for every file of a model: who reads it, and what is to be said of it besides.

use super::super::class::Format;
use super::super::error::OpenError;
use super::super::file::{self, OpenedFile};
use super::super::model_file::ModelFile;
use super::super::parsed_file::ParsedFile;
use super::super::problem::{Problem, StructureError};
use super::super::{formats, lfs, zip};
use super::described_paths::DescribedPaths;
use super::error::{self, ContentError, ContentRemark};
use super::{ContentClass, FileContent, FileRole, classify, nested};
use std::collections::BTreeSet;
use std::io;
use tensorseal_base::severity::Severity;

/// The rule of pointers, which readers of formats tell of, too.
const POINTER: &str = "format/git-lfs-pointer";

/// What was found of a file by itself.
#[derive(Debug, Default)]
pub(crate) struct ContentExamination {
    /// What it is.
    pub content: FileContent,
    /// Who reads it.
    pub format: Option<Format>,
    /// What pickles in it ask for, of an archive or compressed stream.
    pub problems: Vec<Problem>,
}

/// Looks at a file, and into it if it is an archive.
pub(crate) fn examine(path: &str, opened: &OpenedFile) -> io::Result<ContentExamination> {
    let mut content = classify(path, opened)?;
    let mut problems = Vec::new();
    let is_container = |class| nested::is_container(class);
    if is_container(content.class) || content.also.is_some_and(is_container) {
        let found = nested::examine(path, opened, content)?;
        problems = found.problems;
        if content.role == FileRole::Unknown {
            content.role = match found {
                _ if found.weights => FileRole::Weights,
                _ if found.understood => FileRole::Companion,
                _ => FileRole::Unknown,
            };
        }
    }
    Ok(ContentExamination { content, format: format(path, content), problems })
}

/// Who reads a file: whoever its bytes are for; of bytes that are nobody's or damaged, whoever its name
/// promises them to.
fn format(path: &str, content: FileContent) -> Option<Format> {
    use ContentClass::{Empty, Zeros, Zip};
    let promised = Format::from_path(path).filter(|named| match content.class {
        Empty | Zeros => true,
        Zip => named.reader().accepts_any_zip(),
        _ => !error::is_non_weights(content),
    });
    content.class.format().or(promised)
}

/// What is said of the files of a model.
#[derive(Debug, Default)]
pub(crate) struct ContentReport {
    pub problems: Vec<Problem>,
    pub remarks: Vec<Problem>,
}

/// A file that is no file of weights that can be read, given by itself.
pub(crate) struct UnsupportedSingleFile;

impl UnsupportedSingleFile {
    /// What is to be said of it; `None`: nobody here knows what it is.
    pub(crate) fn remark(file: &ModelFile) -> Option<Problem> {
        let class = file.content.class;
        let is_known = !matches!(class, ContentClass::Unknown | ContentClass::Empty);
        let what = class.description();
        (is_known && file.content.role != FileRole::Weights)
            .then(|| ContentRemark::NoWeights { what }.to_problem(&file.path))
    }
}

impl ContentReport {
    /// Of all files of a model. `contents` are those that were read, `listed` the files that indexes name,
    /// `problems` what is known to be wrong with the model: what a pointer stands for may be there in another
    /// file.
    pub(crate) fn new(
        files: &mut [ModelFile],
        contents: &[Option<ParsedFile>],
        listed: &BTreeSet<String>,
        problems: &mut Vec<Problem>,
    ) -> Result<ContentReport, OpenError> {
        let mut account = ContentReport::default();
        let describing = describe(files)?;
        for (file, held) in files.iter_mut().zip(contents) {
            if file.signed_only.is_some() {
                continue;
            }
            let FileContent { class, role, .. } = &mut file.content;
            let raw = matches!(class, ContentClass::Unknown | ContentClass::Zeros);
            if raw && describing.described.contains(&file.path) {
                (*class, *role) = (ContentClass::RawWeights, FileRole::Weights);
            }
            account.file(file, held.is_some(), describing.external.contains(&file.path))?;
        }
        // That something stands before an archive is said by what it is.
        let told: BTreeSet<&str> = files
            .iter()
            .filter(|file| file.content.is_ambiguous())
            .map(|file| file.path.as_str())
            .collect();
        problems.retain(|p| p.rule != "format/zip-prefix" || !told.contains(p.file.as_str()));
        let sound = problems
            .iter()
            .chain(&account.problems)
            .all(|p| p.rule == POINTER || p.companion || p.severity <= Severity::Low);
        let elsewhere = sound && contents.iter().flatten().any(|held| !held.tensors.is_empty());
        let pointers = problems.iter_mut().chain(&mut account.problems);
        for pointer in pointers.filter(|problem| problem.rule == POINTER) {
            if elsewhere && !listed.contains(&pointer.file) {
                let size = None;
                let low = ContentError::Pointer { size, elsewhere }.to_problem(&pointer.file);
                (pointer.severity, pointer.message) = (low.severity, low.message);
            }
        }
        Ok(account)
    }

    fn file(&mut self, file: &ModelFile, is_read: bool, external: bool) -> Result<(), OpenError> {
        let FileContent { class, also, role } = file.content;
        let path = &file.path;
        if let Some(also) = also.filter(|_| file.content.is_ambiguous()) {
            let (first, also) = (class.min(also), class.max(also));
            self.problems.push(ContentError::Ambiguous { first, also }.to_problem(path));
        }
        let promised = !is_read && error::is_weights_name(path);
        if promised && class == ContentClass::LfsPointer {
            let size = pointed_to(file)?;
            let error = ContentError::Pointer { size, elsewhere: false };
            self.problems.push(error.to_problem(path));
        } else if promised && error::is_non_weights(file.content) {
            let problem = ContentError::Misnamed { class }.to_problem(path);
            // Nothing says nothing of the weights beside it.
            let companion = class == ContentClass::Empty;
            self.problems.push(Problem { companion, ..problem });
        } else if class.role() == FileRole::Executable {
            let weights = also.is_some() && carries_weights(file)?;
            let remark = ContentRemark::Executable { what: class.description(), weights };
            self.remarks.push(remark.to_problem(path));
        } else if role == FileRole::Weights && !is_read {
            let mut what = class.description().to_owned();
            match class {
                ContentClass::Onnx if external => what = "ONNX with external data".to_owned(),
                ContentClass::Zip | ContentClass::Tar | ContentClass::Compressed => {
                    what += " with weights in it";
                }
                _ => {}
            }
            self.remarks.push(ContentRemark::NotRead { what }.to_problem(path));
        }
        Ok(())
    }
}

/// Whether an archive that a program carries has members of the names of weights.
fn carries_weights(file: &ModelFile) -> Result<bool, OpenError> {
    let opened = file::open(&file.location)?;
    let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
    let names = zip::list(&opened).map_err(failed)?.unwrap_or_default();
    Ok(names.iter().any(|name| error::is_weights_name(name)))
}

/// The length that a pointer states for the file it stands for.
fn pointed_to(file: &ModelFile) -> Result<Option<u64>, OpenError> {
    let opened = file::open(&file.location)?;
    let size = lfs::pointer(&opened);
    let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
    Ok(size.map_err(failed)?.flatten())
}

/// What the files of a model say of one another.
#[derive(Debug, Default)]
struct FileDescriptions {
    described: DescribedPaths,
    /// Files that describe others.
    external: BTreeSet<String>,
}

fn describe(files: &[ModelFile]) -> Result<FileDescriptions, OpenError> {
    let mut describing = FileDescriptions::default();
    let own = files.iter().filter(|file| file.signed_only.is_none());
    for file in own.filter(|file| DescribedPaths::may_describe(&file.path, file.content.class)) {
        let opened = file::open(&file.location)?;
        let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
        let any = describing.described.add(&file.path, file.content.class, &opened);
        if any.map_err(failed)? {
            describing.external.insert(file.path.clone());
        }
    }
    Ok(describing)
}

/// The formats of a file that another lists as one of tensors.
pub(crate) fn read_listed(
    path: &str,
    opened: &OpenedFile,
) -> io::Result<(FileContent, Format, ParsedFile)> {
    let ContentExamination { content, format, .. } = examine(path, opened)?;
    let format = format.unwrap_or(Format::Safetensors);
    let contents = formats::read(format, content.class, path, opened)?;
    Ok((content, format, contents))
}
