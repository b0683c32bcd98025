//! Hands out big-endian numbers as little-endian ones, so that digests and kernels see one byte order
//! whatever the file has.
//!
//! Only the bytes within each number are reversed. The numbers of a quantisation block are the fields of
//! the structures of ggml (`ggml-common.h`), with the width that its reference quantiser writes: bytes
//! that it writes as one 32-bit number are reversed as one, even if the structure declares them as bytes.

use super::source::{ByteSource, PIECE_LEN, ReadError};
use std::io;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::BigEndianRange;

/// Consecutive numbers of one width in a granule of a type: the position of the first, the bytes of each,
/// and their count.
type NumberRun = (usize, usize, usize);

/// Returns the numbers of more than one byte in a granule of a type.
fn fields(dtype: Dtype) -> &'static [NumberRun] {
    use Dtype::*;
    match dtype {
        BOOL | F4 | F6_E2M3 | F6_E3M2 | U8 | I8 | F8_E5M2 | F8_E4M3 | F8_E8M0 | F8_E4M3FNUZ
        | F8_E5M2FNUZ | MXFP4 | NVFP4 => &[],
        I16 | U16 | F16 | BF16 => &[(0, 2, 1)],
        I32 | U32 | F32 => &[(0, 4, 1)],
        F64 | I64 | U64 => &[(0, 8, 1)],
        C64 => &[(0, 4, 2)],
        // A scale.
        Q4_0 | Q8_0 | IQ4_NL | IQ3_S | IQ2_S | Q1_0 | Q2_0 => &[(0, 2, 1)],
        // A scale and a minimum (or a sum).
        Q4_1 | Q8_1 | Q4_K | Q5_K => &[(0, 2, 2)],
        // The scales, then the fifth bits of the codes as one number.
        Q5_0 => &[(0, 2, 1), (2, 4, 1)],
        Q5_1 => &[(0, 2, 2), (4, 4, 1)],
        Q2_K => &[(80, 2, 2)],
        Q3_K => &[(108, 2, 1)],
        Q6_K => &[(208, 2, 1)],
        // A scale, then the sums after the codes.
        Q8_K => &[(0, 4, 1), (260, 2, 16)],
        // Signs and scales are packed into 32 bits, next to four grid indices.
        IQ2_XXS => &[(0, 2, 1), (2, 4, 16)],
        IQ2_XS => &[(0, 2, 1), (2, 2, 32)],
        IQ3_XXS => &[(0, 2, 1), (66, 4, 8)],
        IQ1_S => &[(0, 2, 1), (34, 2, 8)],
        // The scale of the block is spread over its four scale words.
        IQ1_M => &[(48, 2, 4)],
        IQ4_XS => &[(0, 2, 1), (2, 2, 1)],
        TQ1_0 => &[(52, 2, 1)],
        TQ2_0 => &[(64, 2, 1)],
    }
}

/// Swaps the byte order of the numbers of whole granules.
fn swap(dtype: Dtype, bytes: &mut [u8]) {
    let granule = granule(dtype);
    match fields(dtype) {
        [] => {}
        // Types without blocks, in a form that compilers vectorise.
        [(0, 2, 1)] if granule == 2 => {
            bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|n| n.reverse())
        }
        [(0, 4, 1)] if granule == 4 => {
            bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|n| n.reverse())
        }
        [(0, 8, 1)] if granule == 8 => {
            bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|n| n.reverse())
        }
        fields => {
            for granule in bytes.chunks_exact_mut(granule) {
                for &(start, width, count) in fields {
                    let numbers = &mut granule[start..start + width * count];
                    numbers.chunks_exact_mut(width).for_each(<[u8]>::reverse);
                }
            }
        }
    }
}

fn granule(dtype: Dtype) -> usize {
    dtype.granule().0 as usize
}

/// Returns where byte `at` of a granule is in the other byte order.
fn mirrored(dtype: Dtype, at: usize) -> usize {
    for &(start, width, count) in fields(dtype) {
        if (start..start + width * count).contains(&at) {
            let within = (at - start) % width;
            return at - within + (width - 1 - within);
        }
    }
    at
}

/// The first part of a range of a file, up to the stated position.
enum RangePart {
    /// Bytes that are handed out unchanged.
    Plain(u64),
    /// Bytes of a big-endian range.
    Swapped(u64, BigEndianRange),
}

/// Returns the first part of `position..end`.
fn first_part(ranges: &[BigEndianRange], position: u64, end: u64) -> RangePart {
    let next = ranges.partition_point(|big_endian| big_endian.range[1] <= position);
    match ranges.get(next) {
        Some(big_endian) if big_endian.range[0] <= position => {
            RangePart::Swapped(big_endian.range[1].min(end), *big_endian)
        }
        Some(big_endian) => RangePart::Plain(big_endian.range[0].min(end)),
        None => RangePart::Plain(end),
    }
}

