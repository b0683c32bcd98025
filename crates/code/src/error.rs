//! What is said of code, by rule.

use tensorseal_base::display::{quoted, quoted_list};
use tensorseal_base::severity::Severity;
use tensorseal_format::StructureError;

/// Something that a loader would execute, or that goes along with the weights unseen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodeError {
    /// A file that is code, or makes a loader call something.
    #[error("{what}")]
    Code { what: String },
    /// Code that is fetched from elsewhere.
    #[error("makes a loader fetch code from elsewhere: {what}")]
    Remote { what: String },
    /// A template that reaches for what sandboxes keep from templates.
    #[error(
        "{template} reaches for {} {how} in line {line}: names that begin with an underscore lead out of the data of a template",
        quoted(name)
    )]
    Escape { template: String, name: String, how: &'static str, line: u64 },
    /// A template that calls what nobody here knows.
    #[error(
        "{template} calls {}, which no loader of chat templates is known to offer",
        quoted_list(names.iter().map(String::as_str))
    )]
    UnknownFunction { template: String, names: Vec<String> },
    /// A template with extensions, or that is none.
    #[error("{template} is not plain Jinja ({reason}): it was looked through word by word")]
    Unparsed { template: String, reason: String },
    /// A file that was not looked into.
    #[error("was not looked into for code: {reason}")]
    NotExamined { reason: String },
    /// A file that names what a loader calls, and that could not be read to say what it is.
    #[error("names {}, and what stands there could not be read: {reason}", quoted_list(names.iter().copied()))]
    Unread { names: Vec<&'static str>, reason: String },
    /// A model whose weights are outside the model.
    #[error("has weights in {}, which leads out of the model", quoted(location))]
    ExternalPath { location: String },
    /// What the file carries along.
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
