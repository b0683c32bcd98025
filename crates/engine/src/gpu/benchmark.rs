//! Times a device: each kernel on resident bytes, the copy alone, and both together.

use super::device::Gpu;
use super::error::GpuError;
use super::pipelines::{
    CODES, CORRELATION, DIGEST, HISTOGRAM, KERNELS, LOW_BITS, MAGNITUDES, PAGES, SUMMARY, WINDOWS,
};
use super::ring::MemoryFeed;
use super::spec::TileSpec;
use super::throughput::Throughput;
use super::tile::TileBuffers;
use crate::measure::chips::ChipKey;
use crate::measure::correlation::{Carrier, ElementFormat};
use crate::measure::structure::StructureLayout;
use crate::measure::{KernelSet, TILE_LEN, WordFormat};
use crate::worker_pool::WorkerPool;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tensorseal_base::dtype::Dtype;
use wgpu::{BufferUsages, CommandEncoderDescriptor};

/// The minimum duration of each measurement.
const MIN_DURATION: Duration = Duration::from_millis(300);

impl Gpu {
    /// Times every kernel, the copy, and the whole ring, whose buffers `pool` fills, on bytes that resemble
    /// bf16 weights.
    ///
    /// # Errors
    /// Returns a [`GpuError`] if the device fails.
    pub fn benchmark(&self, pool: Option<&WorkerPool>) -> Result<Vec<Throughput>, GpuError> {
        let bytes = weights(TILE_LEN);
        let key = [ChipKey([0x5A; 32])];
        let carrier =
            KernelSet { carrier: Carrier::from_dtype(Dtype::BF16, [7; 12]), ..KernelSet::DIGEST };
        let elements = ElementFormat::from_dtype(Dtype::BF16);
        let structure = KernelSet {
            layout: Some(StructureLayout { phase: 64, elements, columns: 4096 }),
            ..KernelSet::DIGEST
        };
        let quantised = KernelSet {
            codes: Some(Dtype::Q4_K),
            carrier: Carrier::from_dtype(Dtype::Q4_K, [7; 12]),
            ..KernelSet::DIGEST
        };
        let structure_and_words = KernelSet { words: Some(WordFormat::Bits16), ..structure };
        let mut rates = Vec::new();
        {
            let _one_run = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let mut buffers = TileBuffers::new(self, &self.upload_keys(&key));
            let spec = |kernels| TileSpec { offset: 0, len: TILE_LEN, halo: 0, kernels };
            let source = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("benchmark"),
                size: TILE_LEN as u64,
                usage: BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            if let Ok(mut view) = source.slice(..).get_mapped_range_mut() {
                view.copy_from_slice(&bytes);
            }
            source.unmap();
            let mut encoder =
                self.device.create_command_encoder(&CommandEncoderDescriptor::default());
            buffers.load(&mut encoder, &source);
            buffers.measure(self, &mut encoder, &spec(WordFormat::Bits16.into()));
            let warm = self.queue.submit([encoder.finish()]);
            self.wait(&warm)?;
            for (kernel, kernels, detail) in [
                (DIGEST, KernelSet::DIGEST, ""),
                (HISTOGRAM, WordFormat::Bits8.into(), " 8-bit"),
                (HISTOGRAM, WordFormat::Bits16.into(), " 16-bit"),
                (HISTOGRAM, WordFormat::F32.into(), " 32-bit"),
                (SUMMARY, WordFormat::F32.into(), " 32-bit"),
                (SUMMARY, WordFormat::F64.into(), " 64-bit"),
                (CORRELATION, carrier, " bf16, one key"),
                (PAGES, structure, ""),
                (WINDOWS, structure, " bf16"),
                (LOW_BITS, structure, " bf16"),
                (MAGNITUDES, structure, " bf16, rows of 4096"),
                (CODES, quantised, " Q4_K"),
                (CORRELATION, quantised, " Q4_K, one key"),
            ] {
                let spec = spec(kernels);
                buffers.fit(self, &spec)?;
                let rate = timed(|| {
                    let mut encoder =
                        self.device.create_command_encoder(&CommandEncoderDescriptor::default());
                    buffers.set_params(self, &spec);
                    buffers.encode_kernel(self, &mut encoder, &spec, kernel);
                    let submission = self.queue.submit([encoder.finish()]);
                    self.wait(&submission).map(|()| TILE_LEN as u64)
                })?;
                rates.push(Throughput {
                    what: format!("{}{detail}, resident", KERNELS[kernel].name),
                    bytes_per_second: rate,
                });
            }
        }
        for (what, kernels, runs_kernels) in [
            ("copy alone, staged", KernelSet::DIGEST, false),
            ("digest, end to end", KernelSet::DIGEST, true),
            ("digest and histogram 16-bit, end to end", WordFormat::Bits16.into(), true),
            ("digest and correlation bf16, one key, end to end", carrier, true),
            ("digest, histogram and structure bf16, end to end", structure_and_words, true),
        ] {
            let rate = timed(|| {
                let spec = TileSpec { offset: 0, len: TILE_LEN, halo: 0, kernels };
                let feed = MemoryFeed::new(&bytes, spec, &key, 8).with_pool(pool);
                let streamed =
                    if runs_kernels { self.stream(&feed) } else { self.stream_copies(&feed) };
                streamed.map(|()| 8 * TILE_LEN as u64).map_err(|failure| failure.error)
            })?;
            rates.push(Throughput { what: what.to_owned(), bytes_per_second: rate });
        }
        Ok(rates)
    }
}

/// Repeats `once`, which returns a number of bytes, for [`MIN_DURATION`], and returns bytes per second.
fn timed(mut once: impl FnMut() -> Result<u64, GpuError>) -> Result<f64, GpuError> {
    once()?;
    let started = Instant::now();
    let mut bytes = 0;
    while started.elapsed() < MIN_DURATION {
        bytes += once()?;
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

/// Returns bf16 words with the exponents of a normal distribution, which contend on few bins.
fn weights(len: usize) -> Vec<u8> {
    let mut random = vec![0; len * 2];
    blake3::Hasher::new().update(b"weights").finalize_xof().fill(&mut random);
    let words = random.as_chunks::<4>().0.iter().map(|r| {
        // The sum of four uniform numbers is close enough to a normal distribution.
        let sum: i32 = r.iter().map(|byte| i32::from(*byte) - 128).sum();
        (((sum as f32 + 0.5) * 1e-4).to_bits() >> 16) as u16
    });
    words.flat_map(u16::to_le_bytes).collect()
}
