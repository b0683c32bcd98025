// Reads the blocks of block-quantised types: the twin of crates/base/src/quantised/.
//
// Each pipeline is for one type, so the compiler removes all other cases of each switch.

// The number of the type among the block-quantised ones, the bytes and elements of its blocks, the number of
// elements that share factors, the number of its codes, and the power of two that is the unit of its products.
override TYPE: u32 = 0u;
override SIZE: u32 = 18u;
override ELEMENTS: u32 = 32u;
override GROUP: u32 = 32u;
override CODES: u32 = 16u;
override UNIT: i32 = 0;
// The position of the scale word and of dmin in a block. No type has dmin at byte 0, so 0 means none.
override SCALE_AT: u32 = 0u;
override MINIMUM_AT: u32 = 0u;

const Q4_0 = 0u;
const Q4_1 = 1u;
const Q5_0 = 2u;
const Q5_1 = 3u;
const Q8_0 = 4u;
const Q8_1 = 5u;
const Q2_K = 6u;
const Q3_K = 7u;
const Q4_K = 8u;
const Q5_K = 9u;
const Q6_K = 10u;
const Q8_K = 11u;
const IQ2_XXS = 12u;
const IQ2_XS = 13u;
const IQ3_XXS = 14u;
const IQ1_S = 15u;
const IQ4_NL = 16u;
const IQ3_S = 17u;
const IQ2_S = 18u;
const IQ4_XS = 19u;
const IQ1_M = 20u;
const TQ1_0 = 21u;
const TQ2_0 = 22u;
const MXFP4 = 23u;
const NVFP4 = 24u;
const Q1_0 = 25u;
const Q2_0 = 26u;

// The parameters of blocks. The layout is that of `BlockParams` in crates/engine/src/gpu/blocks.rs.
struct BlockParams {
    // The position of the first block in the tile, in bytes.
    first: u32,
    // The number of whole blocks.
    blocks: u32,
    // The number of elements to write, a multiple of 512.
    elements: u32,
}

@group(0) @binding(0) var<storage, read> tile: array<u32>;
// By type and code: the value in the lowest 8 bits, signed, and in bit 8 whether the code is at an end of the
// range. After them, the points of the grids, two in each word.
@group(0) @binding(1) var<storage, read> tables: array<u32>;

// The index of the first point of each grid, as in crates/base/src/quantised/grids.rs.
const POINTS_AT = 6912u;
const GRID_IQ2_XXS = 0u;
const GRID_IQ2_XS = 256u;
const GRID_IQ2_S = 768u;
const GRID_IQ3_XXS = 1792u;
const GRID_IQ3_S = 2048u;
const GRID_IQ1 = 2560u;

fn byte_at(at: u32) -> u32 {
    return (tile[at >> 2u] >> ((at & 3u) * 8u)) & 0xFFu;
}

fn half_at(at: u32) -> u32 {
    return byte_at(at) | (byte_at(at + 1u) << 8u);
}

fn word_at(at: u32) -> u32 {
    return half_at(at) | (half_at(at + 2u) << 16u);
}

// Nibble `i` of the bytes from `at` on, the low nibble of a byte first.
fn nibble_at(at: u32, i: u32) -> u32 {
    return (byte_at(at + i / 2u) >> (4u * (i % 2u))) & 15u;
}

fn bit_at(at: u32, i: u32) -> u32 {
    return (byte_at(at + i / 8u) >> (i % 8u)) & 1u;
}

fn point(i: u32) -> u32 {
    return (tables[POINTS_AT + i / 2u] >> (16u * (i % 2u))) & 0xFFFFu;
}

// The code of an element if bytes have two codes: for each `run` bytes all low nibbles, then all high nibbles.
fn in_nibbles(at: u32, run: u32, i: u32) -> u32 {
    let byte = byte_at(at + i / (2u * run) * run + i % run);
    return (byte >> (4u * (i / run % 2u))) & 15u;
}

// The code of an element if bytes have four codes: for each 32 bytes all lowest pairs of bits first.
fn in_pairs(at: u32, i: u32) -> u32 {
    let byte = byte_at(at + i / 128u * 32u + i % 32u);
    return (byte >> (2u * (i / 32u % 4u))) & 3u;
}

// The sign of element `i` of eight, given seven stored signs: the eighth makes the number of minus signs even.
fn sign_of_seven(stored: u32, i: u32) -> u32 {
    let seven = stored & 127u;
    return select((seven >> i) & 1u, countOneBits(seven) & 1u, i == 7u);
}

