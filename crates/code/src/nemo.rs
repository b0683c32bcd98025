//! Checks NeMo files: tar archives with weights and a configuration.

use super::configs;
use super::findings::FileFindings;
use super::lazy_file::{LazyFile, MAX_BYTES};
use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};
use tensorseal_format::OpenError;

/// The longest member in bytes that is checked whatever its name is.
const MAX_ANY_NAME: u64 = 1 << 20;

/// Whether a file is a NeMo archive.
pub(super) fn is_nemo(path: &str) -> bool {
    path.ends_with(".nemo")
}

/// Checks the configurations in an archive.
pub(super) fn scan(source: &LazyFile<'_>, findings: &mut FileFindings) -> Result<(), OpenError> {
    let failed = RefCell::new(None);
    let read = archive(Reader { source, at: 0, failed: &failed }, findings);
    match (failed.into_inner(), read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) => {
            findings.not_examined("it is not an uncompressed tar archive");
            Ok(())
        }
    }
}

fn archive(reader: impl Read + Seek, findings: &mut FileFindings) -> io::Result<()> {
    let mut left = MAX_BYTES;
    let mut archive = tar::Archive::new(reader);
    // Records that rename a member can be of any length, so only the names in the headers are used, and short members
    // are checked whatever their name is.
    for entry in archive.entries_with_seek()?.raw(true) {
        let mut entry = entry?;
        let is_named = configs::is_yaml(&String::from_utf8_lossy(&entry.path_bytes()));
        if !is_named && entry.size() > MAX_ANY_NAME {
            continue;
        }
        if entry.size() > left {
            findings.too_long(entry.size());
            continue;
        }
        left -= entry.size();
        let mut text = Vec::new();
        entry.by_ref().take(MAX_BYTES).read_to_end(&mut text)?;
        configs::scan_yaml_text("model_config.yaml", &String::from_utf8_lossy(&text), findings);
    }
    Ok(())
}

/// Reads from the file, and keeps an error that must be returned.
struct Reader<'s, 'a> {
    source: &'s LazyFile<'a>,
    at: u64,
    failed: &'s RefCell<Option<OpenError>>,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.file.bytes.saturating_sub(self.at);
        let count = left.min(buffer.len() as u64) as usize;
        let Some(buffer) = buffer.get_mut(..count) else { return Ok(0) };
        if let Err(error) = self.source.fill(self.at, buffer) {
            *self.failed.borrow_mut() = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader<'_, '_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.source.file.bytes.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(bytes: &[u8]) -> (Vec<String>, bool) {
        let mut findings = FileFindings::default();
        let read = archive(io::Cursor::new(bytes), &mut findings);
        (findings.code.iter().map(str::to_owned).collect(), read.is_ok())
    }

    fn made(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn configurations_in_an_archive_are_looked_into() {
        let config = b"encoder:\n  _target_: nonexistent_module.call\n";
        let bytes = made(&[("./model_weights.ckpt", &[0; 9000]), ("./model_config.yaml", config)]);
        let (code, read) = of(&bytes);
        assert!(read && code.len() == 1 && code[0].contains("nonexistent_module.call"), "{code:?}");
        let (code, read) = of(&made(&[("model_weights.ckpt", b"weights")]));
        assert!(read && code.is_empty());
        assert!(!of(&[7; 2000]).1);
    }

    proptest! {
        #[test]
        fn never_panics(at in 0usize..2048, byte: u8, end in 0usize..2560) {
            let mut bytes = made(&[("a.yaml", b"_target_: x"), ("b", b"1")]);
            bytes[at] = byte;
            bytes.truncate(end.max(1));
            of(&bytes);
        }
    }
}