/// The bytes of a file with its big-endian ranges converted to little-endian.
pub struct SwappedSource {
    source: Arc<dyn ByteSource>,
    /// The big-endian ranges in order; they do not overlap.
    ranges: Vec<BigEndianRange>,
}

impl SwappedSource {
    /// Converts these ranges of `source`.
    pub fn new(source: Arc<dyn ByteSource>, ranges: &[BigEndianRange]) -> SwappedSource {
        SwappedSource { source, ranges: ranges.to_vec() }
    }

    /// Hands out `position..end` of a big-endian range, piece by piece.
    fn read_swapped(
        &self,
        big_endian: &BigEndianRange,
        mut position: u64,
        end: u64,
        buffer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        let BigEndianRange { range, dtype } = *big_endian;
        let granule = granule(dtype) as u64;
        let max_len = PIECE_LEN as u64 / granule * granule;
        while position < end {
            // The whole granules that contain the requested bytes.
            let from = position - (position - range[0]) % granule;
            let to = range[0] + (end - range[0]).next_multiple_of(granule);
            let to = to.min(range[1]).min(from + max_len);
            buffer.clear();
            self.source.read(from, (to - from) as usize, &mut |bytes| {
                buffer.extend_from_slice(bytes);
            })?;
            swap(dtype, buffer);
            let until = end.min(to);
            let requested = (position - from) as usize..(until - from) as usize;
            sink(buffer.get(requested).ok_or(ReadError::Shrunk)?);
            position = until;
        }
        Ok(())
    }
}

impl ByteSource for SwappedSource {
    fn read(&self, offset: u64, len: usize, sink: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
        let end = offset.checked_add(len as u64).ok_or(ReadError::Shrunk)?;
        let mut position = offset;
        let mut buffer = Vec::new();
        while position < end {
            match first_part(&self.ranges, position, end) {
                RangePart::Plain(to) => {
                    self.source.read(position, (to - position) as usize, sink)?;
                    position = to;
                }
                RangePart::Swapped(to, big_endian) => {
                    self.read_swapped(&big_endian, position, to, &mut buffer, sink)?;
                    position = to;
                }
            }
        }
        Ok(())
    }

    fn read_ahead(&self, offset: u64, len: usize) {
        self.source.read_ahead(offset, len);
    }

    fn raw(&self) -> Option<&dyn ByteSource> {
        Some(self.source.as_ref())
    }
}

