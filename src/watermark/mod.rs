//! Watermarks: keyed marks in weights, and proof of their presence.

pub mod canonical;
