//! Headings that options stand under in `--help`: the same in every verb.

/// What belongs to the model.
pub(super) const MODEL: &str = "Model options";
/// What the model is compared with, and how.
pub(super) const VERIFICATION: &str = "Verification options";
/// Signatures, keys and certificates.
pub(super) const SIGNATURE: &str = "Signature options";
/// Statements of a verdict.
pub(super) const STATEMENTS: &str = "Statement options";
/// Watermarks.
pub(super) const WATERMARK: &str = "Watermark options";
/// Which models of a registry are read.
#[cfg(feature = "registry")]
pub(super) const SCAN: &str = "Scan options";
/// Where the results of a scan are sent.
#[cfg(feature = "registry")]
pub(super) const NOTIFICATION: &str = "Notification options";
/// How bytes are measured.
pub(super) const MEASUREMENT: &str = "Measurement options";
/// What is printed and written.
pub(super) const OUTPUT: &str = "Output options";
/// What decides the exit code.
pub(super) const FAILURE: &str = "Exit code options";
/// Where defaults come from.
pub(super) const CONFIGURATION: &str = "Configuration options";
