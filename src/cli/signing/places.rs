//! Where a signature and its attestations are written.

use crate::cli::Failure;
use anyhow::anyhow;
use std::path::Path;
use tensorseal::verbs::places::directory_of;

/// Refuses to write over anything but an older file of the same kind: one that begins with `start`.
pub fn check_output(path: &Path, start: &[u8], what: &str) -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::usage(anyhow!("{}: {why}", path.display())));
    match path.symlink_metadata() {
        Err(_) if directory_of(path).is_dir() => Ok(()),
        Err(_) => {
            let directory = directory_of(path).display();
            let error = anyhow!("{}: there is no directory {directory}", path.display());
            Err(Failure::incomplete(error))
        }
        Ok(metadata) if metadata.is_file() => match begins_with(path, start) {
            true => Ok(()),
            false => refused(&format!("is there and is no {what}: it would be overwritten")),
        },
        Ok(_) => refused("is there and is not a regular file"),
    }
}

fn begins_with(path: &Path, start: &[u8]) -> bool {
    use std::io::Read;
    let mut found = Vec::new();
    let file = std::fs::File::open(path);
    file.is_ok_and(|file| file.take(start.len() as u64).read_to_end(&mut found).is_ok())
        && found == start
}
