// What the host tells the kernels of a tile's structure. The layout of this is `StructureParams` in
// crates/engine/src/gpu/structure.rs.
struct StructureParams {
    // Units of 16 bytes in the tile, a multiple of 65,536.
    units: u32,
    // Words of the tile's first page that lie before the tile.
    head: u32,
    // Bytes of an element, width of its mantissa, and the smallest magnitude that is not finite.
    width: u32,
    mantissa_bits: u32,
    limit: u32,
    // Elements of a row, and those of the tile's first row that lie before the tile.
    columns: u32,
    first_column: u32,
    // Rows that the tile touches.
    rows: u32,
    // The smallest magnitudes of the classes from the second on. No magnitude reaches the last lane.
    thresholds: array<vec4<u32>, 3>,
}

// The magnitude of the element of so many bits that begins at bit `shift` of a word.
fn magnitude(word: u32, shift: u32, bits: u32) -> u32 {
    return (word >> shift) & (0x7FFFFFFFu >> (32u - bits));
}
