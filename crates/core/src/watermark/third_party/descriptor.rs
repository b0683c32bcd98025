//! The descriptor of a key: a small JSON document that names its arrays.
//!
//! `{"schema": "tensorseal.watermark-key/1", "scheme": NAME, "note": text, "parts": […]}`. The members of a part
//! depend on the scheme (`docs/watermark-third-party.md`). Unknown members are refused, because they could change the
//! meaning of the key.

use super::{MAX_PARTS, codes, correlations, neuralmark, projections};
use crate::watermark::SCHEME as NATIVE;
pub use crate::watermark::key_file::scheme_of;
use crate::watermark::key_file::{MAX_NOTE, SCHEMA};
use crate::watermark::scheme::{ThirdPartyScheme, ThirdPartySchemeError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tensorseal_base::display::display_name;

/// The maximum length of a descriptor in bytes.
pub const MAX_FILE: u64 = 64 << 10;

/// An error in a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The JSON document is invalid for its scheme.
    #[error("{0}")]
    Json(String),
    /// The document has another schema.
    #[error("its schema is '{0}', not '{SCHEMA}'")]
    Schema(String),
    /// The key is one of the native scheme.
    #[error("it is a key of the scheme {NATIVE}: give --scheme {NATIVE}, or leave --scheme out")]
    Native,
    /// The scheme is not supported.
    #[error("{scheme}: {error}", scheme = quoted(scheme))]
    Scheme {
        /// The name in the document.
        scheme: String,
        /// The reason.
        error: ThirdPartySchemeError,
    },
    /// The scheme has no key.
    #[error("the scheme interval has no key: it compares with a base model")]
    NoKey,
    /// The key has no parts.
    #[error("it has no parts")]
    NoParts,
    /// The key has too many parts.
    #[error("it has more than {MAX_PARTS} parts")]
    ManyParts,
    /// The note is too long.
    #[error("its note is longer than {MAX_NOTE} bytes")]
    LongNote,
    /// The standard deviation is out of range.
    #[error("its sigma is not a positive number")]
    Sigma,
}

fn quoted(name: &str) -> String {
    format!("it is a key of scheme '{}'", display_name(name))
}

/// A parsed descriptor.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// The scheme of the key.
    pub scheme: ThirdPartyScheme,
    pub(super) parts: PartDescriptors,
}

/// The parts of a key, by scheme.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PartDescriptors {
    Projections(Vec<projections::ProjectionDescriptor>),
    Codes(Vec<codes::CodesDescriptor>),
    NeuralMark(Vec<neuralmark::NeuralMarkDescriptor>),
    Gaussian { sigma: f64, parts: Vec<correlations::NormalDescriptor> },
    Signs(Vec<correlations::SignsDescriptor>),
}

/// The members of a key file that determine its kind.
#[derive(Deserialize)]
struct DescriptorHeader {
    schema: String,
    #[serde(default)]
    scheme: String,
}

/// A descriptor, as it is stored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // read only to check that they exist
struct DescriptorDocument<P> {
    schema: String,
    scheme: String,
    #[serde(default)]
    note: String,
    parts: Vec<P>,
}

/// A descriptor of a scheme whose numbers have a standard deviation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // as above
struct ScaledDescriptorDocument<P> {
    schema: String,
    scheme: String,
    #[serde(default)]
    note: String,
    #[serde(default = "one")]
    sigma: f64,
    parts: Vec<P>,
}

fn one() -> f64 {
    1.0
}

fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, DescriptorError> {
    serde_json::from_slice(text).map_err(|error| {
        // The message may contain text of the file.
        DescriptorError::Json(display_name(&error.to_string()))
    })
}

fn parts_of<P: DeserializeOwned>(text: &[u8]) -> Result<Vec<P>, DescriptorError> {
    let document: DescriptorDocument<P> = json(text)?;
    checked(document.parts, &document.note)
}

fn checked<P>(parts: Vec<P>, note: &str) -> Result<Vec<P>, DescriptorError> {
    match parts.len() {
        _ if note.len() > MAX_NOTE => Err(DescriptorError::LongNote),
        0 => Err(DescriptorError::NoParts),
        1..=MAX_PARTS => Ok(parts),
        _ => Err(DescriptorError::ManyParts),
    }
}

