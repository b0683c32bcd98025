//! What can be wrong with a pickle, and what a loader would do with it.

use super::globals::is_dangerous;
use crate::problem::{ErrorLocation, StructureError};
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// Most operations of one pickle.
pub(super) const MAX_OPERATIONS: usize = 8_000_000;

/// A fault of a pickle, or something it asks for that a file of weights needs not. `member` is where the
/// pickle is: the name of a member of an archive, or empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", place(member))]
pub struct PickleError {
    /// The member of an archive that is a pickle; empty: the file itself.
    pub member: String,
    /// What is wrong.
    pub fault: Fault,
    /// Bytes of the file that say so, where it is stored as it is.
    pub range: Option<[u64; 2]>,
}

fn place(member: &str) -> String {
    match member {
        "" => String::new(),
        member => format!("member {}: ", quoted(member)),
    }
}

/// See [`PickleError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(
        "its pickle asks for {}, which no file of weights needs; a loader that runs pickles would {}",
        quoted(&format!("{module}.{name}")),
        if is_dangerous(module, name) { "run it" } else { "import it" }
    )]
    Global { module: String, name: String },
    #[error("its pickle looks up a name that is no plain string")]
    ComputedGlobal,
    #[error("its pickle calls {what}, which is none of the functions that make tensors")]
    Call { what: String },
    #[error("its pickle sets the state of {what}")]
    Build { what: String },
    #[error("its pickle changes a tensor that it made: {what}")]
    TensorState { what: &'static str },
    #[error("its pickle keeps tensors {what}, where no name leads to them")]
    OddKey { what: String },
    #[error("its pickle has two tensors that are both called {}", quoted(name))]
    AmbiguousName { name: String },
    #[error("its pickle gives the part {} of a storage two places", quoted(key))]
    ViewKey { key: String },
    #[error(
        "its pickle uses extension code {code}, which stands for something the file does not say"
    )]
    Extension { code: u32 },
    #[error("its pickle refers to something outside that is no storage of a tensor")]
    PersistentId,
    #[error("its pickle is followed by {bytes} bytes{}", if *pickle { ", another pickle" } else { "" })]
    Trailing { bytes: u64, pickle: bool },
    #[error("its pickle ends before it is complete")]
    Truncated,
    #[error("its pickle has the unknown operation {code:#04x}")]
    Operation { code: u8 },
    #[error("its pickle is of protocol {protocol}; 0 to 5 are known")]
    Protocol { protocol: u8 },
    #[error("its pickle is not one: {what}")]
    Malformed { what: &'static str },
    #[error("its pickle is too large: more than {what}")]
    TooLarge { what: String },
    #[error("its pickle has the key {} twice in one dictionary", quoted(key))]
    DuplicateKey { key: String },
}

impl Fault {
    /// Rule identifier and severity.
    pub fn rule(&self) -> (&'static str, Severity) {
        use Fault::*;
        use Severity::*;
        let severity = match self {
            Global { module, name } if !is_dangerous(module, name) => High,
            _ => Critical,
        };
        match self {
            Global { .. } => ("format/pickle-global", severity),
            ComputedGlobal => ("format/pickle-computed-global", Critical),
            Call { .. } => ("format/pickle-call", High),
            Build { .. } => ("format/pickle-build", High),
            TensorState { .. } => ("format/torch-tensor-state", High),
            OddKey { .. } => ("format/torch-odd-key", High),
            AmbiguousName { .. } => ("format/ambiguous-name", High),
            ViewKey { .. } => ("format/torch-view-key", High),
            Extension { .. } => ("format/pickle-extension", High),
            PersistentId => ("format/pickle-persistent-id", High),
            Trailing { .. } => ("format/pickle-trailing", High),
            Truncated => ("format/pickle-truncated", High),
            Operation { .. } => ("format/pickle-operation", High),
            Protocol { .. } => ("format/pickle-protocol", High),
            Malformed { .. } => ("format/pickle-malformed", High),
            TooLarge { .. } => ("format/pickle-too-large", High),
            DuplicateKey { .. } => ("format/pickle-duplicate-key", High),
        }
    }
}

impl StructureError for PickleError {
    fn rule(&self) -> (&'static str, Severity) {
        self.fault.rule()
    }

    fn location(&self) -> ErrorLocation<'_> {
        ErrorLocation { bytes: self.range, ..ErrorLocation::default() }
    }
}
