//! What the commands do, without their arguments and without a word printed: options in, a
//! [`Report`] out. Every decision of security is made here: which seal and which signature a
//! model is held to, what they cover, what a gate has seen, whether everything is at the end what it was at the
//! start.

pub mod audit;
pub mod baseline;
mod error;
pub mod gate;
mod inputs;
pub mod opening;
pub mod places;
pub mod profiles;
pub mod sealed;
pub mod signature;
pub mod trust;
pub mod verify;

pub use crate::document::Report;
pub use audit::{AuditOptions, audit};
pub use error::{Error, ErrorKind};
pub use gate::{GateOptions, Gated, gate};
pub use inputs::Inputs;
pub use opening::Opening;
pub use signature::SignatureOptions;
pub use verify::{VerifyOptions, verify};
