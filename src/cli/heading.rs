//! Headings that options stand under in `--help`: the same in every verb.

/// What belongs to the model.
pub const MODEL: &str = "Model options";
/// What the model is compared with, and how.
pub const VERIFICATION: &str = "Verification options";
/// Signatures, keys and certificates.
pub const SIGNATURE: &str = "Signature options";
/// Statements of a verdict.
pub const STATEMENTS: &str = "Statement options";
/// Watermarks.
pub const WATERMARK: &str = "Watermark options";
/// Which models of a registry are read.
#[cfg(feature = "registry")]
pub const SCAN: &str = "Scan options";
/// Where the results of a scan are sent.
#[cfg(feature = "registry")]
pub const NOTIFICATION: &str = "Notification options";
/// How bytes are measured.
pub const MEASUREMENT: &str = "Measurement options";
/// What is printed and written.
pub const OUTPUT: &str = "Output options";
/// What decides the exit code.
pub const FAILURE: &str = "Exit code options";
/// Where defaults come from.
pub const CONFIGURATION: &str = "Configuration options";
