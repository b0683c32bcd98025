//! Signatures: `tensorseal sign`, and what `verify` and `gate` share of checking them.

pub mod args;
mod attest;
pub mod keys;
mod places;
mod sign;
pub mod signed;

pub use sign::run as sign;
