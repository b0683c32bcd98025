//! How fast a device is: each kernel on bytes that are there already, the copy alone, and both.

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
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tensorseal_base::dtype::Dtype;
use wgpu::{BufferUsages, CommandEncoderDescriptor};

/// How long each thing is timed for, at least.
const LONG_ENOUGH: Duration = Duration::from_millis(300);

impl Gpu {
    /// Times every kernel, the copy and the whole ring, which `pool` fills, on bytes that look like bf16
    /// weights.
    ///
    /// # Errors
    /// When the device fails.
    pub fn benchmark(&self, pool: Option<&rayon::ThreadPool>) -> Result<Vec<Throughput>, GpuError> {
        let bytes = weights(TILE_LEN);
        let key = [ChipKey([0x5A; 32])];
        let carried =
            KernelSet { carrier: Carrier::from_dtype(Dtype::BF16, [7; 12]), ..KernelSet::DIGEST };
        let elements = ElementFormat::from_dtype(Dtype::BF16);
        let ordered = KernelSet {
            layout: Some(StructureLayout { phase: 64, elements, columns: 4096 }),
            ..KernelSet::DIGEST
        };
        let quantised = KernelSet {
            codes: Some(Dtype::Q4_K),
            carrier: Carrier::from_dtype(Dtype::Q4_K, [7; 12]),
            ..KernelSet::DIGEST
        };
        let structured = KernelSet { words: Some(WordFormat::Bits16), ..ordered };
        let mut rates = Vec::new();
        {
            let _one_run = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let mut slot = TileBuffers::new(self, &self.upload_keys(&key));
            let spec = |wanted| TileSpec { offset: 0, len: TILE_LEN, halo: 0, kernels: wanted };
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
            slot.load(&mut encoder, &source);
            slot.measure(self, &mut encoder, &spec(WordFormat::Bits16.into()));
            let warm = self.queue.submit([encoder.finish()]);
            self.wait(&warm)?;
            for (kernel, wanted, detail) in [
                (DIGEST, KernelSet::DIGEST, ""),
                (HISTOGRAM, WordFormat::Bits8.into(), " 8-bit"),
                (HISTOGRAM, WordFormat::Bits16.into(), " 16-bit"),
                (HISTOGRAM, WordFormat::F32.into(), " 32-bit"),
                (SUMMARY, WordFormat::F32.into(), " 32-bit"),
                (SUMMARY, WordFormat::F64.into(), " 64-bit"),
                (CORRELATION, carried, " bf16, one key"),
                (PAGES, ordered, ""),
                (WINDOWS, ordered, " bf16"),
                (LOW_BITS, ordered, " bf16"),
                (MAGNITUDES, ordered, " bf16, rows of 4096"),
                (CODES, quantised, " Q4_K"),
                (CORRELATION, quantised, " Q4_K, one key"),
            ] {
                let spec = spec(wanted);
                slot.fit(self, &spec)?;
                let rate = timed(|| {
                    let mut encoder =
                        self.device.create_command_encoder(&CommandEncoderDescriptor::default());
                    slot.set_params(self, &spec);
                    slot.encode_kernel(self, &mut encoder, &spec, kernel);
                    let submission = self.queue.submit([encoder.finish()]);
                    self.wait(&submission).map(|()| TILE_LEN as u64)
                })?;
                rates.push(Throughput {
                    what: format!("{}{detail}, resident", KERNELS[kernel].name),
                    bytes_per_second: rate,
                });
            }
        }
        for (what, wanted, kernels) in [
            ("copy alone, staged", KernelSet::DIGEST, false),
            ("digest, end to end", KernelSet::DIGEST, true),
            ("digest and histogram 16-bit, end to end", WordFormat::Bits16.into(), true),
            ("digest and correlation bf16, one key, end to end", carried, true),
            ("digest, histogram and structure bf16, end to end", structured, true),
        ] {
            let rate = timed(|| {
                let spec = TileSpec { offset: 0, len: TILE_LEN, halo: 0, kernels: wanted };
                let feed = MemoryFeed::new(&bytes, spec, &key, 8).with_pool(pool);
                let streamed = if kernels { self.stream(&feed) } else { self.stream_copies(&feed) };
                streamed.map(|()| 8 * TILE_LEN as u64).map_err(|interrupted| interrupted.error)
            })?;
            rates.push(Throughput { what: what.to_owned(), bytes_per_second: rate });
        }
        Ok(rates)
    }
}

/// Bytes a second of something that is repeated until it took long enough.
fn timed(mut once: impl FnMut() -> Result<u64, GpuError>) -> Result<f64, GpuError> {
    once()?;
    let started = Instant::now();
    let mut bytes = 0;
    while started.elapsed() < LONG_ENOUGH {
        bytes += once()?;
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

/// bf16 words with the exponents of a normal distribution: what contends on few bins.
fn weights(len: usize) -> Vec<u8> {
    let mut random = vec![0; len * 2];
    blake3::Hasher::new().update(b"weights").finalize_xof().fill(&mut random);
    let words = random.as_chunks::<4>().0.iter().map(|r| {
        // The sum of four uniform numbers is close enough to normal.
        let sum: i32 = r.iter().map(|byte| i32::from(*byte) - 128).sum();
        (((sum as f32 + 0.5) * 1e-4).to_bits() >> 16) as u16
    });
    words.flat_map(u16::to_le_bytes).collect()
}
