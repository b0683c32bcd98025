//! The report for machines: one JSON document.

use super::Report;
use std::io::{self, Write};

/// Writes the report, indented.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}
