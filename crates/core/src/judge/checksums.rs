//! Judges checksums that a file stores about its own parts, which need no seal.

use super::Finding;
use tensorseal_base::display::display_name;
use tensorseal_engine::RunReport;
use tensorseal_format::Checkpoint;

/// The maximum number of tensors that a finding names.
const MAX_NAMED: usize = 16;

/// Returns a finding for every member whose bytes do not match its stored checksum.
pub fn findings(model: &Checkpoint, run: &RunReport) -> Vec<Finding> {
    let broken = run.broken_checksums.iter().filter_map(|broken| {
        let file = model.files.get(broken.file)?;
        let sum = file.checksums.get(broken.checksum)?;
        let [start, end] = sum.range;
        let inside: Vec<&str> = model
            .tensors_of(broken.file)
            .iter()
            .filter(|tensor| tensor.offset < end && tensor.offset + tensor.bytes > start)
            .map(|tensor| tensor.name.as_str())
            .collect();
        let tensors = match inside.first() {
            None => String::new(),
            Some(first) => {
                let more = match inside.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                format!(" (tensor '{}'{more})", display_name(first))
            }
        };
        let message = format!(
            "{}: member '{}'{tensors} does not match its CRC-32 checksum",
            display_name(&file.path),
            display_name(&sum.name)
        );
        let mut finding = Finding::new("format/zip-crc", message)
            .in_file(&file.path)
            .with("member", sum.name.clone())
            .with("crc32_stated", format!("{:08x}", sum.crc32))
            .with("tensors_total", inside.len())
            .with("tensors", inside.into_iter().take(MAX_NAMED).collect::<Vec<_>>());
        finding.byte_range = Some(sum.range);
        Some(finding)
    });
    broken.collect()
}
