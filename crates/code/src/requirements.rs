//! Checks lists of packages that a loader installs.

use super::file_name;
use super::findings::{FileFindings, Reasons};
use super::lazy_file::LazyFile;
use tensorseal_base::display::display_name;
use tensorseal_format::OpenError;

/// Whether a file is a list of packages.
pub(super) fn is_requirements(path: &str) -> bool {
    file_name(path) == "requirements.txt"
}

/// Checks a list of packages.
pub(super) fn scan(source: &LazyFile<'_>, findings: &mut FileFindings) -> Result<(), OpenError> {
    let Some(bytes) = source.whole()? else {
        findings.code.push("packages to install".to_owned());
        findings.too_long(source.file.bytes);
        return Ok(());
    };
    let (packages, elsewhere) = listed(&String::from_utf8_lossy(bytes));
    if packages > 0 {
        findings.code.push(format!("packages to install: {packages}"));
    }
    if !elsewhere.is_empty() {
        findings.code.push(format!("not from the default package index: {}", elsewhere.summary()));
    }
    Ok(())
}

/// Counts the packages, and collects the lines that install from other places than the default package index.
fn listed(text: &str) -> (u64, Reasons) {
    let mut packages = 0;
    let mut elsewhere = Reasons::default();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        packages += 1;
        if line.contains("://") || line.starts_with('-') {
            elsewhere.push(display_name(line));
        }
    }
    (packages, elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_counted() {
        let text = "# comment\n\na==1\nb>2\n--extra-index-url https://example.org\nc @ git+https://example.org/c\n";
        let (packages, elsewhere) = listed(text);
        assert_eq!((packages, elsewhere.iter().count()), (4, 2));
        assert!(listed("\n# nothing\n").0 == 0);
    }
}
