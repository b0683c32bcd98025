//! Problems and remarks about the structure of a model.

use serde::Serialize;
use std::collections::BTreeMap;
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;

/// Something that is wrong with the structure of a model, or, as a remark, legal but unusual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The stable identifier of the rule, `format/what-is-wrong`.
    pub rule: &'static str,
    /// The severity of the finding.
    pub severity: Severity,
    /// The file concerned, relative to the root. The path is not escaped; a name that is not UTF-8 has
    /// replacement characters.
    pub file: String,
    /// The tensor concerned, under the name that it has (or would have) in [`super::Checkpoint::tensors`].
    pub tensor: Option<String>,
    /// The bytes concerned, as a half-open range from the start of the *file*.
    pub byte_range: Option<[u64; 2]>,
    /// The tensors that cannot be read because of the problem, if it is not about a single tensor.
    pub affected: Vec<String>,
    /// The message: one line, with names escaped.
    pub message: String,
    /// Whether the problem is in a companion file, so that it does not affect which weights can be read.
    pub companion: bool,
}

/// A path that exists but is not part of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedPath {
    /// The path relative to the root.
    pub path: String,
    /// The reason in words.
    pub reason: String,
    /// The reason.
    #[serde(skip)]
    pub kind: SkipReason,
}

/// The reason why a path is not part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// Listed in [`super::OpenOptions::exclude`]: the signature itself.
    Excluded,
    /// Listed in [`super::OpenOptions::seals`].
    Seal,
    /// Named in [`super::OpenOptions::signatures`]: a signature that is not verified.
    Signature,
    /// Git metadata at the top of the model: one of [`GIT_NAMES`](super::GIT_NAMES).
    Git,
    /// Metadata of the download client (`.cache/huggingface`).
    Downloader,
    /// A directory that was reached twice: its files are listed under the first path.
    AlreadyListed,
    /// A symbolic link to a directory inside the model; its files are listed under their own paths.
    DirectoryLink,
    /// The path has a problem, which is listed in [`super::Checkpoint::problems`].
    Problem,
    /// Part of the model, but not covered by the expected model root, which covers only tensors.
    NotInModelRoot,
    /// On the list of ignored paths of a signature.
    Ignored,
    /// Not signed, and unsigned files were allowed.
    Unsigned,
}

impl SkipReason {
    /// The reason in words.
    pub fn description(self) -> &'static str {
        match self {
            SkipReason::Excluded | SkipReason::Seal => {
                "seal or signature, not part of what it covers"
            }
            SkipReason::Signature => "signature, not verified in this run",
            SkipReason::Git => "git metadata",
            SkipReason::Downloader => "download metadata",
            SkipReason::AlreadyListed => "directory already covered under another path",
            SkipReason::DirectoryLink => {
                "link to a directory whose files are covered under their own paths"
            }
            SkipReason::Problem => "see its finding",
            SkipReason::NotInModelRoot => "not covered by the model root",
            SkipReason::Ignored => "ignored by the signature",
            SkipReason::Unsigned => "not signed",
        }
    }

    /// Whether a signature of the files covers such a path although it is not part of the model.
    pub fn is_signed_only(self) -> bool {
        matches!(self, SkipReason::Seal | SkipReason::Downloader)
    }
}

/// The start of every message about a file.
pub(crate) fn message_prefix(file: &str) -> String {
    format!("{}: ", display_name(file))
}

/// The location of a structure error.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorLocation<'e> {
    /// The tensor concerned, under the name in the file.
    pub tensor: Option<&'e str>,
    /// The bytes of the file concerned.
    pub bytes: Option<[u64; 2]>,
    /// The tensors that cannot be read because of the error, under the names in the file.
    pub affected: &'e [String],
}

/// An error in the structure of a file that is reported under a rule.
pub trait StructureError: std::fmt::Display {
    /// The rule identifier and the severity of the error.
    fn rule(&self) -> (&'static str, Severity);

    /// The location of the error, if it concerns only a part of the file.
    fn location(&self) -> ErrorLocation<'_> {
        ErrorLocation::default()
    }

    /// Converts the error to a problem of `file`.
    fn to_problem(&self, file: &str) -> Problem {
        let (rule, severity) = self.rule();
        let ErrorLocation { tensor, bytes, affected } = self.location();
        Problem {
            rule,
            severity,
            file: file.to_owned(),
            tensor: tensor.map(str::to_owned),
            byte_range: bytes,
            affected: affected.to_vec(),
            message: format!("{}{self}", message_prefix(file)),
            companion: false,
        }
    }
}

