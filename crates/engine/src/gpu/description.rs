//! The selection and the description of a device.

use serde::Serialize;

/// Which device to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSelector {
    /// The best device: a discrete GPU before an integrated one before a software adapter.
    Any,
    /// The best device that is no software adapter.
    Hardware,
    /// The first device whose name contains this text, ignoring case.
    Named(String),
}

/// The description of a device.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterDescription {
    /// The name of the device.
    pub name: String,
    /// The graphics interface of the device, such as `vulkan`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// The kind of the device: `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// The size of the largest buffer in bytes.
    pub max_buffer_size: u64,
    /// The size of the largest storage binding in bytes.
    pub max_storage_binding: u64,
}

impl AdapterDescription {
    /// Returns whether the device has separate memory, across a bus.
    pub fn is_discrete(&self) -> bool {
        self.kind == "discrete"
    }

    /// Returns whether the device is a software adapter.
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }
}
