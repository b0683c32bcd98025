//! Facts as they are kept until an audit that was ended goes on: all of them, also what a report leaves out.

use super::TensorFacts;
use super::pages::PageFingerprints;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;

/// See the module. What a digest says is kept beside it.
#[derive(Serialize, Deserialize)]
struct StoredFacts<'a> {
    facts: Cow<'a, TensorFacts>,
    prints: Cow<'a, PageFingerprints>,
    /// By stream of its low bits.
    bytes: Vec<Cow<'a, [u64]>>,
}

/// The facts of a tensor, but for its digest and its blocks, as CBOR (RFC 8949): numbers keep all their bits.
///
/// # Errors
/// Never of a vector; the signature is that of the writer.
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

/// The facts that [`store`] gave; `None`: the bytes are no such.
pub fn restore(bytes: &[u8]) -> Option<TensorFacts> {
    let StoredFacts { facts, prints, bytes } = ciborium::from_reader(bytes).ok()?;
    let mut facts = TensorFacts { prints: prints.into_owned(), ..facts.into_owned() };
    let streams = facts.low_bits.iter_mut().flat_map(|low_bits| &mut low_bits.streams);
    for (stream, bytes) in streams.zip(bytes) {
        stream.bytes = bytes.into_owned();
    }
    Some(facts)
}