impl Descriptor {
    /// Parses a descriptor.
    ///
    /// # Errors
    /// Returns a [`DescriptorError`] if the text is not a valid descriptor of a supported scheme.
    pub fn parse(text: &[u8]) -> Result<Self, DescriptorError> {
        let head: DescriptorHeader = json(text)?;
        if head.schema != SCHEMA {
            return Err(DescriptorError::Schema(display_name(&head.schema)));
        }
        if head.scheme == NATIVE {
            return Err(DescriptorError::Native);
        }
        let scheme: ThirdPartyScheme = head
            .scheme
            .parse()
            .map_err(|error| DescriptorError::Scheme { scheme: head.scheme, error })?;
        let parts = match scheme {
            ThirdPartyScheme::Uchida | ThirdPartyScheme::DeepMarks => {
                PartDescriptors::Projections(parts_of(text)?)
            }
            ThirdPartyScheme::EmMark => PartDescriptors::Codes(parts_of(text)?),
            ThirdPartyScheme::NeuralMark => PartDescriptors::NeuralMark(parts_of(text)?),
            ThirdPartyScheme::Signs => PartDescriptors::Signs(parts_of(text)?),
            ThirdPartyScheme::Gaussian => {
                let document: ScaledDescriptorDocument<correlations::NormalDescriptor> =
                    json(text)?;
                let sigma = document.sigma;
                // The range is limited so that the square does not overflow or underflow.
                if !(1e-30..=1e30).contains(&sigma) {
                    return Err(DescriptorError::Sigma);
                }
                PartDescriptors::Gaussian { sigma, parts: checked(document.parts, &document.note)? }
            }
            ThirdPartyScheme::Interval => return Err(DescriptorError::NoKey),
        };
        Ok(Self { scheme, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// A descriptor of each scheme that has a key.
    fn descriptors() -> Vec<Value> {
        let parts = [
            ("uchida", json!({ "tensor": "a", "axis": 0, "projection": "X.npy", "bits": "b.npy" })),
            (
                "deepmarks",
                json!({ "tensor": "a", "axis": 3, "projection": "X.npy", "bits": "b.npy" }),
            ),
            (
                "emmark",
                json!({
                    "tensor": "a", "packing": "nibbles", "original": "q.npy",
                    "positions": "p.npy", "signs": "s.npy",
                }),
            ),
            ("neuralmark", json!({ "tensor": "a", "key": "K.npy", "rounds": 4, "bits": "b.npy" })),
            ("gaussian", json!({ "tensor": "a", "xi": "xi.safetensors#a" })),
            ("signs", json!({ "tensor": "a", "chips": "c.npy", "positions": "p.npy" })),
        ];
        parts
            .into_iter()
            .map(|(scheme, part)| {
                json!({ "schema": SCHEMA, "scheme": scheme, "note": "why", "parts": [part] })
            })
            .collect()
    }

    fn parse(descriptor: &Value) -> Result<Descriptor, DescriptorError> {
        Descriptor::parse(descriptor.to_string().as_bytes())
    }

    fn refusal(descriptor: &Value) -> String {
        parse(descriptor).unwrap_err().to_string()
    }

    #[test]
    fn every_scheme_has_its_members() {
        for sound in descriptors() {
            let scheme = parse(&sound).unwrap().scheme;
            assert_eq!(scheme.name(), sound["scheme"]);
            assert_eq!(scheme_of(sound.to_string().as_bytes()).as_deref(), Some(scheme.name()));
            // One more member is refused, in the document and in a part.
            for change in [
                |d: &mut Value| d["extra"] = 1.into(),
                |d: &mut Value| d["parts"][0]["extra"] = 1.into(),
            ] {
                let mut more = sound.clone();
                change(&mut more);
                assert!(refusal(&more).contains("unknown field `extra`"), "{more}");
            }
            // And one less, but for those that may be missing.
            let part = sound["parts"][0].as_object().unwrap();
            for member in part.keys() {
                let mut less = sound.clone();
                less["parts"][0].as_object_mut().unwrap().remove(member);
                let may_miss = matches!(
                    (scheme, member.as_str()),
                    (ThirdPartyScheme::EmMark, "packing")
                        | (ThirdPartyScheme::NeuralMark, "bits")
                        | (ThirdPartyScheme::Gaussian, "tensor")
                        | (ThirdPartyScheme::Signs, "positions")
                );
                assert_eq!(parse(&less).is_ok(), may_miss, "{less}");
            }
            // A member of the wrong type.
            for member in part.keys() {
                let mut wrong = sound.clone();
                wrong["parts"][0][member] = json!([1]);
                assert!(matches!(parse(&wrong), Err(DescriptorError::Json(_))), "{wrong}");
            }
        }
    }

    #[test]
    fn the_document_is_checked() {
        let sound = &descriptors()[0];
        let with = |member: &str, value: Value| {
            let mut changed = sound.clone();
            changed[member] = value;
            refusal(&changed)
        };
        let part = sound["parts"][0].clone();
        for (message, expected) in [
            (with("schema", "tensorseal.seal/1".into()), "its schema is 'tensorseal.seal/1'"),
            (with("scheme", "ts-spread/1".into()), "give --scheme ts-spread/1"),
            (with("scheme", "fsw".into()), "cannot be checked from weights alone"),
            (with("scheme", "x\u{1b}y".into()), "scheme 'x\\u{1b}y': unknown scheme"),
            (with("scheme", "interval".into()), "has no key"),
            (with("parts", json!([])), "no parts"),
            (with("parts", vec![part; MAX_PARTS + 1].into()), "more than 4096 parts"),
            (with("note", "x".repeat(MAX_NOTE + 1).into()), "longer than 1024 bytes"),
            (with("sigma", json!(1)), "unknown field `sigma`"),
        ] {
            assert!(message.contains(expected), "{message} is not {expected}");
            assert!(!message.contains('\n'));
        }
        let gaussian = &descriptors()[4];
        for (sigma, is_sound) in [
            (json!(0.02), true),
            (json!(3), true),
            (json!(0), false),
            (json!(-1), false),
            (json!(1e-31), false),
            (json!(1e31), false),
            (json!(null), false),
            (json!("1"), false),
        ] {
            let mut changed = gaussian.clone();
            changed["sigma"] = sigma;
            assert_eq!(parse(&changed).is_ok(), is_sound, "{changed}");
        }
        // A member twice could mean either.
        let twice = sound.to_string().replacen("\"scheme\":", "\"note\":\"\",\"scheme\":", 1);
        let message = Descriptor::parse(twice.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("duplicate field `note`"), "{message}");
    }

    proptest! {
        #[test]
        fn hostile_descriptors_are_errors(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            which in 0usize..6,
            at in any::<prop::sample::Index>(),
            cut in 0usize..20,
        ) {
            prop_assert!(Descriptor::parse(&bytes).is_err());
            let sound = descriptors()[which].to_string().into_bytes();
            let at = at.index(sound.len());
            prop_assert!(Descriptor::parse(&sound[..at]).is_err());
            let mut near = sound.clone();
            near.splice(at..(at + cut).min(sound.len()), bytes);
            let _ = Descriptor::parse(&near);
            let _ = scheme_of(&near);
        }
    }
}
