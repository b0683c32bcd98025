// The parameters of the structure of a tile. The layout is that of `StructureParams` in
// crates/engine/src/gpu/structure.rs.
struct StructureParams {
    // The number of 16-byte units in the tile, a multiple of 65,536.
    units: u32,
    // The number of words of the first page that are before the tile.
    head: u32,
    // The bytes of an element, the width of the mantissa, and the smallest magnitude that is not finite.
    width: u32,
    mantissa_bits: u32,
    limit: u32,
    // The number of elements in a row, and of those of the first row that are before the tile.
    columns: u32,
    first_column: u32,
    // The number of rows that the tile touches.
    rows: u32,
    // The smallest magnitudes of the classes from the second on. The last lane is larger than any magnitude.
    thresholds: array<vec4<u32>, 3>,
}

// The magnitude of the element of `bits` bits that begins at bit `shift` of a word.
fn magnitude(word: u32, shift: u32, bits: u32) -> u32 {
    return (word >> shift) & (0x7FFFFFFFu >> (32u - bits));
}
