//! What is wrong with, or worth knowing about, the structure of a model.

use serde::Serialize;
use std::collections::BTreeMap;
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;

/// One thing that is wrong with the structure of a model (or, as a remark, unusual about it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable identifier, `format/what-is-wrong`.
    pub rule: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// File concerned, relative to the root, as it is (not escaped; a name that is not UTF-8 is
    /// shown with replacement characters).
    pub file: String,
    /// Tensor concerned, under the name it has (or would have) in [`super::Checkpoint::tensors`].
    pub tensor: Option<String>,
    /// Bytes concerned, half-open, from the start of the *file*.
    pub byte_range: Option<[u64; 2]>,
    /// Tensors that cannot be read because of it, where the problem is not about a single one.
    pub affected: Vec<String>,
    /// One line for people, names escaped.
    pub message: String,
    /// Whether it is of a file that holds no weights: it is wrong with what goes along with them, and says
    /// nothing of how far the weights can be read.
    pub companion: bool,
}

/// Something that exists under the path and is not part of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedPath {
    /// Path relative to the root.
    pub path: String,
    /// Why it is left out.
    pub reason: String,
    /// The same, for programs.
    #[serde(skip)]
    pub kind: SkipReason,
}

/// Why something is not part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// Named in [`super::OpenOptions::exclude`]: the signature itself.
    Excluded,
    /// Named in [`super::OpenOptions::seals`].
    Seal,
    /// Named in [`super::OpenOptions::signatures`]: a signature that is not verified.
    Signature,
    /// One of git's own four names at the top.
    Git,
    /// Notes of the downloader.
    Downloader,
    /// A directory whose files are listed under another path: it was reached twice.
    AlreadyListed,
    /// A symbolic link to a directory inside the model; its files are listed under their own paths.
    DirectoryLink,
    /// There is something wrong with it, which [`super::Checkpoint::problems`] tells.
    Problem,
    /// Part of the model, but not of what it was compared with: a model root covers tensors alone.
    NotInModelRoot,
    /// A signature ignores it, and says so.
    Ignored,
    /// Nobody signed it, and that was allowed.
    Unsigned,
}

impl SkipReason {
    /// In words.
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

    /// Whether a signature of the files covers it although it is not part of the model.
    pub fn is_signed_only(self) -> bool {
        matches!(self, SkipReason::Seal | SkipReason::Downloader)
    }
}

/// How every message on a file begins.
pub(crate) fn message_prefix(file: &str) -> String {
    format!("{}: ", display_name(file))
}

/// Where an error of structure is.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorLocation<'e> {
    /// The tensor concerned, under its name in the file.
    pub tensor: Option<&'e str>,
    /// The bytes of the file concerned.
    pub bytes: Option<[u64; 2]>,
    /// Tensors that cannot be read because of it, under their names in the file.
    pub affected: &'e [String],
}

/// A named error of structure: every variant has a rule of its own.
pub trait StructureError: std::fmt::Display {
    /// Rule identifier and severity.
    fn rule(&self) -> (&'static str, Severity);

    /// Where it is, as far as it is about a part of the file.
    fn location(&self) -> ErrorLocation<'_> {
        ErrorLocation::default()
    }

    /// The problem that this error is, of `file`.
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

/// An enum of [`StructureError`] errors with every fault in one place: what is said of it, what it holds, its rule and
/// severity. Where it is follows from the names of its fields: `tensor`; `range`, `missing` or `at` (one byte)
/// in the file; `tensors` that cannot be read because of it. Bytes that no field tells stand behind the rule:
/// `=> ("format/gguf-magic", High) at [0, 4]`.
macro_rules! faults {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $(
                $(#[$said:meta])*
                $fault:ident $({ $($field:ident: $type:ty),* $(,)? })?
                    => $rule:tt $(at $bytes:expr)?,
            )*
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $name {
            $($(#[$said])* $fault $({ $($field: $type),* })?,)*
        }

        impl StructureError for $name {
            fn rule(&self) -> (&'static str, Severity) {
                use Severity::*;
                match self {
                    $($name::$fault { .. } => $rule,)*
                }
            }

            fn location(&self) -> ErrorLocation<'_> {
                match self {
                    $($name::$fault $({ $($field),* })? => {
                        #[allow(unused_mut)]
                        let mut located = ErrorLocation::default();
                        $($(faults!(@field located $field $field);)*)?
                        $(located.bytes = Some($bytes);)?
                        located
                    })*
                }
            }
        }
    };
    (@field $located:ident tensor $value:ident) => { $located.tensor = Some($value) };
    (@field $located:ident range $value:ident) => { $located.bytes = Some(*$value) };
    (@field $located:ident missing $value:ident) => { $located.bytes = Some(*$value) };
    (@field $located:ident at $value:ident) => {
        $located.bytes = Some([*$value, $value.saturating_add(1)])
    };
    (@field $located:ident tensors $value:ident) => { $located.affected = $value };
    (@field $located:ident $other:ident $value:ident) => {
        let _ = $value;
    };
}

pub(crate) use faults;

/// Errors of one file: the first few of each rule are kept, the others counted, so that a hostile
/// file with a million faults gives a report of bounded size.
#[derive(Debug, Clone)]
pub struct BoundedErrors<E> {
    kept: Vec<E>,
    counts: BTreeMap<&'static str, u64>,
}

/// How many errors of one rule are kept for one file.
const KEPT: u64 = 16;

impl<E> Default for BoundedErrors<E> {
    fn default() -> Self {
        BoundedErrors { kept: Vec::new(), counts: BTreeMap::new() }
    }
}

impl<E: StructureError> BoundedErrors<E> {
    /// Adds an error, unless the one before it is of the same tensor.
    pub fn push(&mut self, error: E) {
        // An entry that is wrong in several ways is one fault: the first says what to look at.
        let last = self.kept.last().and_then(|last| last.location().tensor);
        if last.is_some() && error.location().tensor == last {
            return;
        }
        let count = self.counts.entry(error.rule().0).or_insert(0);
        *count += 1;
        if *count <= KEPT {
            self.kept.push(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Adds those of another part of the same file.
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

    /// All as problems of `file`; one more for each rule of which errors were only counted.
    pub fn problems(&self, file: &str) -> Vec<Problem> {
        let mut problems: Vec<_> = self.kept.iter().map(|error| error.to_problem(file)).collect();
        for (&rule, &count) in self.counts.iter().filter(|(_, count)| **count > KEPT) {
            let severity = problems.iter().find(|p| p.rule == rule).map(|p| p.severity);
            problems.push(Problem {
                rule,
                severity: severity.unwrap_or(Severity::Medium),
                file: file.to_owned(),
                tensor: None,
                byte_range: None,
                affected: Vec::new(),
                message: format!(
                    "{}: the same problem ({rule}) {} more times",
                    display_name(file),
                    count - KEPT
                ),
                companion: false,
            });
        }
        problems
    }
}
