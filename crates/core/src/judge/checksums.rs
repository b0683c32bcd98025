//! Checksums that a file states of its own parts: what is wrong is known without any seal.

use super::Finding;
use tensorseal_base::display::display_name;
use tensorseal_engine::RunReport;
use tensorseal_format::Checkpoint;

/// Most tensors that are named.
const NAMED: usize = 16;

/// A finding for every stretch whose bytes are not those of its checksum.
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
        let holds = match inside.first() {
            None => String::new(),
            Some(first) => {
                let more = match inside.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                format!(", which holds tensor '{}'{more}", display_name(first))
            }
        };
        let message = format!(
            "{}: the bytes of member '{}'{holds} are not those that its checksum was made of",
            display_name(&file.path),
            display_name(&sum.name)
        );
        let mut finding = Finding::new("format/zip-crc", message)
            .in_file(&file.path)
            .with("member", sum.name.clone())
            .with("crc32_stated", format!("{:08x}", sum.crc32))
            .with("tensors_total", inside.len())
            .with("tensors", inside.into_iter().take(NAMED).collect::<Vec<_>>());
        finding.byte_range = Some(sum.range);
        Some(finding)
    });
    broken.collect()
}
