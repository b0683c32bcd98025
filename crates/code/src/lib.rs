//! Finds the code of a model that a loader executes or can be made to execute. Nothing is ever run here.
//!
//! Models contain programs: Python files, classes that a configuration names, templates, graphs with operations that
//! access files, and pickles with calls. Each of these has its own file here.

mod configs;
mod error;
mod findings;
mod json;
mod json_members;
mod keras;
mod lazy_file;
mod nemo;
mod onnx;
mod pipelines;
mod protobuf;
mod python;
mod requirements;
mod secrets;
mod sentence_transformers;
mod templates;
mod tensorflow;
mod yaml;

use error::CodeError;
use findings::FileFindings;
use lazy_file::LazyFile;
use std::collections::{BTreeMap, BTreeSet};
use tensorseal_format::{Checkpoint, ContentClass, Format, OpenError, Problem, StructureError};

/// The code of a model, and the findings about it.
#[derive(Debug, Clone, Default)]
pub struct CodeReport {
    /// The files that are code or make a loader call something, in the order of their paths, each once.
    pub files: Vec<CodeFile>,
    /// The code that is loaded from other places and that no seal covers.
    pub remote: Vec<RemoteCode>,
    /// The problems and remarks under the rules `content/…`.
    pub findings: Vec<Problem>,
}

/// A file that is code or makes a loader call something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeFile {
    /// The path relative to the root.
    pub path: String,
    /// A short description of what a loader does with the file.
    pub what: String,
    /// The BLAKE3 digest of the whole file, or `None` for a pickle, which the problems of its format describe.
    pub blake3: Option<[u8; 32]>,
}

/// Code that is downloaded when the model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCode {
    /// The path of the file that names the code.
    pub path: String,
    /// A description of the code.
    pub what: String,
}

/// Examines every file of a model for code that a loader would execute.
///
/// # Errors
/// Returns an [`OpenError`] if a file cannot be read or has changed since the model was opened.
pub fn examine(model: &Checkpoint) -> Result<CodeReport, OpenError> {
    let model_paths = ModelPaths::new(model.model_files().iter().map(|file| file.path.as_str()));
    let pickles = pickles(model);
    let mut code = CodeReport::default();
    for file in model.model_files() {
        let source = LazyFile::new(file);
        let mut file_findings = FileFindings::default();
        scan_file(&source, &model_paths, &mut file_findings)?;
        code.add(&source, file_findings, pickles.get(file.path.as_str()).copied())?;
    }
    Ok(code)
}

/// Scans a file with the checks that apply to it: by its content, whatever its name is, or by its name if it is text.
fn scan_file(
    source: &LazyFile<'_>,
    model_paths: &ModelPaths<'_>,
    file_findings: &mut FileFindings,
) -> Result<(), OpenError> {
    let file = source.file;
    let path = file.path.as_str();
    let class = file.content.class;
    let texts = |format: Option<Format>| format.and_then(Format::metadata_texts);
    if let Some(texts) = texts(class.format()) {
        templates::scan_metadata(source, texts, file_findings)?;
    } else if class == ContentClass::Onnx {
        onnx::scan(source, file_findings)?;
    } else if configs::is_json(path) {
        configs::scan_json(source, model_paths, file_findings)?;
    } else if configs::is_yaml(path) {
        configs::scan_yaml(source, file_findings)?;
    } else if templates::is_template(path) {
        templates::scan_file(source, file_findings)?;
    } else if python::is_python(path) {
        python::scan(source, file_findings)?;
    } else if requirements::is_requirements(path) {
        requirements::scan(source, file_findings)?;
    } else if nemo::is_nemo(path) {
        nemo::scan(source, file_findings)?;
    } else if let Some(texts) = texts(Format::from_path(path)) {
        templates::scan_metadata(source, texts, file_findings)?;
    } else if onnx::is_onnx(file) {
        onnx::scan(source, file_findings)?;
    } else if secrets::may_hold_token(path) {
        secrets::scan_for_tokens(source, file_findings)?;
    } else if secrets::is_exported(path) {
        secrets::scan_exported_program(source, file_findings)?;
    }
    if tensorflow::is_graph(file) {
        tensorflow::scan(source, file_findings)?;
    }
    if let Some(container) = keras::config_container(file) {
        keras::scan(source, container, file_findings)?;
    }
    Ok(())
}

/// The worst problem of each file whose pickle makes a loader call a function or create an object of a class.
fn pickles(model: &Checkpoint) -> BTreeMap<&str, &Problem> {
    const RULES: [&str; 8] = [
        "npy-object",
        "pickle-build",
        "pickle-call",
        "pickle-code",
        "pickle-computed-global",
        "pickle-extension",
        "pickle-global",
        "torchscript",
    ];
    let is_code =
        |rule: &str| rule.strip_prefix("format/").is_some_and(|rule| RULES.contains(&rule));
    let all = model.problems.iter().chain(&model.remarks);
    let mut worst: BTreeMap<&str, &Problem> = BTreeMap::new();
    for problem in all.filter(|problem| is_code(problem.rule)) {
        let current = worst.entry(problem.file.as_str()).or_insert(problem);
        if problem.severity > current.severity {
            *current = problem;
        }
    }
    worst
}

impl CodeReport {
    /// Adds the findings in a file.
    fn add(
        &mut self,
        source: &LazyFile<'_>,
        file_findings: FileFindings,
        pickle: Option<&Problem>,
    ) -> Result<(), OpenError> {
        let path = &source.file.path;
        let FileFindings { code, remote, other, not_examined } = file_findings;
        let escapes = other.iter().any(|error| matches!(error, CodeError::Escape { .. }));
        if !code.is_empty() {
            let what = code.summary();
            self.findings.push(CodeError::Code { what: what.clone() }.to_problem(path));
            let blake3 = Some(source.digest()?);
            self.files.push(CodeFile { path: path.clone(), what, blake3 });
        } else if escapes {
            let what = "a template that tries to escape its sandbox".to_owned();
            let blake3 = Some(source.digest()?);
            self.files.push(CodeFile { path: path.clone(), what, blake3 });
        } else if not_examined {
            let what = "could not be checked for code".to_owned();
            let blake3 = Some(source.digest()?);
            self.files.push(CodeFile { path: path.clone(), what, blake3 });
        } else if let Some(problem) = pickle {
            let what = format!("a pickle with code ({})", problem.rule);
            self.files.push(CodeFile { path: path.clone(), what, blake3: None });
        }
        if !remote.is_empty() {
            self.findings.push(CodeError::Remote { what: remote.summary() }.to_problem(path));
            let named = |what: &str| RemoteCode { path: path.clone(), what: what.to_owned() };
            self.remote.extend(remote.iter().map(named));
        }
        self.findings.extend(other.problems(path));
        Ok(())
    }
}

/// The paths of the files of a model.
struct ModelPaths<'a> {
    paths: BTreeSet<&'a str>,
}

impl<'a> ModelPaths<'a> {
    fn new(paths: impl Iterator<Item = &'a str>) -> ModelPaths<'a> {
        ModelPaths { paths: paths.collect() }
    }

    /// Whether the model has a file with this path.
    fn contains(&self, path: &str) -> bool {
        self.paths.contains(path)
    }
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
