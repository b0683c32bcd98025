//! The descriptor of a key: small JSON that names its arrays.
//!
//! `{"schema": "tensorseal.watermark-key/1", "scheme": NAME, "note": text, "parts": […]}`; what a part
//! has depends on the scheme (`docs/watermark-third-party.md`). Members that are not known are refused:
//! they could change what the key means.

use super::{MAX_PARTS, codes, correlations, neuralmark, projections};
use crate::watermark::SCHEME as NATIVE;
pub use crate::watermark::key_file::scheme_of;
use crate::watermark::key_file::{MAX_NOTE, SCHEMA};
use crate::watermark::scheme::{ThirdPartyScheme, ThirdPartySchemeError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tensorseal_base::display::display_name;

/// The longest descriptor that is read.
pub const MAX_FILE: u64 = 64 << 10;

/// Why a text is no descriptor of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Not the JSON that its scheme wants.
    #[error("{0}")]
    Json(String),
    /// Another kind of document.
    #[error("its schema is '{0}', not '{SCHEMA}'")]
    Schema(String),
    /// A key of this program's own scheme.
    #[error("it is a key of the scheme {NATIVE}: give --scheme {NATIVE}, or leave --scheme out")]
    Native,
    /// A scheme that cannot be checked.
    #[error("{scheme}: {error}", scheme = quoted(scheme))]
    Scheme {
        /// As it is written.
        scheme: String,
        /// Why not.
        error: ThirdPartySchemeError,
    },
    /// Nothing to read from a file.
    #[error("the scheme interval has no key: it compares with a base model")]
    NoKey,
    /// A key of nothing.
    #[error("it has no parts")]
    NoParts,
    /// More than any key has.
    #[error("it has more than {MAX_PARTS} parts")]
    ManyParts,
    /// A longer note than any key has.
    #[error("its note is longer than {MAX_NOTE} bytes")]
    LongNote,
    /// A standard deviation must be one.
    #[error("its sigma is not a positive number")]
    Sigma,
}

fn quoted(name: &str) -> String {
    format!("it is a key of scheme '{}'", display_name(name))
}

/// What a descriptor says.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// Whose key it is.
    pub scheme: ThirdPartyScheme,
    pub(super) parts: PartDescriptors,
}

/// The parts, by how they are read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PartDescriptors {
    Projections(Vec<projections::ProjectionDescriptor>),
    Codes(Vec<codes::CodesDescriptor>),
    NeuralMark(Vec<neuralmark::NeuralMarkDescriptor>),
    Gaussian { sigma: f64, parts: Vec<correlations::NormalDescriptor> },
    Signs(Vec<correlations::SignsDescriptor>),
}

/// What says which kind of key a file holds.
#[derive(Deserialize)]
struct DescriptorHeader {
    schema: String,
    #[serde(default)]
    scheme: String,
}

/// A descriptor as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // read to know that they are there
struct DescriptorDocument<P> {
    schema: String,
    scheme: String,
    #[serde(default)]
    note: String,
    parts: Vec<P>,
}

/// The same, of a scheme whose numbers have a standard deviation.
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
        // The message may hold the text of the file.
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
    /// Reads the text of a descriptor.
    ///
    /// # Errors
    /// See [`DescriptorError`].
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
                // Far from the ends of f64, so that its square is a number, too.
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
        for (said, expected) in [
            (with("schema", "tensorseal.seal/1".into()), "its schema is 'tensorseal.seal/1'"),
            (with("scheme", "ts-spread/1".into()), "give --scheme ts-spread/1"),
            (with("scheme", "fsw".into()), "cannot be checked from weights alone"),
            (with("scheme", "x\u{1b}y".into()), "scheme 'x\\u{1b}y': no such scheme"),
            (with("scheme", "interval".into()), "has no key"),
            (with("parts", json!([])), "no parts"),
            (with("parts", vec![part; MAX_PARTS + 1].into()), "more than 4096 parts"),
            (with("note", "x".repeat(MAX_NOTE + 1).into()), "longer than 1024 bytes"),
            (with("sigma", json!(1)), "unknown field `sigma`"),
        ] {
            assert!(said.contains(expected), "{said} is not {expected}");
            assert!(!said.contains('\n'));
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
        let said = Descriptor::parse(twice.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("duplicate field `note`"), "{said}");
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
