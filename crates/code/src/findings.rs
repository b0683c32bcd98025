//! What was found in one file: however much it is, little of it is kept.

use super::error::CodeError;
use tensorseal_base::display::display_name;
use tensorseal_format::BoundedErrors;

/// Most reasons that are kept of one file.
const KEPT: usize = 16;
/// Reasons that a message tells.
const TOLD: usize = 4;

/// Distinct reasons in the order they were found; of very many, the first.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    kept: Vec<String>,
    more: u64,
}

impl Reasons {
    /// Adds one.
    pub(crate) fn push(&mut self, reason: String) {
        if self.kept.contains(&reason) {
            return;
        }
        match self.kept.len() < KEPT {
            true => self.kept.push(reason),
            false => self.more = self.more.saturating_add(1),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Those that were kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }

    /// In one line.
    pub(crate) fn summary(&self) -> String {
        let mut told: Vec<&str> = self.iter().take(TOLD).collect();
        let more = (self.kept.len() - told.len()) as u64 + self.more;
        let rest = format!("and {more} more");
        if more > 0 {
            told.push(&rest);
        }
        told.join("; ")
    }
}

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct FileFindings {
    /// Why it is code.
    pub code: Reasons,
    /// What it has from elsewhere.
    pub remote: Reasons,
    /// Everything else.
    pub other: BoundedErrors<CodeError>,
    /// Whether the file, or a part of it, was not looked into.
    pub not_examined: bool,
}

impl FileFindings {
    /// Notes a class with a repository before it: it is one of that repository.
    pub(crate) fn remote_class(&mut self, text: &str) {
        if let Some((repository, class)) = text.split_once("--") {
            let (repository, class) = (display_name(repository), display_name(class));
            self.remote.push(format!("{class} of {repository}"));
        }
    }

    /// Notes that the file was not looked into: whatever code is in it nobody has seen.
    pub(crate) fn not_examined(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        self.not_examined = true;
        self.other.push(CodeError::NotExamined { reason });
    }

    /// Notes that it is longer than is looked into.
    pub(crate) fn too_long(&mut self, bytes: u64) {
        let most = super::lazy_file::MOST >> 20;
        self.not_examined(format!("it has {bytes} bytes, more than {most} MiB"));
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
        assert_eq!(reasons.iter().count(), KEPT);
        assert!(reasons.summary().starts_with("reason 0; reason 1; reason 2; reason 3; and "));
        let mut one = Reasons::default();
        one.push("this".to_owned());
        one.push("this".to_owned());
        assert_eq!(one.summary(), "this");
    }
}
