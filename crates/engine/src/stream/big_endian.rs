//! Numbers in big-endian byte order, handed out as if they were little-endian: digests and all kernels then
//! see one byte order, whatever the file has.
//!
//! Only the bytes within each number are reversed. The numbers of a block of a quantised type are those of
//! the structures of ggml (`ggml-common.h`), of the width that its reference quantiser writes them with:
//! bytes that it writes as a number of 32 bits are one, also where the structure declares them as bytes.

use super::source::{ByteSource, PIECE_LEN, ReadError};
use std::io;
use std::sync::Arc;
use tensorseal_base::dtype::Dtype;
use tensorseal_format::BigEndianRange;

/// Numbers of one width that stand side by side in the granule of a type: where the first begins, bytes of
/// each, how many.
type NumberRun = (usize, usize, usize);

/// The numbers of more than one byte in a granule of a type.
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
        // Scales, then the fifth bits of the codes as one number.
        Q5_0 => &[(0, 2, 1), (2, 4, 1)],
        Q5_1 => &[(0, 2, 2), (4, 4, 1)],
        Q2_K => &[(80, 2, 2)],
        Q3_K => &[(108, 2, 1)],
        Q6_K => &[(208, 2, 1)],
        // A scale, then the sums behind the codes.
        Q8_K => &[(0, 4, 1), (260, 2, 16)],
        // Signs and scales are packed into 32 bits beside four places in the grid.
        IQ2_XXS => &[(0, 2, 1), (2, 4, 16)],
        IQ2_XS => &[(0, 2, 1), (2, 2, 32)],
        IQ3_XXS => &[(0, 2, 1), (66, 4, 8)],
        IQ1_S => &[(0, 2, 1), (34, 2, 8)],
        // The scale of the block is spread over its four numbers of scales.
        IQ1_M => &[(48, 2, 4)],
        IQ4_XS => &[(0, 2, 1), (2, 2, 1)],
        TQ1_0 => &[(52, 2, 1)],
        TQ2_0 => &[(64, 2, 1)],
    }
}

