//! The errors of pickles.

use super::globals::is_dangerous;
use crate::problem::{ErrorLocation, StructureError};
use tensorseal_base::display::quoted;
use tensorseal_base::severity::Severity;

/// The largest number of operations in a pickle.
pub(super) const MAX_OPERATIONS: usize = 8_000_000;

/// A fault of a pickle, with its location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", member_prefix(member))]
pub struct PickleError {
    /// The name of the archive member that is the pickle, or empty if the file itself is.
    pub member: String,
    /// The fault.
    pub fault: Fault,
    /// The bytes of the file with the fault, if the pickle is stored uncompressed.
    pub range: Option<[u64; 2]>,
}

fn member_prefix(member: &str) -> String {
    match member {
        "" => String::new(),
        member => format!("member {}: ", quoted(member)),
    }
}

/// A fault of a pickle: damage, or something that a weights file does not need.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(
        "the pickle asks for {}, which no weights file needs; a loader that runs pickles would {}",
        quoted(&format!("{module}.{name}")),
        if is_dangerous(module, name) { "run it" } else { "import it" }
    )]
    Global { module: String, name: String },
    #[error("the pickle looks up a name that is not a plain string")]
    ComputedGlobal,
    #[error("the pickle calls {what}, which is not one of the functions that create tensors")]
    Call { what: String },
    #[error("the pickle sets the state of {what}")]
    Build { what: String },
    #[error("the pickle modifies a tensor after creating it: {what}")]
    TensorState { what: &'static str },
    #[error("the pickle has tensors {what}, where they have no name")]
    OddKey { what: String },
    #[error("the pickle has two tensors with the name {}", quoted(name))]
    AmbiguousName { name: String },
    #[error("the pickle gives two positions for the part {} of a storage", quoted(key))]
    ViewKey { key: String },
    #[error("the pickle uses extension code {code}, whose meaning is not in the file")]
    Extension { code: u32 },
    #[error("the pickle refers to an external object that is not a tensor storage")]
    PersistentId,
    #[error("the pickle is followed by {bytes} bytes{}", if *pickle { ", another pickle" } else { "" })]
    Trailing { bytes: u64, pickle: bool },
    #[error("the pickle is truncated")]
    Truncated,
    #[error("the pickle has the unknown operation {code:#04x}")]
    Operation { code: u8 },
    #[error("the pickle has protocol {protocol}; supported are 0 to 5")]
    Protocol { protocol: u8 },
    #[error("the pickle is malformed: {what}")]
    Malformed { what: &'static str },
    #[error("the pickle is too large: more than {what}")]
    TooLarge { what: String },
    #[error("the pickle has the key {} twice in the same dictionary", quoted(key))]
    DuplicateKey { key: String },
}

impl Fault {
    /// The rule identifier and the severity of the fault.
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
