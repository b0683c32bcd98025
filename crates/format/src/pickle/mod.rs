//! Reads pickles without executing anything.
//!
//! A pickle is a program for a stack machine. The machine here creates plain data and views of storages. Every name
//! that a pickle imports and that no weights file needs is reported, and the results of such names are unknown.

mod error;
mod globals;
mod machine;
mod operation;
mod recognise;
mod torchao;
mod value;

pub use error::{Fault, PickleError};
pub use globals::StorageType;
pub use machine::{Unpickled, unpickle};
pub(crate) use recognise::is_pickle;
pub use value::{ElementType, Node, Nodes, Storage, Value, View};

use super::problem::{BoundedErrors, StructureError};
use tensorseal_base::severity::Severity;

/// The longest pickle in bytes that is read. State dictionaries of 100,000 tensors take about 20 MB.
pub const MAX_PICKLE: u64 = 64 << 20;

/// The largest number of consecutive pickles that are examined.
const MAX_PICKLES: usize = 16;

/// The location of a pickle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PickleLocation<'a> {
    /// The name of the archive member, or empty if the file itself is the pickle.
    pub member: &'a str,
    /// The position of the first byte in the file, if the pickle is stored uncompressed.
    pub start: Option<u64>,
}

impl PickleLocation<'_> {
    fn error(&self, fault: Fault, [from, to]: [usize; 2]) -> PickleError {
        let range = self.start.map(|start| [start + from as u64, start + to as u64]);
        PickleError { member: self.member.to_owned(), fault, range }
    }
}

/// Adds faults to `errors`, the critical ones first, so that these are kept.
pub(crate) fn gather(
    faults: Vec<(Fault, [usize; 2])>,
    place: PickleLocation<'_>,
    errors: &mut BoundedErrors<PickleError>,
) {
    let mut faults: Vec<PickleError> =
        faults.into_iter().map(|(fault, range)| place.error(fault, range)).collect();
    faults.sort_by_key(|error| error.rule().1 != Severity::Critical);
    for fault in faults {
        errors.push(fault);
    }
}

/// Reads bytes that must be a single pickle. Bytes after it are reported, and their imports are checked as well.
pub(crate) fn read_only(
    bytes: &[u8],
    place: PickleLocation<'_>,
    errors: &mut BoundedErrors<PickleError>,
) -> Unpickled {
    let mut first = unpickle(bytes);
    let mut faults = std::mem::take(&mut first.faults);
    if first.value.is_some() && first.end < bytes.len() {
        faults.extend(trailing_faults(bytes, first.end));
    }
    gather(faults, place, errors);
    first
}

/// The faults of the bytes after a pickle, from `from` on.
pub(crate) fn trailing_faults(bytes: &[u8], from: usize) -> Vec<(Fault, [usize; 2])> {
    let mut faults = Vec::new();
    let (mut at, mut pickle) = (from, false);
    for _ in 0..MAX_PICKLES {
        if at >= bytes.len() {
            break;
        }
        let next = unpickle(&bytes[at..]);
        pickle |= next.value.is_some();
        // In arbitrary bytes only imports count.
        let globals = next
            .faults
            .into_iter()
            .filter(|(fault, _)| matches!(fault, Fault::Global { .. } | Fault::ComputedGlobal));
        faults.extend(globals.map(|(fault, [a, b])| (fault, [at + a, at + b])));
        if next.value.is_none() {
            break;
        }
        at += next.end;
    }
    let range = [from, bytes.len()];
    pickle |= !faults.is_empty();
    faults.insert(0, (Fault::Trailing { bytes: (bytes.len() - from) as u64, pickle }, range));
    faults
}

#[cfg(test)]
mod tests;
