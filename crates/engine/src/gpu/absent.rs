//! Replaces the GPU engine in a build without the feature `gpu`: opening a device is an error.

use super::description::{AdapterDescription, DeviceSelector};
use super::error::GpuError;
use super::feed::{DeviceFailure, TileFeed};
use super::throughput::Throughput;
use crate::measure::chips::ChipKey;
use crate::measure::{KernelSet, TileMeasurement};
use crate::worker_pool::WorkerPool;
use tensorseal_base::dtype::Dtype;

/// An open device; no value of this type exists in a build without the feature `gpu`.
#[derive(Debug)]
pub enum Gpu {}

impl Gpu {
    /// Does not open a device.
    ///
    /// # Errors
    /// Always returns [`GpuError::NotBuiltIn`].
    pub fn open(_: &DeviceSelector) -> Result<Gpu, GpuError> {
        Err(GpuError::NotBuiltIn)
    }

    /// Cannot be called, because there is no device.
    ///
    /// # Errors
    /// Never returns.
    pub fn trust(&self, _: &[Dtype]) -> Result<(), GpuError> {
        match *self {}
    }

    /// Cannot be called, because there is no device.
    pub fn description(&self) -> &AdapterDescription {
        match *self {}
    }

    /// Cannot be called, because there is no device.
    pub fn destroy(&self) {
        match *self {}
    }

    /// Cannot be called, because there is no device.
    ///
    /// # Errors
    /// Never returns.
    pub fn stream<F: TileFeed>(&self, _: &F) -> Result<(), DeviceFailure<F::Job>> {
        match *self {}
    }

    /// Cannot be called, because there is no device.
    ///
    /// # Errors
    /// Never returns.
    pub fn measure_part(
        &self,
        _: &[u8],
        _: usize,
        _: u64,
        _: KernelSet,
        _: &[ChipKey],
    ) -> Result<TileMeasurement, GpuError> {
        match *self {}
    }

    /// Cannot be called, because there is no device.
    ///
    /// # Errors
    /// Never returns.
    pub fn benchmark(&self, _: Option<&WorkerPool>) -> Result<Vec<Throughput>, GpuError> {
        match *self {}
    }
}

/// Returns no devices.
pub fn adapters() -> Vec<AdapterDescription> {
    Vec::new()
}
