//! Signatures: `tensorseal sign`, and what `verify` and `gate` share of checking them.

pub(super) mod args;
pub(super) mod keys;
mod sign;
pub(super) mod signed;

pub(super) use sign::run as sign;