/// Defines an enum of [`StructureError`]s. Each variant has its message, its fields, its rule and its severity in
/// one place. The location follows from the names of the fields: `tensor` is the tensor; `range`, `missing` or
/// `at` (one byte) is the place in the file; `tensors` are the tensors that cannot be read because of the error.
/// A place that no field holds follows the rule: `=> ("format/gguf-magic", High) at [0, 4]`.
///
/// The documentation of a variant is its rule; the message and `tensorseal explain RULE` say the rest.
macro_rules! faults {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $(
                $(#[$doc:meta])*
                $fault:ident $({ $($field:ident: $type:ty),* $(,)? })?
                    => ($rule:literal, $severity:ident) $(at $bytes:expr)?,
            )*
        }
    ) => {
        $(#[$attribute])*
        #[allow(missing_docs)] // the fields are the parts of the message
        $visibility enum $name {
            $(
                #[doc = concat!("Reported under the rule `", $rule, "`.")]
                $(#[$doc])*
                $fault $({ $($field: $type),* })?,
            )*
        }

        impl StructureError for $name {
            fn rule(&self) -> (&'static str, Severity) {
                use Severity::*;
                match self {
                    $($name::$fault { .. } => ($rule, $severity),)*
                }
            }

            fn location(&self) -> ErrorLocation<'_> {
                match self {
                    $($name::$fault $({ $($field),* })? => {
                        #[allow(unused_mut)]
                        let mut location = ErrorLocation::default();
                        $($(faults!(@field location $field $field);)*)?
                        $(location.bytes = Some($bytes);)?
                        location
                    })*
                }
            }
        }
    };
    (@field $location:ident tensor $value:ident) => { $location.tensor = Some($value) };
    (@field $location:ident range $value:ident) => { $location.bytes = Some(*$value) };
    (@field $location:ident missing $value:ident) => { $location.bytes = Some(*$value) };
    (@field $location:ident at $value:ident) => {
        $location.bytes = Some([*$value, $value.saturating_add(1)])
    };
    (@field $location:ident tensors $value:ident) => { $location.affected = $value };
    (@field $location:ident $other:ident $value:ident) => {
        let _ = $value;
    };
}

pub(crate) use faults;

/// The errors of one file. Only the first few errors of each rule are kept and the others are counted, so that a
/// hostile file with a million faults gives a report of bounded size.
#[derive(Debug, Clone)]
pub struct BoundedErrors<E> {
    kept: Vec<E>,
    counts: BTreeMap<&'static str, u64>,
}

/// The number of errors of one rule that are kept for one file.
const MAX_KEPT: u64 = 16;

impl<E> Default for BoundedErrors<E> {
    fn default() -> Self {
        BoundedErrors { kept: Vec::new(), counts: BTreeMap::new() }
    }
}

impl<E: StructureError> BoundedErrors<E> {
    /// Adds an error, unless the previous error concerns the same tensor.
    pub fn push(&mut self, error: E) {
        // An entry that is wrong in several ways is one fault, and the first error says what to look at.
        let last = self.kept.last().and_then(|last| last.location().tensor);
        if last.is_some() && error.location().tensor == last {
            return;
        }
        let count = self.counts.entry(error.rule().0).or_insert(0);
        *count += 1;
        if *count <= MAX_KEPT {
            self.kept.push(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Adds the errors of another part of the same file.
    pub(crate) fn append(&mut self, other: BoundedErrors<E>) {
        let mut more = other.counts;
        for error in other.kept {
            if let Some(count) = more.get_mut(error.rule().0) {
                *count -= 1;
            }
            self.push(error);
        }
        for (rule, count) in more.into_iter().filter(|(_, count)| *count > 0) {
            *self.counts.entry(rule).or_insert(0) += count;
        }
    }

    /// The errors that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.kept.iter()
    }

    /// Converts the errors to problems of `file`, with one more problem for each rule whose further errors were
    /// only counted.
    pub fn problems(&self, file: &str) -> Vec<Problem> {
        let mut problems: Vec<_> = self.kept.iter().map(|error| error.to_problem(file)).collect();
        for (&rule, &count) in self.counts.iter().filter(|(_, count)| **count > MAX_KEPT) {
            let severity = problems.iter().find(|p| p.rule == rule).map(|p| p.severity);
            problems.push(Problem {
                rule,
                severity: severity.unwrap_or(Severity::Medium),
                file: file.to_owned(),
                tensor: None,
                byte_range: None,
                affected: Vec::new(),
                message: format!(
                    "{}: {} more problems of the same kind ({rule})",
                    display_name(file),
                    count - MAX_KEPT
                ),
                companion: false,
            });
        }
        problems
    }
}
