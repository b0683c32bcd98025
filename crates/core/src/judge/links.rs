//! Compares the links to directories in a model with those that were sealed.
//!
//! The target of such a link is covered under its own path. But a loader that follows links sees the target under
//! the path of the link as well, so an additional link adds files for the loader.

use super::Finding;
use crate::seal::LinkSeal;
use std::collections::BTreeMap;
use tensorseal_base::display::display_name;

/// Returns a finding for every link that was added, removed or changed since the model was sealed.
pub fn compare(sealed: &[LinkSeal], found: &[LinkSeal]) -> Vec<Finding> {
    let by_path = |links: &'_ [LinkSeal]| -> BTreeMap<String, String> {
        links.iter().map(|link| (link.path.clone(), link.target.clone())).collect()
    };
    let (before, now) = (by_path(sealed), by_path(found));
    let mut findings = Vec::new();
    for (path, target) in &now {
        let (rule, message) = match before.get(path) {
            None => (
                "integrity/file-added",
                format!(
                    "link to the directory {}, not in the seal: a loader that follows links sees the files there twice",
                    display_name(target)
                ),
            ),
            Some(was) if was != target => (
                "integrity/file-changed",
                format!(
                    "link to the directory {}, sealed as a link to {}",
                    display_name(target),
                    display_name(was)
                ),
            ),
            Some(_) => continue,
        };
        findings.push(Finding::new(rule, message).in_file(path).with("link", target.as_str()));
    }
    for (path, target) in before.iter().filter(|(path, _)| !now.contains_key(*path)) {
        let message = format!(
            "sealed as a link to the directory {}, but no longer a link",
            display_name(target)
        );
        findings.push(Finding::new("integrity/file-missing", message).in_file(path));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(all: &[(&str, &str)]) -> Vec<LinkSeal> {
        let link = |(path, target): &(&str, &str)| LinkSeal {
            path: (*path).to_owned(),
            target: (*target).to_owned(),
        };
        all.iter().map(link).collect()
    }

    #[test]
    fn each_link_that_came_went_or_leads_elsewhere_is_a_finding() {
        let sealed = links(&[("a", "x"), ("b", "x"), ("c", "x")]);
        assert_eq!(compare(&sealed, &sealed), []);
        let found = compare(&sealed, &links(&[("a", "x"), ("b", "y"), ("d", ".")]));
        let rules: Vec<_> = found.iter().map(|f| (f.rule, f.file.as_deref().unwrap())).collect();
        assert_eq!(
            rules,
            [
                ("integrity/file-changed", "b"),
                ("integrity/file-added", "d"),
                ("integrity/file-missing", "c"),
            ]
        );
    }
}
