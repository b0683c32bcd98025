//! Creates, fills and reads buffers of the device.

use super::error::GpuError;
use wgpu::{Buffer, BufferDescriptor, BufferUsages, BufferView, CommandEncoder, Device};

/// The size in bytes of the buffer of ones.
const ONES_LEN: u64 = 1 << 20;

/// The usage of a buffer that a kernel writes, and that the host clears, fills and copies back.
pub(super) const RETURNED: BufferUsages =
    BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);

/// The usage of a buffer that the host reads.
pub(super) const READ_BACK: BufferUsages = BufferUsages::MAP_READ.union(BufferUsages::COPY_DST);

/// Creates a buffer of `size` bytes.
pub(super) fn buffer(device: &Device, size: u64, usage: BufferUsages) -> Buffer {
    device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

/// Creates a buffer with these bytes.
pub(super) fn filled(device: &Device, bytes: &[u8], usage: BufferUsages) -> Buffer {
    let size = bytes.len() as u64;
    let buffer = device.create_buffer(&BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: true,
    });
    if let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() {
        view.copy_from_slice(bytes);
    }
    buffer.unmap();
    buffer
}

/// A buffer of ones. Results are initialised with it, so that words that no kernel wrote are noticed.
pub(super) struct Poison(Buffer);

impl Poison {
    pub(super) fn new(device: &Device) -> Self {
        Self(filled(device, &vec![0xFF; ONES_LEN as usize], BufferUsages::COPY_SRC))
    }

    /// Encodes commands that fill a part of `buffer` with ones.
    pub(super) fn fill(&self, encoder: &mut CommandEncoder, buffer: &Buffer, at: u64, len: u64) {
        for done in (0..len).step_by(ONES_LEN as usize) {
            let part = ONES_LEN.min(len - done);
            encoder.copy_buffer_to_buffer(&self.0, 0, buffer, at + done, part);
        }
    }
}

/// Returns the first `len` bytes of a mapped read-back buffer.
pub(super) fn mapped(buffer: &Buffer, len: u64) -> Result<BufferView, GpuError> {
    let view = buffer.slice(..len).get_mapped_range();
    view.map_err(|error| GpuError::Failed(error.to_string()))
}

/// Reads `count` little-endian words from byte `at` on, which need not be aligned.
pub(super) fn words_at(bytes: &[u8], at: u64, count: usize) -> Vec<u32> {
    let at = at as usize;
    bytes[at..at + 4 * count].as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}
