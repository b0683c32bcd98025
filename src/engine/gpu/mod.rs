//! placeholder
use crate::measure::{TileMeasurement, Words};
use std::ops::Range;
#[derive(Debug, Clone)]
pub enum DeviceSelector {
    Any,
    Hardware,
    Named(String),
}
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    #[error("no GPU found")]
    NoAdapter,
}
pub struct TileSpec {
    pub offset: u64,
    pub len: usize,
    pub words: Option<Words>,
}
pub trait TileFeed: Sync {
    type Job: Send;
    type Error: Send;
    fn next(&self) -> Option<Self::Job>;
    fn spec(&self, job: &Self::Job) -> TileSpec;
    fn read(
        &self,
        job: &Self::Job,
        range: Range<usize>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Self::Error>;
    fn done(&self, job: Self::Job, measured: TileMeasurement);
    fn failed(&self, job: Self::Job, error: Self::Error);
}
pub struct Interrupted<J> {
    pub error: GpuError,
    pub jobs: Vec<J>,
}
pub struct AdapterDescription {
    pub name: String,
}
impl AdapterDescription {
    pub fn is_discrete(&self) -> bool {
        false
    }
}
pub struct Gpu {
    d: AdapterDescription,
}
impl Gpu {
    pub fn open(_: &DeviceSelector) -> Result<Gpu, GpuError> {
        Err(GpuError::NoAdapter)
    }
    pub fn description(&self) -> &AdapterDescription {
        &self.d
    }
    pub fn destroy(&self) {}
    pub fn measure_tile(
        &self,
        _: &[u8],
        _: u64,
        _: Option<Words>,
    ) -> Result<TileMeasurement, GpuError> {
        Err(GpuError::NoAdapter)
    }
    pub fn stream<F: TileFeed>(&self, _: &F) -> Result<(), Interrupted<F::Job>> {
        Ok(())
    }
}
