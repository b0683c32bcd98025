//! Collects the findings in one file with a bounded size.

use super::error::CodeError;
use tensorseal_base::display::display_name;
use tensorseal_format::BoundedErrors;

/// The largest number of reasons that are kept for one file.
const MAX_KEPT: usize = 16;
/// The number of reasons in a message.
const MAX_SHOWN: usize = 4;

/// Distinct reasons in the order in which they were found. Of very many reasons, only the first are kept.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    kept: Vec<String>,
    more: u64,
}

impl Reasons {
    /// Adds a reason.
    pub(crate) fn push(&mut self, reason: String) {
        if self.kept.contains(&reason) {
            return;
        }
        match self.kept.len() < MAX_KEPT {
            true => self.kept.push(reason),
            false => self.more = self.more.saturating_add(1),
        }
    }

    /// Whether there are no reasons.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The reasons that were kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }

    /// The reasons in one line.
    pub(crate) fn summary(&self) -> String {
        let mut shown: Vec<&str> = self.iter().take(MAX_SHOWN).collect();
        let more = (self.kept.len() - shown.len()) as u64 + self.more;
        let rest = format!("and {more} more");
        if more > 0 {
            shown.push(&rest);
        }
        shown.join("; ")
    }
}

/// The findings in one file.
#[derive(Debug, Default)]
pub(super) struct FileFindings {
    /// The reasons why it is code.
    pub code: Reasons,
    /// The code that it loads from other places.
    pub remote: Reasons,
    /// All other findings.
    pub other: BoundedErrors<CodeError>,
    /// Whether the file, or a part of it, was not checked.
    pub not_examined: bool,
}

impl FileFindings {
    /// Reports a class of another repository: `REPOSITORY--CLASS`.
    pub(crate) fn remote_class(&mut self, text: &str) {
        if let Some((repository, class)) = text.split_once("--") {
            let (repository, class) = (display_name(repository), display_name(class));
            self.remote.push(format!("{class} from {repository}"));
        }
    }

    /// Reports that the file was not checked, so that it may contain code.
    pub(crate) fn not_examined(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        self.not_examined = true;
        self.other.push(CodeError::NotExamined { reason });
    }

    /// Reports that the file is too long to be checked.
    pub(crate) fn too_long(&mut self, bytes: u64) {
        let max = super::lazy_file::MAX_BYTES >> 20;
        self.not_examined(format!("it has {bytes} bytes; the limit is {max} MiB"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinct_and_bounded() {
        let mut reasons = Reasons::default();
        for at in 0..1000 {
            reasons.push(format!("reason {}", at % 100));
        }
        assert_eq!(reasons.iter().count(), MAX_KEPT);
        assert!(reasons.summary().starts_with("reason 0; reason 1; reason 2; reason 3; and "));
        let mut one = Reasons::default();
        one.push("this".to_owned());
        one.push("this".to_owned());
        assert_eq!(one.summary(), "this");
    }
}
