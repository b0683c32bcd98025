//! Buffers of the device: how they are made, filled with ones, and read.

use super::error::GpuError;
use wgpu::{Buffer, BufferDescriptor, BufferUsages, BufferView, CommandEncoder, Device};

/// Bytes of the buffer of ones.
const ONES_LEN: u64 = 1 << 20;

/// What a kernel adds to or writes, and the host clears, fills and copies back.
pub(super) const RETURNED: BufferUsages =
    BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);

/// What the host reads.
pub(super) const READ_BACK: BufferUsages = BufferUsages::MAP_READ.union(BufferUsages::COPY_DST);

/// A buffer of so many bytes.
pub(super) fn buffer(device: &Device, size: u64, usage: BufferUsages) -> Buffer {
    device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

/// A buffer with these bytes.
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

/// All ones: results begin as this, so that a word no kernel wrote is seen.
pub(super) struct Poison(Buffer);

impl Poison {
    pub(super) fn new(device: &Device) -> Self {
        Self(filled(device, &vec![0xFF; ONES_LEN as usize], BufferUsages::COPY_SRC))
    }

    /// Encodes the filling of a part of `buffer` with ones.
    pub(super) fn fill(&self, encoder: &mut CommandEncoder, buffer: &Buffer, at: u64, len: u64) {
        for done in (0..len).step_by(ONES_LEN as usize) {
            let part = ONES_LEN.min(len - done);
            encoder.copy_buffer_to_buffer(&self.0, 0, buffer, at + done, part);
        }
    }
}

/// The first `len` bytes of a read-back buffer that is mapped.
pub(super) fn mapped(buffer: &Buffer, len: u64) -> Result<BufferView, GpuError> {
    let view = buffer.slice(..len).get_mapped_range();
    view.map_err(|error| GpuError::Failed(error.to_string()))
}

/// Device words, whatever the alignment of the mapped bytes and the byte order of the host.
pub(super) fn words_at(bytes: &[u8], at: u64, count: usize) -> Vec<u32> {
    let at = at as usize;
    bytes[at..at + 4 * count].as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}