/// Writes bytes that were read from a [`SwappedSource`] at `position`, edited or not, in the byte order of
/// the file: `write` receives them with their positions in the file. Granules that begin or end outside
/// of `bytes` are written byte by byte, so that their other part may be written separately.
///
/// # Errors
/// Returns the first error of `write`.
pub fn write_back(
    ranges: &[BigEndianRange],
    mut position: u64,
    mut bytes: &mut [u8],
    write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let end = position + bytes.len() as u64;
        let (part, swapped) = match first_part(ranges, position, end) {
            RangePart::Plain(to) => (to - position, None),
            RangePart::Swapped(to, big_endian) => {
                let size = granule(big_endian.dtype) as u64;
                let within = (position - big_endian.range[0]) % size;
                // Up to the end of a partial granule, or whole granules, or the rest.
                let left = to - position;
                let part = match within {
                    0 if left >= size => left / size * size,
                    _ => left.min(size - within),
                };
                (part, Some((big_endian, within)))
            }
        };
        let (piece, rest) = std::mem::take(&mut bytes).split_at_mut(part as usize);
        match swapped {
            None => write(position, piece)?,
            Some((BigEndianRange { dtype, .. }, 0)) if piece.len() >= granule(dtype) => {
                swap(dtype, piece);
                write(position, piece)?;
            }
            Some((big_endian, within)) => {
                let begin = position - within;
                // A rest shorter than a granule was never swapped.
                let is_whole = begin + granule(big_endian.dtype) as u64 <= big_endian.range[1];
                for (at, byte) in (within as usize..).zip(piece.iter()) {
                    let at = if is_whole { mirrored(big_endian.dtype, at) } else { at };
                    write(begin + at as u64, std::slice::from_ref(byte))?;
                }
            }
        }
        bytes = rest;
        position += part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Mutex;

    /// A source in memory that hands out pieces of an odd length.
    struct MemorySource(Vec<u8>);

    impl ByteSource for MemorySource {
        fn read(
            &self,
            offset: u64,
            len: usize,
            sink: &mut dyn FnMut(&[u8]),
        ) -> Result<(), ReadError> {
            let range = offset as usize..offset as usize + len;
            let bytes = self.0.get(range).ok_or(ReadError::Shrunk)?;
            bytes.chunks(777).for_each(sink);
            Ok(())
        }
    }

    /// The plain definition: swaps every number of every granule, one after the other.
    fn plain(bytes: &[u8], ranges: &[BigEndianRange]) -> Vec<u8> {
        let mut all = bytes.to_vec();
        for BigEndianRange { range, dtype } in ranges {
            let mut at = range[0] as usize;
            while at + granule(*dtype) <= range[1] as usize {
                for &(start, width, count) in fields(*dtype) {
                    for number in 0..count {
                        let from = at + start + number * width;
                        for byte in 0..width {
                            all[from + byte] = bytes[from + width - 1 - byte];
                        }
                    }
                }
                at += granule(*dtype);
            }
        }
        all
    }

    #[test]
    fn fields_lie_in_their_granule_and_apart() {
        for dtype in Dtype::all() {
            let mut taken = vec![false; granule(dtype)];
            for &(start, width, count) in fields(dtype) {
                assert!(width > 1 && count > 0, "{dtype}");
                for byte in &mut taken[start..start + width * count] {
                    assert!(!std::mem::replace(byte, true), "{dtype}: from byte {start} on");
                }
            }
            let size = granule(dtype);
            for (at, taken) in taken.iter().enumerate() {
                assert_eq!(mirrored(dtype, mirrored(dtype, at)), at);
                assert!(*taken || mirrored(dtype, at) == at);
            }
            // Plain types are one number, complex ones two.
            assert!(
                dtype.is_block_quantised() || size == 1 || size == 3 || taken.iter().all(|&t| t),
                "{dtype}"
            );
        }
    }

    #[test]
    fn a_number_is_turned_around() {
        let big_endian = |from, to, dtype| BigEndianRange { range: [from, to], dtype };
        let source = SwappedSource::new(
            Arc::new(MemorySource((0..40).collect())),
            &[
                big_endian(1, 9, Dtype::F32),
                big_endian(9, 13, Dtype::BF16),
                big_endian(20, 38, Dtype::Q4_0),
            ],
        );
        let mut seen = Vec::new();
        source.read(0, 40, &mut |bytes| seen.extend_from_slice(bytes)).unwrap();
        assert_eq!(seen[..14], [0, 4, 3, 2, 1, 8, 7, 6, 5, 10, 9, 12, 11, 13]);
        assert_eq!(seen[18..24], [18, 19, 21, 20, 22, 23]);
        assert!(matches!(source.read(39, 2, &mut |_| {}), Err(ReadError::Shrunk)));
    }

    fn ranges() -> impl Strategy<Value = (usize, Vec<BigEndianRange>)> {
        let dtypes: Vec<Dtype> = Dtype::all().collect();
        let one = (0u64..40, proptest::sample::select(dtypes), 0u64..6, 0u64..2, any::<bool>());
        (prop::collection::vec(one, 0..5), 0usize..40).prop_map(|(parts, tail)| {
            let (mut at, mut ranges) = (0, Vec::new());
            for (gap, dtype, granules, rest, is_long) in parts {
                let start = at + gap;
                let granules = if is_long { granules * 400 } else { granules };
                at = start + granules * dtype.granule().0 + rest;
                if at > start {
                    ranges.push(BigEndianRange { range: [start, at], dtype });
                }
            }
            (at as usize + tail, ranges)
        })
    }

    proptest! {
        #[test]
        fn any_range_is_that_of_the_plain_definition(
            (len, ranges) in ranges(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
        ) {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let expected = plain(&bytes, &ranges);
            let source = SwappedSource::new(Arc::new(MemorySource(bytes)), &ranges);
            let (a, b) = (cuts[0].index(len + 1), cuts[1].index(len + 1));
            let (from, to) = (a.min(b), a.max(b));
            let mut seen = Vec::new();
            source.read(from as u64, to - from, &mut |piece| {
                assert!(piece.len() <= PIECE_LEN);
                seen.extend_from_slice(piece);
            }).unwrap();
            prop_assert_eq!(&seen, &expected[from..to]);
        }

        #[test]
        fn what_was_read_is_written_back_from_any_pieces(
            (len, ranges) in ranges(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let logical = plain(&bytes, &ranges);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
            cuts.extend([0, len]);
            cuts.sort_unstable();
            let written: Mutex<Vec<Option<u8>>> = Mutex::new(vec![None; len]);
            for pair in cuts.windows(2) {
                let mut piece = logical[pair[0]..pair[1]].to_vec();
                write_back(&ranges, pair[0] as u64, &mut piece, &mut |at, bytes| {
                    for (at, byte) in (at as usize..).zip(bytes) {
                        assert!(written.lock().unwrap()[at].replace(*byte).is_none(), "{at} twice");
                    }
                    Ok(())
                }).unwrap();
            }
            let written: Option<Vec<u8>> = written.into_inner().unwrap().into_iter().collect();
            prop_assert_eq!(written, Some(bytes));
        }
    }
}