// Element `i` of a point with eight elements, with the bit above its magnitude.
fn of_eight(at: u32, i: u32, above: u32) -> u32 {
    return ((point(at) >> (2u * (i % 8u))) & 3u) | (above << 2u);
}

// Element `i` of a point with four elements, with its sign.
fn of_four(at: u32, i: u32, sign: u32) -> u32 {
    return ((point(at) >> (4u * (i % 4u))) & 7u) | (sign << 3u);
}

// One of the five ternary digits of a byte, which encodes a fraction of 256.
fn digit(byte: u32, place: u32) -> u32 {
    let powers = array<u32, 5>(1u, 3u, 9u, 27u, 81u);
    return (((byte * powers[place]) & 0xFFu) * 3u) >> 8u;
}

// The code of element `i` of the block at byte `at`.
fn code_of(at: u32, i: u32) -> u32 {
    let eighth = i / 8u;
    let fourth = i / 4u;
    let group = i / 32u;
    switch TYPE {
        case Q4_0, IQ4_NL: {
            return in_nibbles(at + 2u, 16u, i);
        }
        case Q4_1: {
            return in_nibbles(at + 4u, 16u, i);
        }
        case Q5_0: {
            return in_nibbles(at + 6u, 16u, i) | (bit_at(at + 2u, i) << 4u);
        }
        case Q5_1: {
            return in_nibbles(at + 8u, 16u, i) | (bit_at(at + 4u, i) << 4u);
        }
        case Q8_0: {
            return byte_at(at + 2u + i);
        }
        case Q8_1, Q8_K: {
            return byte_at(at + 4u + i);
        }
        case Q2_K: {
            return in_pairs(at + 16u, i);
        }
        case Q3_K: {
            let high = (byte_at(at + i % 32u) >> group) & 1u;
            return in_pairs(at + 32u, i) | (high << 2u);
        }
        case Q4_K: {
            return in_nibbles(at + 16u, 32u, i);
        }
        case Q5_K: {
            let high = (byte_at(at + 16u + i % 32u) >> group) & 1u;
            return in_nibbles(at + 48u, 32u, i) | (high << 4u);
        }
        case Q6_K: {
            return in_nibbles(at, 64u, i) | (in_pairs(at + 128u, i) << 4u);
        }
        case IQ2_XXS: {
            let words = at + 2u + 8u * group;
            let sign = sign_of_seven(word_at(words + 4u) >> (7u * (eighth % 4u)), i % 8u);
            return of_eight(GRID_IQ2_XXS + byte_at(words + eighth % 4u), i, sign);
        }
        case IQ2_XS: {
            let word = half_at(at + 2u + 2u * eighth);
            return of_eight(GRID_IQ2_XS + (word & 511u), i, sign_of_seven(word >> 9u, i % 8u));
        }
        case IQ2_S: {
            let high = (byte_at(at + 66u + group) >> (2u * (eighth % 4u))) & 3u;
            let place = byte_at(at + 2u + eighth) | (high << 8u);
            return of_eight(GRID_IQ2_S + place, i, bit_at(at + 34u, i));
        }
        case IQ3_XXS: {
            let stored = word_at(at + 66u + 4u * group) >> (7u * (eighth % 4u));
            let place = byte_at(at + 2u + fourth);
            return of_four(GRID_IQ3_XXS + place, i, sign_of_seven(stored, i % 8u));
        }
        case IQ3_S: {
            let place = byte_at(at + 2u + fourth) | (bit_at(at + 66u, fourth) << 8u);
            return of_four(GRID_IQ3_S + place, i, bit_at(at + 74u, i));
        }
        case IQ1_S: {
            let word = half_at(at + 34u + 2u * group);
            let high = (word >> (3u * (eighth % 4u))) & 7u;
            let place = byte_at(at + 2u + eighth) | (high << 8u);
            return of_eight(GRID_IQ1 + place, i, word >> 15u);
        }
        case IQ1_M: {
            let nibble = nibble_at(at + 32u, eighth);
            let place = byte_at(at + eighth) | ((nibble & 7u) << 8u);
            return of_eight(GRID_IQ1 + place, i, nibble >> 3u);
        }
        case IQ4_XS: {
            return in_nibbles(at + 8u, 16u, i);
        }
        case TQ1_0: {
            if i < 160u {
                return digit(byte_at(at + i % 32u), group);
            }
            if i < 240u {
                return digit(byte_at(at + 32u + i % 16u), (i - 160u) / 16u);
            }
            return digit(byte_at(at + 48u + i % 4u), (i - 240u) / 4u);
        }
        case TQ2_0: {
            return in_pairs(at, i);
        }
        case MXFP4: {
            return in_nibbles(at + 1u, 16u, i);
        }
        case NVFP4: {
            return in_nibbles(at + 4u, 8u, i);
        }
        case Q1_0: {
            return bit_at(at + 2u, i);
        }
        case Q2_0: {
            return (byte_at(at + 2u + i / 4u) >> (2u * (i % 4u))) & 3u;
        }
        default: {
            return 0u;
        }
    }
}

