//! Seals that older versions made: what they did not look at.

use super::Finding;
use tensorseal_base::display::display_name;

/// One finding for each file that was sealed as bytes and that tensors are read from today: it was compared as
/// bytes, so that nothing of it changed unseen.
pub fn compared_as_bytes(paths: &[String]) -> Vec<Finding> {
    let finding = |path: &String| {
        let message = format!(
            "{}: sealed by an older version, which did not look into this file; seal it again",
            display_name(path)
        );
        Finding::new("integrity/seal-outdated", message).in_file(path)
    };
    paths.iter().map(finding).collect()
}
