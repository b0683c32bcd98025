//! Stores the facts of an audit that was interrupted, so that it can be resumed. The stored form also has what a report
//! leaves out.

use super::TensorFacts;
use super::pages::PageFingerprints;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;

/// The stored form of [`TensorFacts`]. Digests are stored separately.
#[derive(Serialize, Deserialize)]
struct StoredFacts<'a> {
    facts: Cow<'a, TensorFacts>,
    prints: Cow<'a, PageFingerprints>,
    /// The byte counts of each low-bit stream.
    bytes: Vec<Cow<'a, [u64]>>,
}

/// Encodes the facts of a tensor, except for its digest and block values, as CBOR (RFC 8949). Numbers keep all their
/// bits.
///
/// # Errors
/// Returns the error of the CBOR writer. Writing to memory does not fail in practice.
pub fn store(facts: &TensorFacts) -> io::Result<Vec<u8>> {
    let streams = facts.low_bits.iter().flat_map(|low_bits| &low_bits.streams);
    let stored = StoredFacts {
        facts: Cow::Borrowed(facts),
        prints: Cow::Borrowed(&facts.prints),
        bytes: streams.map(|stream| Cow::Borrowed(stream.bytes.as_slice())).collect(),
    };
    let mut bytes = Vec::new();
    ciborium::into_writer(&stored, &mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Decodes facts that [`store`] encoded, or returns `None` if the bytes do not hold any.
pub fn restore(bytes: &[u8]) -> Option<TensorFacts> {
    let StoredFacts { facts, prints, bytes } = ciborium::from_reader(bytes).ok()?;
    let mut facts = TensorFacts { prints: prints.into_owned(), ..facts.into_owned() };
    let streams = facts.low_bits.iter_mut().flat_map(|low_bits| &mut low_bits.streams);
    for (stream, bytes) in streams.zip(bytes) {
        stream.bytes = bytes.into_owned();
    }
    Some(facts)
}
