//! Findings about seals of older versions that covered less than a seal of today.

use super::Finding;
use tensorseal_base::display::display_name;

/// Returns one finding for each file that was sealed as plain bytes and from which tensors are read today. Such a
/// file is compared as bytes, so no change in it goes unnoticed.
pub fn compared_as_bytes(paths: &[String]) -> Vec<Finding> {
    let finding = |path: &String| {
        let message = format!(
            "{}: sealed by an older version that did not read tensors from this file; seal the model again",
            display_name(path)
        );
        Finding::new("integrity/seal-outdated", message).in_file(path)
    };
    paths.iter().map(finding).collect()
}
