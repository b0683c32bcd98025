//! Chooses the format reader of every file, and reports files that no reader reads.

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

/// The rule of git-lfs pointers, which format readers report as well.
const POINTER: &str = "format/git-lfs-pointer";

/// The result of examining a single file.
#[derive(Debug, Default)]
pub(crate) struct ContentExamination {
    /// The content class and the role.
    pub content: FileContent,
    /// The format whose reader reads the file.
    pub format: Option<Format>,
    /// The problems of pickles in an archive or a compressed stream.
    pub problems: Vec<Problem>,
}

/// Classifies a file, and examines its contents if it is an archive.
pub(crate) fn examine(path: &str, opened: &OpenedFile) -> io::Result<ContentExamination> {
    let mut content = classify(path, opened)?;
    let mut problems = Vec::new();
    let is_container = |class| nested::is_container(class);
    if is_container(content.class) || content.also.is_some_and(is_container) {
        let nested = nested::examine(path, opened, content)?;
        problems = nested.problems;
        if content.role == FileRole::Unknown {
            content.role = match nested {
                _ if nested.weights => FileRole::Weights,
                _ if nested.understood => FileRole::Companion,
                _ => FileRole::Unknown,
            };
        }
    }
    Ok(ContentExamination { content, format: format(path, content), problems })
}

/// The format whose reader reads a file: the format of its content, or, if the content is unknown or damaged, the
/// format of its extension.
fn format(path: &str, content: FileContent) -> Option<Format> {
    use ContentClass::{Empty, Zeros, Zip};
    let promised = Format::from_path(path).filter(|named| match content.class {
        Empty | Zeros => true,
        Zip => named.reader().accepts_any_zip(),
        _ => !error::is_non_weights(content),
    });
    content.class.format().or(promised)
}

/// The problems and remarks about the content of the files of a model.
#[derive(Debug, Default)]
pub(crate) struct ContentReport {
    pub problems: Vec<Problem>,
    pub remarks: Vec<Problem>,
}

/// A single file that cannot be read as a weights file.
pub(crate) struct UnsupportedSingleFile;

impl UnsupportedSingleFile {
    /// The remark about the file, or `None` if its content is unknown.
    pub(crate) fn remark(file: &ModelFile) -> Option<Problem> {
        let class = file.content.class;
        let is_known = !matches!(class, ContentClass::Unknown | ContentClass::Empty);
        let what = class.description();
        (is_known && file.content.role != FileRole::Weights)
            .then(|| ContentRemark::NoWeights { what }.to_problem(&file.path))
    }
}

impl ContentReport {
    /// Creates the report on all files of a model. `parsed_files` are the parsed tensor files, `listed` the files
    /// that indexes list, and `problems` the problems of the model so far. A git-lfs pointer is less severe if the
    /// weights are available in another file.
    pub(crate) fn new(
        files: &mut [ModelFile],
        parsed_files: &[Option<ParsedFile>],
        listed: &BTreeSet<String>,
        problems: &mut Vec<Problem>,
    ) -> Result<ContentReport, OpenError> {
        let mut report = ContentReport::default();
        let descriptions = describe(files)?;
        for (file, parsed) in files.iter_mut().zip(parsed_files) {
            if file.signed_only.is_some() {
                continue;
            }
            let FileContent { class, role, .. } = &mut file.content;
            let raw = matches!(class, ContentClass::Unknown | ContentClass::Zeros);
            if raw && descriptions.described.contains(&file.path) {
                (*class, *role) = (ContentClass::RawWeights, FileRole::Weights);
            }
            report.file(file, parsed.is_some(), descriptions.external.contains(&file.path))?;
        }
        // The bytes before an archive are not reported again if the file is reported as ambiguous.
        let ambiguous: BTreeSet<&str> = files
            .iter()
            .filter(|file| file.content.is_ambiguous())
            .map(|file| file.path.as_str())
            .collect();
        problems.retain(|p| p.rule != "format/zip-prefix" || !ambiguous.contains(p.file.as_str()));
        let sound = problems
            .iter()
            .chain(&report.problems)
            .all(|p| p.rule == POINTER || p.companion || p.severity <= Severity::Low);
        let has_tensors = |parsed: &ParsedFile| !parsed.tensors.is_empty();
        let elsewhere = sound && parsed_files.iter().flatten().any(has_tensors);
        let pointers = problems.iter_mut().chain(&mut report.problems);
        for pointer in pointers.filter(|problem| problem.rule == POINTER) {
            if elsewhere && !listed.contains(&pointer.file) {
                let size = None;
                let low = ContentError::Pointer { size, elsewhere }.to_problem(&pointer.file);
                (pointer.severity, pointer.message) = (low.severity, low.message);
            }
        }
        Ok(report)
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
            // An empty file does not affect the weights in other files.
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
                    what += " that contains weights";
                }
                _ => {}
            }
            self.remarks.push(ContentRemark::NotRead { what }.to_problem(path));
        }
        Ok(())
    }
}

/// Whether the archive in a program has members with names of weights files.
fn carries_weights(file: &ModelFile) -> Result<bool, OpenError> {
    let opened = file::open(&file.location)?;
    let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
    let names = zip::list(&opened).map_err(failed)?.unwrap_or_default();
    Ok(names.iter().any(|name| error::is_weights_name(name)))
}

/// The size of the real file that a git-lfs pointer states.
fn pointed_to(file: &ModelFile) -> Result<Option<u64>, OpenError> {
    let opened = file::open(&file.location)?;
    let size = lfs::pointer(&opened);
    let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
    Ok(size.map_err(failed)?.flatten())
}

/// The files of a model that describe others.
#[derive(Debug, Default)]
struct FileDescriptions {
    described: DescribedPaths,
    /// The files that describe others.
    external: BTreeSet<String>,
}

fn describe(files: &[ModelFile]) -> Result<FileDescriptions, OpenError> {
    let mut descriptions = FileDescriptions::default();
    let model_files = files.iter().filter(|file| file.signed_only.is_none());
    let may_describe =
        |file: &&ModelFile| DescribedPaths::may_describe(&file.path, file.content.class);
    for file in model_files.filter(may_describe) {
        let opened = file::open(&file.location)?;
        let failed = |error| OpenError::for_found_path(&file.location.display_path(), error);
        let any = descriptions.described.add(&file.path, file.content.class, &opened);
        if any.map_err(failed)? {
            descriptions.external.insert(file.path.clone());
        }
    }
    Ok(descriptions)
}

/// Classifies and parses a file that an index lists as a shard.
pub(crate) fn read_listed(
    path: &str,
    opened: &OpenedFile,
) -> io::Result<(FileContent, Format, ParsedFile)> {
    let ContentExamination { content, format, .. } = examine(path, opened)?;
    let format = format.unwrap_or(Format::Safetensors);
    let parsed = formats::read(format, content.class, path, opened)?;
    Ok((content, format, parsed))
}
