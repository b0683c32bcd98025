//! What the commands do, without their arguments and without a word printed: options in, a
//! [`Report`] out. Every decision of security is made here: which seal and which signature a
//! model is held to, what they cover, what a gate has seen, whether everything is at the end what it was at the
//! start.

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

/// The time to the second: nobody can check it any closer.
///
/// # Errors
/// [`Error::Clock`].
pub fn now() -> Result<Timestamp, Error> {
    Timestamp::from_second(Timestamp::now().as_second()).map_err(Error::Clock)
}
