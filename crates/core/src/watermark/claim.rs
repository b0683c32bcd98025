//! Claims: the commitment of the owner of a mark before a release.
//!
//! A key alone proves nothing: for any weights, matching keys can be found afterwards. A claim binds a key, a
//! payload, the root of the unmarked model and the carriers without revealing the key. If it is signed and
//! timestamped before the release, it shows that the key existed first.

use super::SCHEME;
use super::carriers::Carriers;
use super::files;
use super::key::{CONTEXT_COMMITMENT, WatermarkKey};
use super::payload::Payload;
use crate::seal::document::root_text;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tensorseal_base::regular_file;

/// The schema name of a claim.
pub const SCHEMA: &str = "tensorseal.watermark-claim/1";

/// The maximum length of a claim file in bytes.
pub const MAX_FILE: u64 = 64 << 20;

/// A claim, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The strength of the mark, relative to the root mean square of a carrier block.
    pub alpha: f64,
    /// The canonical names of the carriers, in order.
    pub carriers: Vec<String>,
    /// The commitment: `blake3:` and 64 hexadecimal digits.
    pub commitment: String,
    /// The number of finite non-zero elements of the carriers in the unmarked model.
    pub elements: u64,
    /// The id of the key.
    pub key_id: String,
    /// The payload as 16 hexadecimal digits; null for a mark without payload.
    pub payload: Option<String>,
    /// The schema name, [`SCHEMA`].
    pub schema: String,
    /// The scheme of the key.
    pub scheme: String,
    /// The root of the unmarked model.
    pub unmarked_root: String,
}

/// An error while reading or writing a claim.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The file does not exist.
    #[error("{}: no such claim", .0.display())]
    Missing(PathBuf),
    /// The output path exists.
    #[error("{} exists: claims are never overwritten; choose another name", .0.display())]
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
    /// The file is not a valid claim.
    #[error("{}: not a watermark claim: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The error in the file.
        what: String,
    },
}

impl Claim {
    /// Creates the claim to a mark of `key` on the model with this root and these carriers.
    pub fn new(
        key: &WatermarkKey,
        payload: Option<Payload>,
        alpha: f64,
        unmarked_root: &str,
        carriers: &Carriers,
        elements: u64,
    ) -> Self {
        let mut claim = Self {
            alpha,
            carriers: carriers.names().map(str::to_owned).collect(),
            commitment: String::new(),
            elements,
            key_id: key.id().to_owned(),
            payload: payload.map(|payload| payload.to_string()),
            schema: SCHEMA.to_owned(),
            scheme: SCHEME.to_owned(),
            unmarked_root: unmarked_root.to_owned(),
        };
        claim.commitment = claim.commitment_of(key);
        claim
    }

    /// Computes the commitment of the key to the scheme, the payload, the root of the unmarked model and the carriers:
    /// BLAKE3 `derive_key` over the key and these values, each preceded by its length.
    fn commitment_of(&self, key: &WatermarkKey) -> String {
        let mut parts: Vec<&[u8]> = vec![
            self.scheme.as_bytes(),
            self.payload.as_deref().unwrap_or("").as_bytes(),
            self.unmarked_root.as_bytes(),
        ];
        parts.extend(self.carriers.iter().map(String::as_bytes));
        root_text(&key.derive(CONTEXT_COMMITMENT, &parts))
    }

    /// Returns whether `key` opens the commitment.
    pub fn is_opened_by(&self, key: &WatermarkKey) -> bool {
        self.key_id == key.id() && self.commitment == self.commitment_of(key)
    }

    /// Returns the claimed payload, if any.
    pub fn payload(&self) -> Option<Payload> {
        self.payload.as_deref().and_then(|text| text.parse().ok())
    }

