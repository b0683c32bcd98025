//! Signatures of other programs, and of this one, and what is wrong with those that were altered.

mod bundles;
mod chains;
mod fixtures;
mod hostile;
mod keys;
mod manifests;
mod round_trip;
mod vectors;
