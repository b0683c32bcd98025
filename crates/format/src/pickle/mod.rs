//! Pickles, read without executing anything.
//!
//! A pickle is a program for a machine with a stack. The one here makes plain data and places of
//! tensors; whatever name a pickle asks for that no file of weights needs is told of, and what would come
//! of it is not known.

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

/// Longest pickle that is read: state dictionaries of 100,000 tensors take some 20 MB.
pub const MAX_PICKLE: u64 = 64 << 20;

/// Most pickles behind one another in one place.
const MAX_PICKLES: usize = 16;

/// Where a pickle lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PickleLocation<'a> {
    /// The member of an archive; empty: the file itself.
    pub member: &'a str,
    /// Position in the file of its first byte, where it is stored as it is.
    pub start: Option<u64>,
}

impl PickleLocation<'_> {
    fn error(&self, fault: Fault, [from, to]: [usize; 2]) -> PickleError {
        let range = self.start.map(|start| [start + from as u64, start + to as u64]);
        PickleError { member: self.member.to_owned(), fault, range }
    }
}

/// Gathers faults, the gravest first, so that those are the ones that are kept.
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

/// Reads a place that must hold one pickle and nothing else. What follows it is told of, and examined
/// for names, too.
pub(crate) fn read_only(
    bytes: &[u8],
    place: PickleLocation<'_>,
    errors: &mut BoundedErrors<PickleError>,
) -> Unpickled {
    let mut first = unpickle(bytes);
    let mut faults = std::mem::take(&mut first.faults);
    if first.value.is_some() && first.end < bytes.len() {
        faults.extend(behind(bytes, first.end));
    }
    gather(faults, place, errors);
    first
}

/// What follows a pickle.
pub(crate) fn behind(bytes: &[u8], from: usize) -> Vec<(Fault, [usize; 2])> {
    let mut found = Vec::new();
    let (mut at, mut pickle) = (from, false);
    for _ in 0..MAX_PICKLES {
        if at >= bytes.len() {
            break;
        }
        let next = unpickle(&bytes[at..]);
        pickle |= next.value.is_some();
        // Of arbitrary bytes only what they ask for counts.
        let globals = next
            .faults
            .into_iter()
            .filter(|(fault, _)| matches!(fault, Fault::Global { .. } | Fault::ComputedGlobal));
        found.extend(globals.map(|(fault, [a, b])| (fault, [at + a, at + b])));
        if next.value.is_none() {
            break;
        }
        at += next.end;
    }
    let range = [from, bytes.len()];
    pickle |= !found.is_empty();
    found.insert(0, (Fault::Trailing { bytes: (bytes.len() - from) as u64, pickle }, range));
    found
}

#[cfg(test)]
mod tests;