    /// Reads a claim file.
    ///
    /// # Errors
    /// Returns a [`ClaimError`] if the file does not exist, cannot be read, or is not a valid claim.
    pub fn read(path: &Path) -> Result<Self, ClaimError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ClaimError::Missing(path.to_owned()),
            _ => ClaimError::Read { path: path.to_owned(), source },
        };
        let file = regular_file::open_regular(path).map_err(failed)?;
        let mut text = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed)?;
        let malformed = |what: String| ClaimError::Malformed { path: path.to_owned(), what };
        if text.len() as u64 > MAX_FILE {
            return Err(malformed(format!("it is longer than {MAX_FILE} bytes")));
        }
        Self::parse(&text).map_err(malformed)
    }

    /// Parses the text of a claim.
    ///
    /// # Errors
    /// Returns what is wrong with the text, as a message for people.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let claim: Claim = serde_json::from_slice(text).map_err(|error| {
            let what: String = error.to_string().chars().take(200).collect();
            what.replace(['\n', '\r'], " ")
        })?;
        if claim.schema != SCHEMA {
            return Err(format!("its schema is not {SCHEMA:?}"));
        }
        if claim.scheme != SCHEME {
            return Err(format!("its scheme is not {SCHEME:?}"));
        }
        if claim.payload.is_some() != claim.payload().is_some() {
            return Err("its payload is not 16 hexadecimal digits".to_owned());
        }
        if !(claim.alpha > 0.0 && claim.alpha < 1.0) {
            return Err("its alpha is not between 0 and 1".to_owned());
        }
        if !claim.carriers.is_sorted() {
            return Err("its carriers are not in order".to_owned());
        }
        Ok(claim)
    }

    /// Checks that the output path of a claim does not exist.
    ///
    /// # Errors
    /// Returns [`ClaimError::Exists`] if it does.
    pub fn check_new(path: &Path) -> Result<(), ClaimError> {
        match path.symlink_metadata() {
            Ok(_) => Err(ClaimError::Exists(path.to_owned())),
            Err(_) => Ok(()),
        }
    }

    /// Writes the claim to a new file atomically.
    ///
    /// # Errors
    /// Returns [`ClaimError::Exists`] if the path exists, and [`ClaimError::Write`] if the file cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), ClaimError> {
        let failed = |source| ClaimError::Write { path: path.to_owned(), source };
        let mut text = Vec::new();
        self.write(&mut text).map_err(failed)?;
        files::write_new(path, 0o666, &text).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => ClaimError::Exists(path.to_owned()),
            _ => failed(error),
        })
    }

    /// Writes the text of the claim with members and carriers in order, so that equal claims have equal bytes.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(key: &WatermarkKey) -> Claim {
        let root = format!("blake3:{}", "5".repeat(64));
        Claim::new(key, Some(Payload(7)), 0.01, &root, &Carriers::default(), 1000)
    }

    fn text(claim: &Claim) -> Vec<u8> {
        let mut text = Vec::new();
        claim.write(&mut text).unwrap();
        text
    }

    #[test]
    fn only_its_key_opens_an_unchanged_claim() {
        let key = WatermarkKey::from_secret(&[1; 32]);
        let mine = claim(&key);
        assert!(Claim::parse(&text(&mine)).unwrap().is_opened_by(&key));
        assert!(!mine.is_opened_by(&WatermarkKey::from_secret(&[2; 32])));
        for change in [
            |c: &mut Claim| c.payload = Some(Payload(8).to_string()),
            |c: &mut Claim| c.payload = None,
            |c: &mut Claim| c.unmarked_root.replace_range(7..8, "6"),
            |c: &mut Claim| c.carriers.push("x".to_owned()),
            |c: &mut Claim| c.key_id.replace_range(0..1, "x"),
        ] {
            let mut other = mine.clone();
            change(&mut other);
            assert!(!other.is_opened_by(&key));
        }
    }

    #[test]
    fn invalid_claims_have_a_reason() {
        let sound = claim(&WatermarkKey::from_secret(&[1; 32]));
        let with = |change: fn(&mut Claim)| {
            let mut other = sound.clone();
            change(&mut other);
            Claim::parse(&text(&other)).unwrap_err()
        };
        assert!(with(|c| c.schema = "x".into()).contains("schema"));
        assert!(with(|c| c.scheme = "uchida".into()).contains("scheme"));
        assert!(with(|c| c.payload = Some("7".into())).contains("16 hexadecimal"));
        assert!(with(|c| c.alpha = 0.0).contains("alpha"));
        assert!(with(|c| c.carriers = vec!["b".into(), "a".into()]).contains("order"));
        let whole = text(&sound);
        assert!(Claim::parse(&whole[..whole.len() - 3]).is_err());
        assert!(matches!(Claim::read(Path::new("/nonexistent")), Err(ClaimError::Missing(_))));
    }

    proptest! {
        #[test]
        fn hostile_claims_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..200), at: usize) {
            prop_assert!(Claim::parse(&bytes).is_err());
            let mut near = text(&claim(&WatermarkKey::from_secret(&[1; 32])));
            let at = at % near.len();
            near.splice(at..at, bytes);
            let _ = Claim::parse(&near);
        }
    }
}
