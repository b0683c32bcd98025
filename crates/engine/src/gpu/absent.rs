//! A build without the feature `gpu`: there is no device, and whoever asks for one is told why.

use super::description::{AdapterDescription, DeviceSelector};
use super::error::GpuError;
use super::feed::{DeviceFailure, TileFeed};
use super::throughput::Throughput;
use crate::measure::chips::ChipKey;
use crate::measure::{KernelSet, TileMeasurement};
use tensorseal_base::dtype::Dtype;

/// A device; there is none.
#[derive(Debug)]
pub enum Gpu {}

impl Gpu {
    /// # Errors
    /// Always [`GpuError::NotBuiltIn`].
    pub fn open(_: &DeviceSelector) -> Result<Gpu, GpuError> {
        Err(GpuError::NotBuiltIn)
    }

    /// As of a device that is there.
    ///
    /// # Errors
    /// None: nobody can call it.
    pub fn trust(&self, _: &[Dtype]) -> Result<(), GpuError> {
        match *self {}
    }

    /// As of a device that is there.
    pub fn description(&self) -> &AdapterDescription {
        match *self {}
    }

    /// As of a device that is there.
    pub fn destroy(&self) {
        match *self {}
    }

    /// As of a device that is there.
    ///
    /// # Errors
    /// None: nobody can call it.
    pub fn stream<F: TileFeed>(&self, _: &F) -> Result<(), DeviceFailure<F::Job>> {
        match *self {}
    }

    /// As of a device that is there.
    ///
    /// # Errors
    /// None: nobody can call it.
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

    /// As of a device that is there.
    ///
    /// # Errors
    /// None: nobody can call it.
    pub fn benchmark(&self, _: Option<&rayon::ThreadPool>) -> Result<Vec<Throughput>, GpuError> {
        match *self {}
    }
}

/// Describes all devices: there is none.
pub fn adapters() -> Vec<AdapterDescription> {
    Vec::new()
}
