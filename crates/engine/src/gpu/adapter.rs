//! Finding devices.

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

/// One instance a process: several at once hang or crash some drivers.
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

/// All devices, best first, each once however many interfaces reach it.
fn found() -> Vec<(AdapterDescription, Adapter)> {
    let adapters = pollster::block_on(instance().enumerate_adapters(Backends::PRIMARY));
    let mut found: Vec<(AdapterDescription, Adapter)> = Vec::new();
    for adapter in adapters {
        let description = AdapterDescription::from_adapter(&adapter);
        let (info, bus) = (adapter.get_info(), |a: &Adapter| a.get_info().device_pci_bus_id);
        let again = found.iter().any(|(other, known)| {
            other.name == description.name
                && known.get_info().backend != info.backend
                && bus(known) == bus(&adapter)
        });
        if !again {
            found.push((description, adapter));
        }
    }
    found.sort_by_key(|(description, _)| description.preference());
    found
}

/// Describes all devices, best first; empty where there is no driver.
pub fn adapters() -> Vec<AdapterDescription> {
    found().into_iter().map(|(description, _)| description).collect()
}

/// The device that `selector` asks for.
pub(super) fn select(selector: &DeviceSelector) -> Result<(AdapterDescription, Adapter), GpuError> {
    let mut found = found();
    let position = match selector {
        DeviceSelector::Any => (!found.is_empty()).then_some(0),
        DeviceSelector::Hardware => found.iter().position(|(d, _)| !d.is_software()),
        DeviceSelector::Named(wanted) => {
            let lower = wanted.to_lowercase();
            let position = found.iter().position(|(d, _)| d.name.to_lowercase().contains(&lower));
            if position.is_none() && !found.is_empty() {
                let names: Vec<_> = found.iter().map(|(d, _)| d.name.as_str()).collect();
                let (wanted, available) = (wanted.clone(), names.join(", "));
                return Err(GpuError::NotFound { wanted, available });
            }
            position
        }
    };
    position.map(|index| found.swap_remove(index)).ok_or(GpuError::NoAdapter)
}
