//! The key of a mark: 32 secret bytes, and the values derived from them.
//!
//! A key file is a small JSON document that only its owner may read:
//! `{"schema": "tensorseal.watermark-key/1", "scheme": "ts-spread/1", "key": 64 hexadecimal digits,
//! "key_id": 32 hexadecimal digits, "note": text}`. The key is never printed, and its memory is overwritten after use.
//!
//! All values are derived with BLAKE3 `derive_key` (BLAKE3 paper, section 2.3) and separate context strings, so that
//! one derived value reveals nothing about another.

use super::key_file::{KeyFileHeader, scheme_of};
pub use super::key_file::{MAX_NOTE, SCHEMA};
use super::scheme::{ThirdPartyScheme, ThirdPartySchemeError};
use super::{SCHEME, files};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::hex::{hex, unhex};
use tensorseal_base::regular_file;
use tensorseal_base::system::permission_mode;
use tensorseal_engine::measure::chips::{ChipKey, Nonce};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The maximum length of a key file in bytes.
pub const MAX_FILE: u64 = 64 << 10;

const CONTEXT_ID: &str = "tensorseal 2026-11-23 watermark key id v1";
const CONTEXT_CHIPS: &str = "tensorseal 2026-11-23 watermark chip key v1";
const CONTEXT_NONCE: &str = "tensorseal 2026-11-23 watermark chip nonce v1";
const CONTEXT_DITHER: &str = "tensorseal 2026-11-23 watermark dither nonce v1";
const CONTEXT_OFFSET: &str = "tensorseal 2026-11-23 watermark block offset v1";
pub(super) const CONTEXT_COMMITMENT: &str = "tensorseal 2026-11-23 watermark commitment v1";

/// A key. Its debug output shows only its id.
pub struct WatermarkKey {
    secret: Secret,
    id: String,
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Secret([u8; 32]);

impl std::fmt::Debug for WatermarkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WatermarkKey({})", self.id)
    }
}

/// A key file, as it is stored.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct KeyDocument {
    schema: String,
    scheme: String,
    key: String,
    key_id: String,
    note: String,
}

/// An error while creating, writing or reading a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatermarkKeyError {
    /// The operating system provides no random bytes.
    #[error("cannot get random bytes from the operating system: {0}")]
    NoRandom(String),
    /// The output path exists.
    #[error("{} exists: keys are never overwritten; choose another name", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Other users can read or change the file.
    #[error(
        "{}: other users have access to this key (mode {mode:04o}): run chmod 600 {}, and replace the key if they may have read it",
        path.display(), shell_word(path)
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// The permission bits of the file.
        mode: u32,
    },
    /// The file is not a valid key file.
    #[error("{}: not a watermark key: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The error in the file.
        what: String,
    },
    /// The note is too long for a key file.
    #[error("the note is longer than {MAX_NOTE} bytes")]
    LongNote,
}

/// Quotes a path for a shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

