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
pub struct NotCovered {
    /// Path relative to the root.
    pub path: String,
    /// Why it is left out.
    pub reason: String,
    /// The same, for programs.
    #[serde(skip)]
    pub kind: LeftOut,
}

/// Why something is not part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// Named in [`super::OpenOptions::exclude`]: the signature itself.
    Excluded,
    /// Named in [`super::OpenOptions::seals`].
    Seal,
    /// One of git's own four names at the top.
    Git,
    /// Notes of the downloader.
    Downloader,
    /// A directory whose files are listed under another path: it was reached twice.
    SeenBefore,
    /// A symbolic link to a directory inside the model; its files are listed under their own paths.
    DirectoryLink,
    /// There is something wrong with it, which [`super::Checkpoint::problems`] tells.
    Problem,
    /// Part of the model, but not of what it was compared with: a model root covers tensors alone.
    BesideRoot,
    /// A signature ignores it, and says so.
    Ignored,
    /// Nobody signed it, and that was allowed.
    Unsigned,
}

impl LeftOut {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            LeftOut::Excluded | LeftOut::Seal => "seal or signature, not part of what it covers",
            LeftOut::Git => "git metadata",
            LeftOut::Downloader => "download metadata",
            LeftOut::SeenBefore => "directory already covered under another path",
            LeftOut::DirectoryLink => {
                "link to a directory whose files are covered under their own paths"
            }
            LeftOut::Problem => "see its finding",
            LeftOut::BesideRoot => "not covered by the model root",
            LeftOut::Ignored => "ignored by the signature",
            LeftOut::Unsigned => "not signed",
        }
    }

    /// Whether a signature of the files covers it although it is not part of the model.
    pub fn is_beside(self) -> bool {
        matches!(self, LeftOut::Seal | LeftOut::Downloader)
    }
}

/// How every message on a file begins.
pub(crate) fn stated_of(file: &str) -> String {
    format!("{}: ", display_name(file))
}

/// Where an error of structure is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Located<'e> {
    /// The tensor concerned, under its name in the file.
    pub tensor: Option<&'e str>,
    /// The bytes of the file concerned.
    pub bytes: Option<[u64; 2]>,
    /// Tensors that cannot be read because of it, under their names in the file.
    pub affected: &'e [String],
}

/// A named error of structure: every variant has a rule of its own.
pub trait Named: std::fmt::Display {
    /// Rule identifier and severity.
    fn rule(&self) -> (&'static str, Severity);

    /// Where it is, as far as it is about a part of the file.
    fn located(&self) -> Located<'_> {
        Located::default()
    }

    /// The problem that this error is, of `file`.
    fn problem(&self, file: &str) -> Problem {
        let (rule, severity) = self.rule();
        let Located { tensor, bytes, affected } = self.located();
        Problem {
            rule,
            severity,
            file: file.to_owned(),
            tensor: tensor.map(str::to_owned),
            byte_range: bytes,
            affected: affected.to_vec(),
            message: format!("{}{self}", stated_of(file)),
            companion: false,
        }
    }
}

/// An enum of [`Named`] errors with every fault in one place: what is said of it, what it holds, its rule and
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

        impl Named for $name {
            fn rule(&self) -> (&'static str, Severity) {
                use Severity::*;
                match self {
                    $($name::$fault { .. } => $rule,)*
                }
            }

            fn located(&self) -> Located<'_> {
                match self {
                    $($name::$fault $({ $($field),* })? => {
                        #[allow(unused_mut)]
                        let mut located = Located::default();
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
pub struct Gathered<E> {
    kept: Vec<E>,
    counts: BTreeMap<&'static str, u64>,
}

/// How many errors of one rule are kept for one file.
const KEPT: u64 = 16;

impl<E> Default for Gathered<E> {
    fn default() -> Self {
        Gathered { kept: Vec::new(), counts: BTreeMap::new() }
    }
}

impl<E: Named> Gathered<E> {
    /// Adds an error, unless the one before it is of the same tensor.
    pub fn push(&mut self, error: E) {
        // An entry that is wrong in several ways is one fault: the first says what to look at.
        let last = self.kept.last().and_then(|last| last.located().tensor);
        if last.is_some() && error.located().tensor == last {
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
    pub(crate) fn append(&mut self, other: Gathered<E>) {
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
        let mut problems: Vec<_> = self.kept.iter().map(|error| error.problem(file)).collect();
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
