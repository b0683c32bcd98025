//! The constants and tables of block-quantised types on a device.

use super::buffers::{RETURNED, buffer, filled};
use tensorseal_base::dtype::Dtype;
use tensorseal_base::quantised::grids::GRIDS;
use tensorseal_base::quantised::{self, UNIT_LEN};
use wgpu::{Buffer, BufferUsages, Device};

/// The number of units whose values are computed at once, 32 MiB.
pub(super) const PART_UNITS: usize = 16 << 10;
const PART_LEN: u64 = (PART_UNITS * UNIT_LEN * 4) as u64;

/// Creates the buffer with the values of codes and the points of grids.
pub(super) fn tables(device: &Device) -> Buffer {
    let mut words: Vec<u32> = Dtype::block_quantised()
        .filter_map(quantised::block_format)
        .flat_map(|format| {
            (0..=255u8).map(|code| {
                let value = format.values[usize::from(code)] as u8;
                u32::from(value) | u32::from((format.extreme)(code)) << 8
            })
        })
        .collect();
    let points = GRIDS.as_chunks::<2>().0.iter();
    words.extend(points.map(|[low, high]| u32::from(*low) | u32::from(*high) << 16));
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    filled(device, &bytes, BufferUsages::STORAGE)
}

/// Creates the buffer for the values of a part. Its users run one after the other in the queue.
pub(super) fn values(device: &Device) -> Buffer {
    buffer(device, PART_LEN, RETURNED)
}

/// Returns the overrides of `shaders/include/blocks.wgsl` for the pipelines of a type.
pub(super) fn constants(dtype: Dtype) -> Vec<(&'static str, f64)> {
    let Some(format) = quantised::block_format(dtype) else { return Vec::new() };
    let (bytes, elements) = dtype.granule();
    let scale_at = match format.scale {
        quantised::ScaleEncoding::F16(at) => at,
        _ => 0,
    };
    vec![
        ("TYPE", quantised::type_index(dtype).unwrap_or(0) as f64),
        ("SIZE", bytes as f64),
        ("ELEMENTS", elements as f64),
        ("GROUP", format.group as f64),
        ("CODES", format.codes as f64),
        ("UNIT", f64::from(format.unit)),
        ("SCALE_AT", scale_at as f64),
        ("MINIMUM_AT", format.minimum.unwrap_or(0) as f64),
    ]
}
