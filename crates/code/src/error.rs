//! The findings about code, with their rules.

use tensorseal_base::display::{quoted, quoted_list};
use tensorseal_base::severity::Severity;
use tensorseal_format::StructureError;

/// A finding about code or private data in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodeError {
    /// The file is code or makes a loader call something.
    #[error("{what}")]
    Code { what: String },
    /// The file makes a loader download code.
    #[error("makes a loader download code: {what}")]
    Remote { what: String },
    /// A template tries to escape the sandbox.
    #[error(
        "{template} accesses {} {how} in line {line}; names that begin with an underscore can escape the sandbox",
        quoted(name)
    )]
    Escape { template: String, name: String, how: &'static str, line: u64 },
    /// A template calls unknown functions.
    #[error(
        "{template} calls {}, which no known loader of chat templates provides",
        quoted_list(names.iter().map(String::as_str))
    )]
    UnknownFunction { template: String, names: Vec<String> },
    /// A template is invalid or uses extensions.
    #[error("{template} is not plain Jinja ({reason}); only its tokens were checked")]
    Unparsed { template: String, reason: String },
    /// The file was not checked for code.
    #[error("was not checked for code: {reason}")]
    NotExamined { reason: String },
    /// The file has members that make a loader call something, but could not be parsed.
    #[error("has {}, but could not be parsed: {reason}", quoted_list(names.iter().copied()))]
    Unread { names: Vec<&'static str>, reason: String },
    /// The weights of an ONNX model are outside the model.
    #[error("has weights in {}, which is outside the model", quoted(location))]
    ExternalPath { location: String },
    /// The file contains private data.
    #[error("{what}")]
    Private { what: String },
}

impl StructureError for CodeError {
    fn rule(&self) -> (&'static str, Severity) {
        use Severity::*;
        match self {
            CodeError::Code { .. } => ("content/code", Info),
            CodeError::Remote { .. } => ("content/remote-code", Medium),
            CodeError::Escape { .. } => ("content/template-escape", High),
            CodeError::UnknownFunction { .. } => ("content/template-unknown", Info),
            CodeError::Unparsed { .. } => ("content/template-unparsed", Info),
            CodeError::NotExamined { .. } => ("content/not-examined", Info),
            CodeError::Unread { .. } => {
                let rule = "content/not-examined";
                (rule, Medium)
            }
            CodeError::ExternalPath { .. } => ("content/external-path", High),
            CodeError::Private { .. } => ("content/private-data", Info),
        }
    }
}
