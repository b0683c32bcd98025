//! What a loader of the model would execute, or could be made to: stated, never run.
//!
//! Weights come with programs: Python beside them, classes that a configuration names, templates, graphs with
//! operations that read files, pickles that call. One file here for each place where they stand.

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

/// What of a model is code, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct CodeReport {
    /// Files that are code, or that make a loader call something, in order of their paths, each once.
    pub files: Vec<CodeFile>,
    /// Code that the model has from elsewhere: nothing that is measured here covers it.
    pub remote: Vec<RemoteCode>,
    /// Problems and remarks of the area `content`.
    pub findings: Vec<Problem>,
}

/// A file that is code, or that makes a loader call something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeFile {
    /// Path relative to the root.
    pub path: String,
    /// What a loader does with it, in a few words.
    pub what: String,
    /// BLAKE3 of the whole file; `None` of a pickle, which the problems of its format tell of.
    pub blake3: Option<[u8; 32]>,
}

/// Code that is fetched when the model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCode {
    /// Path of the file that names it.
    pub path: String,
    /// What it names.
    pub what: String,
}

/// Looks at every file of a model for what a loader would execute.
///
/// # Errors
/// When a file cannot be read, or changed since the model was opened.
pub fn examine(model: &Checkpoint) -> Result<CodeReport, OpenError> {
    let whole = ModelPaths::new(model.model_files().iter().map(|file| file.path.as_str()));
    let pickles = pickles(model);
    let mut code = CodeReport::default();
    for file in model.model_files() {
        let source = LazyFile::new(file);
        let mut found = FileFindings::default();
        scan_file(&source, &whole, &mut found)?;
        code.add(&source, found, pickles.get(file.path.as_str()).copied())?;
    }
    Ok(code)
}

/// Asks every place whether the file is one of its own: by its bytes whatever it is called, and by its name where
/// text says nothing of what it is.
fn scan_file(
    source: &LazyFile<'_>,
    whole: &ModelPaths<'_>,
    found: &mut FileFindings,
) -> Result<(), OpenError> {
    let file = source.file;
    let path = file.path.as_str();
    let class = file.content.class;
    let texts = |format: Option<Format>| format.and_then(Format::metadata_texts);
    if let Some(texts) = texts(class.format()) {
        templates::scan_metadata(source, texts, found)?;
    } else if class == ContentClass::Onnx {
        onnx::scan(source, found)?;
    } else if configs::is_json(path) {
        configs::scan_json(source, whole, found)?;
    } else if configs::is_yaml(path) {
        configs::scan_yaml(source, found)?;
    } else if templates::is_template(path) {
        templates::scan_file(source, found)?;
    } else if python::is_python(path) {
        python::scan(source, found)?;
    } else if requirements::is_requirements(path) {
        requirements::scan(source, found)?;
    } else if nemo::is_nemo(path) {
        nemo::scan(source, found)?;
    } else if let Some(texts) = texts(Format::from_path(path)) {
        templates::scan_metadata(source, texts, found)?;
    } else if onnx::is_onnx(file) {
        onnx::scan(source, found)?;
    } else if secrets::may_hold_token(path) {
        secrets::scan_for_tokens(source, found)?;
    } else if secrets::is_exported(path) {
        secrets::scan_exported_program(source, found)?;
    }
    if tensorflow::is_graph(file) {
        tensorflow::scan(source, found)?;
    }
    if let Some(form) = keras::form(file) {
        keras::scan(source, form, found)?;
    }
    Ok(())
}

/// Files whose pickles ask a loader to call something, or to make something of a class: what the problems of
/// their format say.
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
        let held = worst.entry(problem.file.as_str()).or_insert(problem);
        if problem.severity > held.severity {
            *held = problem;
        }
    }
    worst
}

impl CodeReport {
    /// Adds what was found in a file.
    fn add(
        &mut self,
        source: &LazyFile<'_>,
        found: FileFindings,
        pickle: Option<&Problem>,
    ) -> Result<(), OpenError> {
        let path = &source.file.path;
        let FileFindings { code, remote, other, not_examined: unseen } = found;
        let escapes = other.iter().any(|error| matches!(error, CodeError::Escape { .. }));
        if !code.is_empty() {
            let what = code.summary();
            self.findings.push(CodeError::Code { what: what.clone() }.to_problem(path));
            let blake3 = Some(source.digest()?);
            self.files.push(CodeFile { path: path.clone(), what, blake3 });
        } else if escapes {
            let what = "a template that reaches out of its sandbox".to_owned();
            let blake3 = Some(source.digest()?);
            self.files.push(CodeFile { path: path.clone(), what, blake3 });
        } else if unseen {
            let what = "it could not be looked into for code".to_owned();
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

/// The files of a model by their paths.
struct ModelPaths<'a> {
    paths: BTreeSet<&'a str>,
}

impl<'a> ModelPaths<'a> {
    fn new(paths: impl Iterator<Item = &'a str>) -> ModelPaths<'a> {
        ModelPaths { paths: paths.collect() }
    }

    /// Whether there is one of this path.
    fn contains(&self, path: &str) -> bool {
        self.paths.contains(path)
    }
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
