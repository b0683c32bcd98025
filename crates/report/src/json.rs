//! The JSON report, for scripts.

use super::Report;
use std::io::{self, Write};

/// Writes the report as indented JSON.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}
