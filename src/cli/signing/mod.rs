//! Signatures: `tensorseal sign`, and what `verify` and `gate` share of checking them.

pub mod args;
pub mod keys;
mod sign;
pub mod signed;

pub use sign::run as sign;