/// Turns the numbers of whole granules around.
fn swap(dtype: Dtype, bytes: &mut [u8]) {
    let granule = granule(dtype);
    match fields(dtype) {
        [] => {}
        // Types without blocks, in a form that compilers make vectors of.
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

/// Where the byte `at` of a granule is in the other byte order.
fn mirrored(dtype: Dtype, at: usize) -> usize {
    for &(start, width, count) in fields(dtype) {
        if (start..start + width * count).contains(&at) {
            let within = (at - start) % width;
            return at - within + (width - 1 - within);
        }
    }
    at
}

/// A part of a range of a file.
enum RangePart {
    /// As it is, up to a place.
    Plain(u64),
    /// In a stretch in big-endian byte order, up to a place.
    Swapped(u64, BigEndianRange),
}

/// The part of `position..end` that comes first.
fn first_part(stretches: &[BigEndianRange], position: u64, end: u64) -> RangePart {
    let next = stretches.partition_point(|stretch| stretch.range[1] <= position);
    match stretches.get(next) {
        Some(stretch) if stretch.range[0] <= position => {
            RangePart::Swapped(stretch.range[1].min(end), *stretch)
        }
        Some(stretch) => RangePart::Plain(stretch.range[0].min(end)),
        None => RangePart::Plain(end),
    }
}

/// The bytes of a file, its big-endian stretches turned around. See the module.
pub struct SwappedSource {
    source: Arc<dyn ByteSource>,
    /// In order, none of them overlapping another.
    stretches: Vec<BigEndianRange>,
}

impl SwappedSource {
    /// Turns these stretches of `source` around.
    pub fn new(source: Arc<dyn ByteSource>, stretches: &[BigEndianRange]) -> SwappedSource {
        SwappedSource { source, stretches: stretches.to_vec() }
    }

    /// Hands out `position..end` of a stretch, piece by piece.
    fn read_swapped(
        &self,
        stretch: &BigEndianRange,
        mut position: u64,
        end: u64,
        buffer: &mut Vec<u8>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        let BigEndianRange { range, dtype } = *stretch;
        let granule = granule(dtype) as u64;
        let most = PIECE_LEN as u64 / granule * granule;
        while position < end {
            // Whole granules around what is asked for.
            let from = position - (position - range[0]) % granule;
            let to = range[0] + (end - range[0]).next_multiple_of(granule);
            let to = to.min(range[1]).min(from + most);
            buffer.clear();
            self.source.read(from, (to - from) as usize, &mut |bytes| {
                buffer.extend_from_slice(bytes);
            })?;
            swap(dtype, buffer);
            let until = end.min(to);
            let wanted = (position - from) as usize..(until - from) as usize;
            sink(buffer.get(wanted).ok_or(ReadError::Shrunk)?);
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
            match first_part(&self.stretches, position, end) {
                RangePart::Plain(to) => {
                    self.source.read(position, (to - position) as usize, sink)?;
                    position = to;
                }
                RangePart::Swapped(to, stretch) => {
                    self.read_swapped(&stretch, position, to, &mut buffer, sink)?;
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

/// Writes bytes that were read from a [`SwappedSource`] at `position`, changed or not, as they are in the
/// file: `write` gets them with their places there. Granules that begin or end elsewhere are written byte by
/// byte, so that others may write their part.
///
/// # Errors
/// Those of `write`.
pub fn write_back(
    stretches: &[BigEndianRange],
    mut position: u64,
    mut bytes: &mut [u8],
    write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let end = position + bytes.len() as u64;
        let (part, swapped) = match first_part(stretches, position, end) {
            RangePart::Plain(to) => (to - position, None),
            RangePart::Swapped(to, stretch) => {
                let size = granule(stretch.dtype) as u64;
                let within = (position - stretch.range[0]) % size;
                // To the end of a granule that was begun, or whole granules, or the rest.
                let left = to - position;
                let part = match within {
                    0 if left >= size => left / size * size,
                    _ => left.min(size - within),
                };
                (part, Some((stretch, within)))
            }
        };
        let (piece, rest) = std::mem::take(&mut bytes).split_at_mut(part as usize);
        match swapped {
            None => write(position, piece)?,
            Some((BigEndianRange { dtype, .. }, 0)) if piece.len() >= granule(dtype) => {
                swap(dtype, piece);
                write(position, piece)?;
            }
            Some((stretch, within)) => {
                let begin = position - within;
                // A rest that is no granule was never turned around.
                let is_whole = begin + granule(stretch.dtype) as u64 <= stretch.range[1];
                for (at, byte) in (within as usize..).zip(piece.iter()) {
                    let at = if is_whole { mirrored(stretch.dtype, at) } else { at };
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

    /// The plain definition: every number of every granule, one after the other.
    fn plain(bytes: &[u8], stretches: &[BigEndianRange]) -> Vec<u8> {
        let mut all = bytes.to_vec();
        for BigEndianRange { range, dtype } in stretches {
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
        let stretch = |from, to, dtype| BigEndianRange { range: [from, to], dtype };
        let source = SwappedSource::new(
            Arc::new(MemorySource((0..40).collect())),
            &[stretch(1, 9, Dtype::F32), stretch(9, 13, Dtype::BF16), stretch(20, 38, Dtype::Q4_0)],
        );
        let mut seen = Vec::new();
        source.read(0, 40, &mut |bytes| seen.extend_from_slice(bytes)).unwrap();
        assert_eq!(seen[..14], [0, 4, 3, 2, 1, 8, 7, 6, 5, 10, 9, 12, 11, 13]);
        assert_eq!(seen[18..24], [18, 19, 21, 20, 22, 23]);
        assert!(matches!(source.read(39, 2, &mut |_| {}), Err(ReadError::Shrunk)));
    }

    fn stretches() -> impl Strategy<Value = (usize, Vec<BigEndianRange>)> {
        let dtypes: Vec<Dtype> = Dtype::all().collect();
        let one = (0u64..40, proptest::sample::select(dtypes), 0u64..6, 0u64..2, any::<bool>());
        (prop::collection::vec(one, 0..5), 0usize..40).prop_map(|(parts, tail)| {
            let (mut at, mut stretches) = (0, Vec::new());
            for (gap, dtype, granules, rest, is_long) in parts {
                let start = at + gap;
                let granules = if is_long { granules * 400 } else { granules };
                at = start + granules * dtype.granule().0 + rest;
                if at > start {
                    stretches.push(BigEndianRange { range: [start, at], dtype });
                }
            }
            (at as usize + tail, stretches)
        })
    }

    proptest! {
        #[test]
        fn any_range_is_that_of_the_plain_definition(
            (len, stretches) in stretches(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
        ) {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let expected = plain(&bytes, &stretches);
            let source = SwappedSource::new(Arc::new(MemorySource(bytes)), &stretches);
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
            (len, stretches) in stretches(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let logical = plain(&bytes, &stretches);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
            cuts.extend([0, len]);
            cuts.sort_unstable();
            let written: Mutex<Vec<Option<u8>>> = Mutex::new(vec![None; len]);
            for pair in cuts.windows(2) {
                let mut piece = logical[pair[0]..pair[1]].to_vec();
                write_back(&stretches, pair[0] as u64, &mut piece, &mut |at, bytes| {
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
