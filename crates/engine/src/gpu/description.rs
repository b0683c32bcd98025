//! Which device is meant, and what is known of one.

use serde::Serialize;

/// Which device to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSelector {
    /// The best one: a discrete GPU before an integrated one before a software adapter.
    Any,
    /// The best one that is hardware.
    Hardware,
    /// The first whose name contains this, in any case.
    Named(String),
}

/// What is known of a device.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterDescription {
    /// Its name.
    pub name: String,
    /// Graphics interface it is reached through.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Largest buffer in bytes.
    pub max_buffer_size: u64,
    /// Largest storage binding in bytes.
    pub max_storage_binding: u64,
}

impl AdapterDescription {
    /// Whether it has memory of its own, behind a bus.
    pub fn is_discrete(&self) -> bool {
        self.kind == "discrete"
    }

    /// Whether it is a program that pretends to be a GPU.
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }
}
