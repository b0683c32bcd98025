//! Prints a signature that was written or verified.

use std::io::{self, Write};
use tensorseal_report::Report;
use tensorseal_report::human::Palette;
use tensorseal_report::units::count;

/// Prints the signer and what was signed.
pub(crate) fn summary(out: &mut dyn Write, palette: Palette, report: &Report) -> io::Result<()> {
    let Some(used) = &report.signature else { return Ok(()) };
    writeln!(out, "signature {}", used.source)?;
    let (Some(signer), Some(signed)) = (&used.signer, &used.signed) else { return Ok(()) };
    writeln!(out, "signed by {}", palette.bold(&signer.to_string()))?;
    let shards = signed.shard_size.map(|size| format!(" in shards of {size} bytes"));
    let listed = if shards.is_some() { "shard" } else { "file" };
    let line = format!(
        "{}, {}{}",
        count(signed.resources, listed),
        signed.hash,
        shards.unwrap_or_default()
    );
    writeln!(out, "          {}", palette.dim(&line))?;
    for attestation in &used.attestations {
        let (kind, at) = (attestation.kind.name(), attestation.signed_at);
        writeln!(out, "attested  {kind}, {at} by the clock of the signer")?;
    }
    Ok(())
}
