// `magnitudes`: sums the steps of magnitude of each row and of each column.
// CPU twin: crates/engine/src/measure/magnitudes.rs. Needs include/structure.wgsl.
//
// There are two passes over the tile, so that neither needs an atomic for each element. In `rows`, a
// workgroup processes a range of the tile: a thread adds up elements of the same row, the workgroup adds
// up its rows in workgroup memory, and there is one global addition for each row. In `columns`, it
// processes 256 columns (or all columns of several rows if there are fewer): a thread processes 64 rows
// of one column.

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
// Sums by row that the tile touches, then by column; initially zero.
@group(0) @binding(1) var<storage, read_write> sums: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> params: StructureParams;

const THREADS = 256u;
const UNITS_A_THREAD = 8u;
const ROWS_A_THREAD = 64u;
// The number of mantissa bits that are used.
const KEPT_BITS = 4u;
// A range has at most 32,768 elements, and a row has at least 32.
const MOST_ROWS = 1025u;

var<workgroup> row_sums: array<atomic<u32>, MOST_ROWS>;
var<workgroup> column_sums: array<atomic<u32>, THREADS>;

// The steps of an element; zero if it is not finite.
fn steps(word: u32, shift: u32, bits: u32) -> u32 {
    let value = magnitude(word, shift, bits);
    // The mantissas of 8-bit types are shorter than what is used; for wider types, a shift to the left
    // would lose the exponent.
    let narrow = value << ((KEPT_BITS - params.mantissa_bits) & 31u);
    let wide = value >> ((params.mantissa_bits - KEPT_BITS) & 31u);
    let found = select(wide, narrow, params.mantissa_bits < KEPT_BITS);
    return select(0u, found, value < params.limit);
}

@compute @workgroup_size(256)
fn rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let bits = 8u * params.width;
    let unit_len = 16u / params.width;
    let first_unit = group.x * THREADS * UNITS_A_THREAD;
    let group_len = THREADS * UNITS_A_THREAD * unit_len;
    // Positions are relative to the start of the first row of the tile, which may be before the tile.
    let begin = params.first_column + first_unit * unit_len;
    let first_row = begin / params.columns;
    let last_row = (begin + group_len - 1u) / params.columns;
    var row = first_row;
    var sum = 0u;
    for (var i = 0u; i < UNITS_A_THREAD; i++) {
        let unit = i * THREADS + thread;
        let v = tile[first_unit + unit];
        let position = begin + unit * unit_len;
        // A row is longer than a unit, so a unit is in this row, or in this and the next one.
        let unit_row = position / params.columns;
        let here = params.columns - position % params.columns;
        var this_row = 0u;
        var next_row = 0u;
        var element = 0u;
        for (var lane = 0u; lane < 4u; lane++) {
            for (var shift = 0u; shift < 32u; shift += bits) {
                let found = steps(v[lane], shift, bits);
                if element < here {
                    this_row += found;
                } else {
                    next_row += found;
                }
                element++;
            }
        }
        if unit_row != row {
            atomicAdd(&row_sums[row - first_row], sum);
            row = unit_row;
            sum = 0u;
        }
        sum += this_row;
        if here < unit_len {
            atomicAdd(&row_sums[row - first_row], sum);
            row = unit_row + 1u;
            sum = next_row;
        }
    }
    atomicAdd(&row_sums[row - first_row], sum);
    workgroupBarrier();
    for (var i = thread; i <= last_row - first_row; i += THREADS) {
        let total = atomicLoad(&row_sums[i]);
        if total > 0u {
            atomicAdd(&sums[first_row + i], total);
        }
    }
}

@compute @workgroup_size(256)
fn columns(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let bits = 8u * params.width;
    let a_word = 4u / params.width;
    let elements = params.units * 4u * a_word;
    let panel = min(params.columns, THREADS);
    let rows_at_once = THREADS / panel;
    let column = group.x * THREADS + thread % panel;
    let first_row = group.y * ROWS_A_THREAD * rows_at_once + thread / panel;
    var sum = 0u;
    if thread < panel * rows_at_once && column < params.columns {
        for (var i = 0u; i < ROWS_A_THREAD; i++) {
            let row = first_row + i * rows_at_once;
            let position = row * params.columns + column;
            // Before the tile, this wraps around to a number larger than that of all elements.
            let element = position - params.first_column;
            if row < params.rows && element < elements {
                let word = element / a_word;
                sum += steps(tile[word / 4u][word % 4u], element % a_word * bits, bits);
            }
        }
        atomicAdd(&column_sums[thread % panel], sum);
    }
    workgroupBarrier();
    if thread < panel && column < params.columns {
        let total = atomicLoad(&column_sums[thread]);
        if total > 0u {
            atomicAdd(&sums[params.rows + column], total);
        }
    }
}