impl WatermarkKey {
    /// Generates a key from random bytes of the operating system.
    ///
    /// # Errors
    /// Returns [`WatermarkKeyError::NoRandom`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, WatermarkKeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut())
            .map_err(|error| WatermarkKeyError::NoRandom(error.to_string()))?;
        Ok(Self::from_secret(&secret))
    }

    /// Creates the key with these bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let id = blake3::derive_key(CONTEXT_ID, secret);
        Self { secret: Secret(*secret), id: hex(&id[..16]) }
    }

    /// Returns the id, which does not reveal the key: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the derived key for chips and dither.
    pub fn chips(&self) -> ChipKey {
        ChipKey(blake3::derive_key(CONTEXT_CHIPS, &self.secret.0))
    }

    /// Returns the offset that determines which blocks of a tensor carry which bit: see
    /// [`Slot::for_block`](tensorseal_engine::measure::slots::Slot::for_block).
    pub fn block_offset(&self, canonical: &str) -> u32 {
        let digest = self.derive(CONTEXT_OFFSET, &[canonical.as_bytes()]);
        u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    /// Derives a value over `parts` that only the holder of the key can compute.
    pub(super) fn derive(&self, context: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.secret.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest = *hasher.finalize().as_bytes();
        hasher.zeroize();
        digest
    }

    /// Writes a new key file with mode 0600, atomically and without overwriting anything.
    ///
    /// # Errors
    /// Returns a [`WatermarkKeyError`] if the path exists or cannot be written, or if the note is too long.
    pub fn write_new(&self, path: &Path, note: &str) -> Result<(), WatermarkKeyError> {
        if note.len() > MAX_NOTE {
            return Err(WatermarkKeyError::LongNote);
        }
        let failed = |source| WatermarkKeyError::Write { path: path.to_owned(), source };
        let document = KeyDocument {
            schema: SCHEMA.to_owned(),
            scheme: SCHEME.to_owned(),
            key: hex(&self.secret.0),
            key_id: self.id.clone(),
            note: note.to_owned(),
        };
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_NOTE * 8));
        serde_json::to_writer_pretty(&mut *text, &document)
            .map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        files::write_new(path, 0o600, &text).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => WatermarkKeyError::Exists(path.to_owned()),
            _ => failed(error),
        })
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// Returns a [`WatermarkKeyError`] if the file cannot be read, if it is not a valid key file, or if anyone but the
    /// owner has access to it.
    pub fn read(path: &Path) -> Result<Self, WatermarkKeyError> {
        let file = open(path)?;
        let metadata = file
            .metadata()
            .map_err(|source| WatermarkKeyError::Read { path: path.to_owned(), source })?;
        let mode = permission_mode(&metadata);
        let text = read_small(path, file)?;
        let malformed = |what| WatermarkKeyError::Malformed { path: path.to_owned(), what };
        // Keys of other schemes need not be secret: report the scheme before the permissions.
        if let Some(other) =
            scheme_of(&text).filter(|scheme| ThirdPartyScheme::all().any(|s| s.name() == scheme))
        {
            return Err(malformed(other_scheme_message(&other)));
        }
        if let Some(mode) = mode.filter(|mode| mode & 0o077 != 0) {
            return Err(WatermarkKeyError::Exposed { path: path.to_owned(), mode });
        }
        Self::parse(&text).map_err(malformed)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        // Only the position of an error is reported, because the message could contain a part of the key.
        let place = |error: serde_json::Error| match error.classify() {
            serde_json::error::Category::Eof => "it ends early".to_owned(),
            _ => format!("malformed at line {} column {}", error.line(), error.column()),
        };
        let head: KeyFileHeader = serde_json::from_slice(text).map_err(place)?;
        if head.schema != SCHEMA {
            return Err(format!("its schema is {:?}, not {SCHEMA:?}", clip(&head.schema)));
        }
        if head.scheme.as_deref() != Some(SCHEME) {
            return Err(other_scheme_message(head.scheme.as_deref().unwrap_or("")));
        }
        let document: KeyDocument = serde_json::from_slice(text).map_err(place)?;
        let secret = Zeroizing::new(
            unhex(&document.key).ok_or("its key is not 64 lower-case hexadecimal digits")?,
        );
        let key = Self::from_secret(&secret);
        if key.id != document.key_id {
            return Err("its key id does not belong to its key".to_owned());
        }
        Ok(key)
    }
}

/// Returns the error message for a key of another scheme.
fn other_scheme_message(name: &str) -> String {
    let what = format!("it is a key of scheme {:?}, not {SCHEME:?}", clip(name));
    match name.parse() {
        Ok(ThirdPartyScheme::Interval) | Err(ThirdPartySchemeError::Unknown) => what,
        Ok(scheme) => format!("{what}: give --scheme {scheme}"),
        Err(ThirdPartySchemeError::Refused { reason, .. }) => {
            format!("{what}, and cannot be checked from weights alone: {reason}")
        }
    }
}

/// Returns the schema that a small JSON file names; `None` if it cannot be read or names none.
pub fn schema_of(path: &Path) -> Option<String> {
    let text = read_small(path, open(path).ok()?).ok()?;
    serde_json::from_slice::<KeyFileHeader>(&text).ok().map(|head| head.schema)
}

fn open(path: &Path) -> Result<File, WatermarkKeyError> {
    regular_file::open_regular(path)
        .map_err(|source| WatermarkKeyError::Read { path: path.to_owned(), source })
}

