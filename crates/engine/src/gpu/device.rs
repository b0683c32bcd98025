//! An open device: its queue, its kernels, and its first error.

use super::adapter;
use super::block_types;
use super::description::{AdapterDescription, DeviceSelector};
use super::error::GpuError;
use super::pipelines::{CompiledKernel, KERNELS};
use super::scratch::Scratch;
use crate::measure::TILE_LEN;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tensorseal_base::quantised::HALO_LEN;
use wgpu::{Device, DeviceDescriptor, Limits, PollError, PollType, Queue, SubmissionIndex};

/// A tile takes milliseconds on hardware and about a second on a software adapter.
const TIMEOUT_SECONDS: u64 = 120;

/// An open device, which has [passed its self-test](Gpu::open).
pub struct Gpu {
    description: AdapterDescription,
    pub(super) device: Device,
    pub(super) queue: Queue,
    pub(super) kernels: Vec<CompiledKernel>,
    pub(super) scratch: Scratch,
    failure: Arc<Mutex<Option<GpuError>>>,
    /// A buffer for the values of quantisation blocks, created when they are first correlated.
    values: OnceLock<wgpu::Buffer>,
    /// Locked during a run, because its tiles share the scratch tables.
    pub(super) running: Mutex<()>,
}

impl Gpu {
    /// Opens a device with other shader sources and without a self-test, for tests with a wrong shader.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the device is not found or cannot be used, or a shader does not compile.
    #[doc(hidden)]
    pub fn with_sources(selector: &DeviceSelector, sources: &[String]) -> Result<Gpu, GpuError> {
        let (description, adapter) = adapter::select(selector)?;
        let limits = needed_limits(&description, &adapter.limits())?;
        let request = DeviceDescriptor {
            label: Some("tensorseal"),
            required_limits: limits,
            ..DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&request))
            .map_err(|error| GpuError::Failed(error.to_string()))?;
        let failure = Arc::new(Mutex::new(None));
        let record_first = |failure: &Mutex<Option<GpuError>>, error: GpuError| {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        };
        let shared = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |error| {
            let error = match error {
                wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory,
                error => GpuError::Failed(error.to_string().replace('\n', " ")),
            };
            record_first(&shared, error);
        }));
        let shared = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, text| {
            record_first(&shared, GpuError::Lost(format!("{reason:?} {text}").trim().to_owned()));
        });
        let kernels = KERNELS
            .iter()
            .zip(sources)
            .map(|(kernel, source)| CompiledKernel::new(&device, *kernel, source.clone()))
            .collect();
        let scratch = Scratch::new(&device);
        let (values, running) = (OnceLock::new(), Mutex::new(()));
        let gpu = Gpu { description, device, queue, kernels, scratch, failure, values, running };
        gpu.check()?;
        Ok(gpu)
    }

    /// Returns the description of the device.
    pub fn description(&self) -> &AdapterDescription {
        &self.description
    }

    /// Returns the buffer for the values of quantisation blocks.
    pub(super) fn values(&self) -> &wgpu::Buffer {
        self.values.get_or_init(|| block_types::values(&self.device))
    }

    /// Destroys the device as if it had been removed, for tests.
    #[doc(hidden)]
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Returns the first error that the device reported, if any.
    pub(super) fn check(&self) -> Result<(), GpuError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Waits for this submission, but not for newer ones, which overlap with it.
    pub(super) fn wait(&self, submission: &SubmissionIndex) -> Result<(), GpuError> {
        let wait = PollType::Wait {
            submission_index: Some(submission.clone()),
            timeout: Some(Duration::from_secs(TIMEOUT_SECONDS)),
        };
        let polled = self.device.poll(wait);
        self.check()?;
        match polled {
            Ok(_) => Ok(()),
            Err(PollError::Timeout) => Err(GpuError::Timeout(TIMEOUT_SECONDS)),
            Err(error) => Err(GpuError::Failed(error.to_string())),
        }
    }
}

/// Returns the limits to request: the default limits, or those of the adapter if they are smaller and
/// still sufficient.
fn needed_limits(adapter: &AdapterDescription, has: &Limits) -> Result<Limits, GpuError> {
    let largest = (TILE_LEN + HALO_LEN) as u64;
    let needs: [(&'static str, u64, u64); 5] = [
        ("max_buffer_size", has.max_buffer_size, largest),
        ("max_storage_buffer_binding_size", has.max_storage_buffer_binding_size, largest),
        (
            "max_storage_buffers_per_shader_stage",
            has.max_storage_buffers_per_shader_stage.into(),
            4,
        ),
        (
            "max_compute_invocations_per_workgroup",
            has.max_compute_invocations_per_workgroup.into(),
            256,
        ),
        (
            "max_compute_workgroup_storage_size",
            has.max_compute_workgroup_storage_size.into(),
            14_336,
        ),
    ];
    for (limit, has, needs) in needs {
        if has < needs {
            let name = adapter.name.clone();
            return Err(GpuError::Limits { name, limit, has, needs });
        }
    }
    Ok(Limits::default().or_worse_values_from(has))
}
