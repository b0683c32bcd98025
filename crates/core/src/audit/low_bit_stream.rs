//! Streams made of the lowest bits of elements, in the orders in which a payload may have been written into them.

/// The order in which bits make bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitOrder {
    /// The first bit is the lowest bit of a byte and of an element.
    LowFirst,
    /// The first bit is the highest bit of a byte, and the highest of the low bits of an element.
    HighFirst,
}

impl BitOrder {
    /// Both orders.
    pub const ALL: [BitOrder; 2] = [BitOrder::LowFirst, BitOrder::HighFirst];

    /// Returns the name of the order, for people.
    pub fn name(self) -> &'static str {
        match self {
            BitOrder::LowFirst => "low bit first",
            BitOrder::HighFirst => "high bit first",
        }
    }
}

/// A stream: which bits of each element it takes, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowBitStream {
    /// The number of lowest bits taken from each element.
    pub bits: u32,
    /// The order of the bits.
    pub order: BitOrder,
}

/// Assembles the bytes of a stream from elements that arrive in pieces.
#[derive(Debug, Clone)]
pub struct StreamExtractor {
    stream: LowBitStream,
    width: usize,
    pending: u64,
    count: u32,
}

impl StreamExtractor {
    /// Creates an extractor for elements of `width` bytes, at most 4. The stream must not take more bits than an element
    /// has.
    pub fn new(stream: LowBitStream, width: usize) -> StreamExtractor {
        StreamExtractor { stream, width, pending: 0, count: 0 }
    }

    /// Appends the bytes that `elements` complete to `out`.
    pub fn add(&mut self, elements: &[u8], out: &mut Vec<u8>) {
        let bits = self.stream.bits;
        let mask = (1u64 << bits) - 1;
        for element in elements.chunks_exact(self.width) {
            let mut word = [0; 8];
            word[..self.width].copy_from_slice(element);
            let low = u64::from_le_bytes(word) & mask;
            match self.stream.order {
                BitOrder::LowFirst => {
                    self.pending |= low << self.count;
                    self.count += bits;
                    while self.count >= 8 {
                        out.push(self.pending as u8);
                        self.pending >>= 8;
                        self.count -= 8;
                    }
                }
                BitOrder::HighFirst => {
                    self.pending = self.pending << bits | low;
                    self.count += bits;
                    while self.count >= 8 {
                        self.count -= 8;
                        out.push((self.pending >> self.count) as u8);
                    }
                    self.pending &= (1 << self.count) - 1;
                }
            }
        }
    }
}

/// Returns the streams that are searched in elements of `width` bytes, each with the number of elements by which its
/// start is shifted. The shifts make sure that a payload is found whichever element it begins with.
pub fn searched_streams(width: usize) -> impl Iterator<Item = (LowBitStream, usize)> {
    let widths: &[u32] = match width {
        2 => &[1, 2, 3, 4, 5, 6, 7, 8, 10, 16],
        _ => &[1, 2, 3, 4, 5, 6, 7, 8, 16, 23, 24, 32],
    };
    widths.iter().flat_map(|bits| {
        // Whole bytes lie the same way in both orders, or make no stream that is used in practice.
        let orders: &[BitOrder] = if bits % 8 == 0 { &BitOrder::ALL[..1] } else { &BitOrder::ALL };
        let shifts = 8 / greatest_divisor(*bits) as usize;
        orders.iter().flat_map(move |order| {
            (0..shifts).map(move |shift| (LowBitStream { bits: *bits, order: *order }, shift))
        })
    })
}

/// Returns the greatest common divisor of `bits` and 8.
fn greatest_divisor(bits: u32) -> u32 {
    1 << bits.trailing_zeros().min(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_written_payload_is_extracted(
            payload in prop::collection::vec(any::<u8>(), 1..200),
            bits in 1u32..=24,
            high in any::<bool>(),
            cut in 0usize..100,
        ) {
            let order = if high { BitOrder::HighFirst } else { BitOrder::LowFirst };
            let bit = |at: usize| match order {
                BitOrder::LowFirst => payload[at / 8] >> (at % 8) & 1,
                BitOrder::HighFirst => payload[at / 8] >> (7 - at % 8) & 1,
            };
            let total = payload.len() * 8;
            let elements: Vec<u8> = (0..total.div_ceil(bits as usize))
                .flat_map(|element| {
                    let word = (0..bits as usize).fold(0u32, |word, i| {
                        let at = element * bits as usize + i;
                        let value = u32::from(if at < total { bit(at) } else { 0 });
                        match order {
                            BitOrder::LowFirst => word | value << i,
                            BitOrder::HighFirst => word << 1 | value,
                        }
                    });
                    (0xAA00_0000 | word).to_le_bytes()
                })
                .collect();
            let mut out = Vec::new();
            let mut extractor = StreamExtractor::new(LowBitStream { bits, order }, 4);
            let cut = (4 * cut).min(elements.len());
            extractor.add(&elements[..cut], &mut out);
            extractor.add(&elements[cut..], &mut out);
            prop_assert_eq!(&out[..payload.len()], &payload[..]);
        }
    }

    #[test]
    fn every_start_of_a_payload_is_covered() {
        let shifts = |width, bits| {
            searched_streams(width)
                .filter(|(s, _)| s.bits == bits && s.order == BitOrder::LowFirst)
                .count()
        };
        assert_eq!((shifts(2, 1), shifts(2, 2), shifts(2, 4), shifts(2, 7)), (8, 4, 2, 8));
        assert_eq!((shifts(4, 8), shifts(4, 24), shifts(4, 23)), (1, 1, 8));
    }
}