fn odd(scale: u32) -> vec2<i32> {
    return vec2<i32>(i32(2u * scale + 1u), 0i);
}

// One of eight 6-bit scales and minima.
fn sixes(at: u32, group: u32) -> vec2<i32> {
    if group < 4u {
        return vec2<i32>(vec2<u32>(byte_at(at + group), byte_at(at + 4u + group)) & vec2<u32>(63u));
    }
    let rest = byte_at(at + 4u + group);
    let high = vec2<u32>(byte_at(at + group - 4u), byte_at(at + group)) >> vec2<u32>(2u);
    return vec2<i32>(vec2<u32>(rest & 15u, rest >> 4u) | (high & vec2<u32>(48u)));
}

// Half the value of an unsigned E4M3 number, in units of 2^-10.
fn half_e4m3(byte: u32) -> u32 {
    let exponent = (byte >> 3u) & 15u;
    let mantissa = byte & 7u;
    if byte == 0x7Fu {
        return 0u;
    }
    return select((8u + mantissa) << ((exponent - 1u) & 31u), mantissa, exponent == 0u);
}

// The factors of the scale (x) and of dmin (y) of the block at byte `at`, for a group of elements.
fn factors_of(at: u32, group: u32) -> vec2<i32> {
    switch TYPE {
        case Q4_1, Q5_1: {
            return vec2<i32>(1i, -1i);
        }
        case Q2_K: {
            let byte = byte_at(at + group);
            return vec2<i32>(vec2<u32>(byte & 15u, byte >> 4u));
        }
        case Q3_K: {
            let low = (byte_at(at + 96u + group % 8u) >> (4u * (group / 8u))) & 15u;
            let high = (byte_at(at + 104u + group % 4u) >> (2u * (group / 4u))) & 3u;
            return vec2<i32>(i32(low | (high << 4u)) - 32i, 0i);
        }
        case Q4_K, Q5_K: {
            return sixes(at + 4u, group);
        }
        case Q6_K: {
            return vec2<i32>(i32(byte_at(at + 192u + group) << 24u) >> 24u, 0i);
        }
        case IQ2_XXS: {
            return odd(word_at(at + 6u + 8u * group) >> 28u);
        }
        case IQ2_XS: {
            return odd(nibble_at(at + 66u, group));
        }
        case IQ2_S: {
            return odd(nibble_at(at + 74u, group));
        }
        case IQ3_XXS: {
            return odd(word_at(at + 66u + 4u * group) >> 28u);
        }
        case IQ3_S: {
            return odd(nibble_at(at + 106u, group));
        }
        case IQ1_S: {
            return odd((half_at(at + 34u + 2u * group) >> 12u) & 7u);
        }
        case IQ1_M: {
            return odd((half_at(at + 48u + group / 4u * 2u) >> (3u * (group % 4u))) & 7u);
        }
        case IQ4_XS: {
            let high = (half_at(at + 2u) >> (2u * group)) & 3u;
            return vec2<i32>(i32(nibble_at(at + 4u, group) | (high << 4u)) - 32i, 0i);
        }
        case NVFP4: {
            return vec2<i32>(i32(half_e4m3(byte_at(at + group))), 0i);
        }
        default: {
            return vec2<i32>(1i, 0i);
        }
    }
}

// The stored scale word of 8, 16 or 32 bits; for NVFP4 the first of four.
fn scale_word(at: u32) -> u32 {
    switch TYPE {
        case Q8_K: {
            return word_at(at);
        }
        case IQ1_M: {
            return (half_at(at + 48u) >> 12u) | ((half_at(at + 50u) >> 12u) << 4u)
                | ((half_at(at + 52u) >> 12u) << 8u) | ((half_at(at + 54u) >> 12u) << 12u);
        }
        case MXFP4, NVFP4: {
            return byte_at(at);
        }
        default: {
            return half_at(at + SCALE_AT);
        }
    }
}

// The value in the table entry of a code.
fn value_of(entry: u32) -> i32 {
    return i32(entry << 24u) >> 24u;
}

fn entry_of(code: u32) -> u32 {
    return tables[TYPE * 256u + code];
}
