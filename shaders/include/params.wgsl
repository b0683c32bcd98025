// The parameters of a tile. The layout is that of `Params` in crates/engine/src/gpu/pipelines.rs.
struct Params {
    // The position of the tile in its object, in BLAKE3 chunks: low and high word.
    first_chunk: vec2<u32>,
    // The number of chunks in the tile, a multiple of 1024.
    chunks: u32,
    // The format of words: the discriminant of `measure::WordFormat`.
    words: u32,
    // The nonce of the chips of the tensor.
    nonce: vec3<u32>,
    // The number of the first carrier block of the tile.
    first_block: u32,
    // The bytes of an element, the width of the mantissa, and the smallest magnitude that is not finite.
    width: u32,
    mantissa_bits: u32,
    limit: u32,
}

const BITS8 = 0u;
const BITS16 = 1u;
const F32 = 2u;
const I32 = 3u;
const U32 = 4u;
const F64 = 5u;
const I64 = 6u;
const U64 = 7u;

// A chunk has 64 units of 16 bytes.
const UNITS_A_CHUNK = 64u;
const BINS = 65536u;