fn read_small(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, WatermarkKeyError> {
    // Allocate the whole buffer first: a growing buffer would leave copies of the key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(|source| WatermarkKeyError::Read { path: path.to_owned(), source })?;
    if text.len() as u64 > MAX_FILE {
        let what = format!("it is longer than {MAX_FILE} bytes");
        return Err(WatermarkKeyError::Malformed { path: path.to_owned(), what });
    }
    Ok(text)
}

/// Returns the nonce for the chips of a tensor.
pub fn chip_nonce(canonical: &str) -> Nonce {
    nonce(&[canonical.as_bytes()], CONTEXT_NONCE)
}

/// The number of carrier blocks that share a dither nonce: each uses 8 blocks of the key stream, whose counter has 32
/// bits.
pub(super) const DITHER_SEGMENT: u64 = 1 << 28;

/// Returns the nonce for the dither of carrier blocks from `segment` * [`DITHER_SEGMENT`] on.
pub(super) fn dither_nonce(canonical: &str, segment: u64) -> Nonce {
    nonce(&[canonical.as_bytes(), &segment.to_le_bytes()], CONTEXT_DITHER)
}

fn nonce(parts: &[&[u8]], context: &str) -> Nonce {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut nonce = Nonce::default();
    nonce.copy_from_slice(&hasher.finalize().as_bytes()[..12]);
    nonce
}

/// Returns the start of a text from an untrusted file.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn written() -> (tempfile::TempDir, PathBuf, WatermarkKey) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.json");
        let key = WatermarkKey::generate().unwrap();
        key.write_new(&path, "for the tests").unwrap();
        (dir, path, key)
    }

    fn put(path: &Path, text: &str) {
        fs::remove_file(path).ok();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let (_dir, path, key) = written();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = WatermarkKey::read(&path).unwrap();
        assert_eq!((again.id(), again.chips()), (key.id(), key.chips()));
        assert_eq!(key.id().len(), 32);
        assert_ne!(key.id(), WatermarkKey::generate().unwrap().id());
        assert_eq!(schema_of(&path).as_deref(), Some(SCHEMA));
        // Its debug form is no secret.
        assert_eq!(format!("{key:?}"), format!("WatermarkKey({})", key.id()));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let (_dir, path, key) = written();
        let before = fs::read(&path).unwrap();
        assert!(matches!(key.write_new(&path, ""), Err(WatermarkKeyError::Exists(_))));
        let link = path.with_file_name("dangling");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(matches!(key.write_new(&link, ""), Err(WatermarkKeyError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(matches!(
            key.write_new(Path::new("/nonexistent/key"), ""),
            Err(WatermarkKeyError::Write { .. })
        ));
        let note = "n".repeat(MAX_NOTE + 1);
        assert!(matches!(key.write_new(&link, &note), Err(WatermarkKeyError::LongNote)));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, path, _) = written();
        for mode in [0o604, 0o640, 0o620, 0o601, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = WatermarkKey::read(&path).unwrap_err();
            let expected = format!("run chmod 600 {}", path.display());
            assert!(error.to_string().contains(&expected), "{error}");
        }
        assert_eq!(shell_word(Path::new("it's")), r"'it'\''s'");
        assert_eq!(shell_word(Path::new("-x")), "'-x'");
    }

    #[test]
    fn errors_in_key_files_do_not_reveal_the_key() {
        let (_dir, path, _) = written();
        let sound = fs::read_to_string(&path).unwrap();
        let secret: String = sound.split('"').nth(11).unwrap().to_owned();
        assert_eq!(secret.len(), 64);
        let other_key = sound.replace(&secret, &"0".repeat(64));
        for (text, expected) in [
            (sound[..sound.len() - 5].to_owned(), "ends early"),
            (String::new(), "ends early"),
            (sound.replace("ts-spread/1", "uchida"), "scheme \"uchida\""),
            (sound.replace("ts-spread/1", "uchida"), "give --scheme uchida"),
            (sound.replace("ts-spread/1", "seal"), "cannot be checked from weights alone"),
            (sound.replace("watermark-key/1", "seal/1"), "schema is \"tensorseal.seal/1\""),
            (sound.replace(&secret, &secret[1..]), "64 lower-case"),
            (sound.replace(&secret, &secret.to_uppercase()), "64 lower-case"),
            (other_key, "does not belong to its key"),
            (sound.replace("\"note\"", "\"nota\""), "malformed at line"),
            (sound.replace(&format!("\"{secret}\""), "17"), "malformed at line"),
            ("[]".to_owned(), "malformed"),
            ("x".repeat(MAX_FILE as usize + 1), "longer than"),
        ] {
            // A secret without a letter has no other case.
            if text == sound {
                continue;
            }
            put(&path, &text);
            let error = WatermarkKey::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(&secret[..16]), "{error}");
        }
        assert!(WatermarkKey::read(path.parent().unwrap()).is_err());
        assert!(WatermarkKey::read(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn names_and_purposes_have_values_of_their_own() {
        let key = WatermarkKey::from_secret(&[7; 32]);
        assert_eq!(key.block_offset("a"), WatermarkKey::from_secret(&[7; 32]).block_offset("a"));
        assert_ne!(key.block_offset("a"), key.block_offset("b"));
        assert_ne!(chip_nonce("a"), chip_nonce("b"));
        assert_ne!(chip_nonce("a"), dither_nonce("a", 0));
        assert_ne!(dither_nonce("a", 0), dither_nonce("a", 1));
        assert_ne!(key.chips().0, [7; 32]);
    }
}
