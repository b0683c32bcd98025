//! Signatures: `tensorseal sign`, and what `verify` and `gate` share of checking them.

pub mod args;
mod attest;
pub mod check;
pub mod keys;
pub mod places;
mod sign;

pub use sign::run as sign;
