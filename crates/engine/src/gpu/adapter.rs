//! Finds devices.

use super::description::{AdapterDescription, DeviceSelector};
use super::error::GpuError;
use std::sync::OnceLock;
use wgpu::{Adapter, Backends, DeviceType, Instance, InstanceDescriptor};

impl AdapterDescription {
    fn from_adapter(adapter: &Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let kind = match info.device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Cpu => "software",
            DeviceType::Other => "other",
        };
        Self {
            name: info.name,
            backend: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            kind,
            max_buffer_size: limits.max_buffer_size,
            max_storage_binding: limits.max_storage_buffer_binding_size,
        }
    }

    fn preference(&self) -> u8 {
        match self.kind {
            "discrete" => 0,
            "integrated" => 1,
            "virtual" => 2,
            "other" => 3,
            _ => 4,
        }
    }
}

/// Returns the one instance of the process: several at once hang or crash some drivers.
fn instance() -> &'static Instance {
    static INSTANCE: OnceLock<Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let descriptor = InstanceDescriptor {
            backends: Backends::PRIMARY,
            ..InstanceDescriptor::new_without_display_handle()
        };
        Instance::new(descriptor)
    })
}

/// Returns all devices, best first, each once even if several interfaces reach it.
fn enumerate() -> Vec<(AdapterDescription, Adapter)> {
    let adapters = pollster::block_on(instance().enumerate_adapters(Backends::PRIMARY));
    let mut unique: Vec<(AdapterDescription, Adapter)> = Vec::new();
    for adapter in adapters {
        let description = AdapterDescription::from_adapter(&adapter);
        let (info, bus) = (adapter.get_info(), |a: &Adapter| a.get_info().device_pci_bus_id);
        let is_duplicate = unique.iter().any(|(other, other_adapter)| {
            other.name == description.name
                && other_adapter.get_info().backend != info.backend
                && bus(other_adapter) == bus(&adapter)
        });
        if !is_duplicate {
            unique.push((description, adapter));
        }
    }
    unique.sort_by_key(|(description, _)| description.preference());
    unique
}

/// Returns the descriptions of all devices, best first; empty if there is no driver.
pub fn adapters() -> Vec<AdapterDescription> {
    enumerate().into_iter().map(|(description, _)| description).collect()
}

/// Returns the device that `selector` specifies.
pub(super) fn select(selector: &DeviceSelector) -> Result<(AdapterDescription, Adapter), GpuError> {
    let mut adapters = enumerate();
    let position = match selector {
        DeviceSelector::Any => (!adapters.is_empty()).then_some(0),
        DeviceSelector::Hardware => adapters.iter().position(|(d, _)| !d.is_software()),
        DeviceSelector::Named(requested) => {
            let lower = requested.to_lowercase();
            let position =
                adapters.iter().position(|(d, _)| d.name.to_lowercase().contains(&lower));
            if position.is_none() && !adapters.is_empty() {
                let names: Vec<_> = adapters.iter().map(|(d, _)| d.name.as_str()).collect();
                let (requested, available) = (requested.clone(), names.join(", "));
                return Err(GpuError::NotFound { requested, available });
            }
            position
        }
    };
    position.map(|index| adapters.swap_remove(index)).ok_or(GpuError::NoAdapter)
}
