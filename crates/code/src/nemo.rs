//! NeMo: a tar archive of weights and of the configuration that they are built from.

use super::configs;
use super::findings::FileFindings;
use super::lazy_file::{LazyFile, MOST};
use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};
use tensorseal_format::OpenError;

/// Longest member that is looked into whatever it is called.
const SHORT: u64 = 1 << 20;

/// Whether a file is an archive of NeMo.
pub(super) fn is_nemo(path: &str) -> bool {
    path.ends_with(".nemo")
}

/// Looks into the configurations in an archive.
pub(super) fn scan(source: &LazyFile<'_>, found: &mut FileFindings) -> Result<(), OpenError> {
    let failed = RefCell::new(None);
    let read = archive(Reader { source, at: 0, failed: &failed }, found);
    match (failed.into_inner(), read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(_)) => {
            found.not_examined("it is no tar archive, or a compressed one");
            Ok(())
        }
    }
}

fn archive(reader: impl Read + Seek, found: &mut FileFindings) -> io::Result<()> {
    let mut left = MOST;
    let mut archive = tar::Archive::new(reader);
    // Records that rename a member are as long as they like: names are those of the headers, and what is short
    // is looked into under any name.
    for entry in archive.entries_with_seek()?.raw(true) {
        let mut entry = entry?;
        let is_named = configs::is_yaml(&String::from_utf8_lossy(&entry.path_bytes()));
        if !is_named && entry.size() > SHORT {
            continue;
        }
        if entry.size() > left {
            found.too_long(entry.size());
            continue;
        }
        left -= entry.size();
        let mut text = Vec::new();
        entry.by_ref().take(MOST).read_to_end(&mut text)?;
        configs::scan_yaml_text("model_config.yaml", &String::from_utf8_lossy(&text), found);
    }
    Ok(())
}

/// The file as something to be read from; what fails for good is kept.
struct Reader<'s, 'a> {
    source: &'s LazyFile<'a>,
    at: u64,
    failed: &'s RefCell<Option<OpenError>>,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.file.bytes.saturating_sub(self.at);
        let wanted = left.min(buffer.len() as u64) as usize;
        let Some(buffer) = buffer.get_mut(..wanted) else { return Ok(0) };
        if let Err(error) = self.source.fill(self.at, buffer) {
            *self.failed.borrow_mut() = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        self.at += wanted as u64;
        Ok(wanted)
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
        let mut found = FileFindings::default();
        let read = archive(io::Cursor::new(bytes), &mut found);
        (found.code.iter().map(str::to_owned).collect(), read.is_ok())
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
