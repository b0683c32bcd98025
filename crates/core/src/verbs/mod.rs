//! The commands as functions: options in, a [`Report`] out, without printing anything. All security decisions are made
//! here: which seal and signature a model is compared with, what they cover, what evidence a gate has, and whether all
//! inputs are unchanged at the end of the run.

pub mod audit;
pub mod baseline;
pub mod compare;
mod error;
pub mod gate;
mod inputs;
pub mod inspect;
pub mod locations;
pub mod open;
pub mod output;
pub mod profiles;
pub mod reference_seal;
pub mod repair;
pub mod seal;
pub mod sign;
pub mod signature;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod verify;

pub use crate::document::Report;
pub use audit::{AuditOptions, audit};
pub use compare::{CompareOptions, compare};
pub use error::{Error, ErrorKind};
pub use gate::{GateOptions, GateResult, gate};
pub use inputs::RunInputs;
pub use inspect::{InspectOptions, inspect};
pub use open::ModelScope;
pub use repair::{RepairOptions, repair};
pub use seal::{SealOptions, seal};
pub use sign::{SignOptions, sign};
pub use signature::SignatureOptions;
pub use verify::{VerifyOptions, verify};

use jiff::Timestamp;

/// Returns the current time to the second.
///
/// # Errors
/// Returns [`Error::Clock`] if the clock shows a time that cannot be represented.
pub fn now() -> Result<Timestamp, Error> {
    Timestamp::from_second(Timestamp::now().as_second())
        .map_err(|error| Error::Clock(error.to_string()))
}
