// `summary`: computes classes, extremes and sums of words of 32 and 64 bits.
// CPU twin: crates/engine/src/measure/summary.rs. Needs include/params.wgsl and include/u64.wgsl.
//
// There are no 64-bit atomics, so every workgroup writes a separate row, and the host merges the rows.

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
// SUM_REPLICAS tables of (low, high) pairs of words; initially zero.
@group(0) @binding(1) var<storage, read_write> replicas: array<atomic<u32>>;
@group(0) @binding(2) var<storage, read_write> rows: array<array<u32, ROW>>;
// The sum of the low halves for each bin of the high half.
@group(0) @binding(3) var<storage, read_write> low_sums: array<vec2<u32>>;
@group(0) @binding(4) var<uniform> params: Params;

const SUM_REPLICAS = 4u;
const THREADS = 256u;
// The number of words in a row: six classes, then four 64-bit numbers.
const ROW = 14u;
const NAN = 0u;
const POSITIVE_INFINITY = 1u;
const NEGATIVE_INFINITY = 2u;
const ZERO = 3u;
const SUBNORMAL = 4u;
const NEGATIVE = 5u;

struct Row {
    classes: array<u32, 6>,
    min_key: vec2<u32>,
    max_key: vec2<u32>,
    // For 64-bit words, the sums of the low and of the high halves.
    low_sum: vec2<u32>,
    high_sum: vec2<u32>,
}

var<workgroup> level: array<Row, THREADS>;

fn empty_row() -> Row {
    var row: Row;
    row.min_key = vec2<u32>(0xFFFFFFFFu);
    return row;
}

// Adds a word, which is 32 bits in x, or 64 bits in x (low) and y (high).
fn classify(row: ptr<function, Row>, word: vec2<u32>, wide: bool, float: bool, signed: bool) {
    let high = select(word.x, word.y, wide);
    let low = select(0u, word.x, wide);
    let exponent = select(0x7F800000u, 0x7FF00000u, wide);
    let sign = high >> 31u;
    let magnitude = high & 0x7FFFFFFFu;
    var key = word;
    var finite = true;
    if float {
        finite = magnitude < exponent;
        let infinite = magnitude == exponent && low == 0u;
        let zero = magnitude == 0u && low == 0u;
        (*row).classes[NAN] += u32(!finite && !infinite);
        (*row).classes[POSITIVE_INFINITY] += u32(infinite && sign == 0u);
        (*row).classes[NEGATIVE_INFINITY] += u32(infinite && sign == 1u);
        (*row).classes[ZERO] += u32(zero);
        (*row).classes[SUBNORMAL] += u32(!zero && (magnitude & exponent) == 0u);
        (*row).classes[NEGATIVE] += sign;
        key = select(word ^ select(vec2<u32>(0x80000000u, 0u), vec2<u32>(0u, 0x80000000u), wide), ~word, sign == 1u);
    } else {
        (*row).classes[ZERO] += u32(high == 0u && low == 0u);
        if signed {
            (*row).classes[NEGATIVE] += sign;
            key = word ^ select(vec2<u32>(0x80000000u, 0u), vec2<u32>(0u, 0x80000000u), wide);
        }
    }
    if !wide {
        key.y = 0u;
    }
    if finite {
        (*row).min_key = min64((*row).min_key, key);
        (*row).max_key = max64((*row).max_key, key);
    }
}

fn add_low_sum(replica: u32, word: u32) {
    let at = 2u * ((replica % SUM_REPLICAS) * BINS + (word >> 16u));
    let part = word & 0xFFFFu;
    let before = atomicAdd(&replicas[at], part);
    // The carry of this addition only.
    if before + part < before {
        atomicAdd(&replicas[at + 1u], 1u);
    }
}

@compute @workgroup_size(256)
fn classes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var row = empty_row();
    let wide = params.words >= F64;
    let float = params.words == F32 || params.words == F64;
    let signed = params.words == I32 || params.words == I64;
    let units = params.chunks * UNITS_A_CHUNK;
    for (var unit = group.x * THREADS + thread; unit < units; unit += groups.x * THREADS) {
        let v = tile[unit];
        if wide {
            for (var i = 0u; i < 4u; i += 2u) {
                let word = vec2<u32>(v[i], v[i + 1u]);
                classify(&row, word, true, float, signed);
                row.low_sum = add64(row.low_sum, vec2<u32>(word.x, 0u));
                row.high_sum = add64(row.high_sum, vec2<u32>(word.y, 0u));
            }
        } else {
            for (var i = 0u; i < 4u; i++) {
                classify(&row, vec2<u32>(v[i], 0u), false, float, signed);
                add_low_sum(group.x, v[i]);
            }
        }
    }
    level[thread] = row;
    workgroupBarrier();
    for (var width = THREADS / 2u; width > 0u; width /= 2u) {
        if thread < width {
            let other = level[thread + width];
            for (var class_index = 0u; class_index < 6u; class_index++) {
                level[thread].classes[class_index] += other.classes[class_index];
            }
            level[thread].min_key = min64(level[thread].min_key, other.min_key);
            level[thread].max_key = max64(level[thread].max_key, other.max_key);
            level[thread].low_sum = add64(level[thread].low_sum, other.low_sum);
            level[thread].high_sum = add64(level[thread].high_sum, other.high_sum);
        }
        workgroupBarrier();
    }
    if thread == 0u {
        let sum = level[0];
        rows[group.x] = array<u32, ROW>(
            sum.classes[0], sum.classes[1], sum.classes[2],
            sum.classes[3], sum.classes[4], sum.classes[5],
            sum.min_key.x, sum.min_key.y, sum.max_key.x, sum.max_key.y,
            sum.low_sum.x, sum.low_sum.y, sum.high_sum.x, sum.high_sum.y,
        );
    }
}

// One invocation for each bin.
@compute @workgroup_size(256)
fn merge(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = vec2<u32>(0u);
    for (var table = 0u; table < SUM_REPLICAS; table++) {
        let at = 2u * (table * BINS + id.x);
        sum = add64(sum, vec2<u32>(atomicLoad(&replicas[at]), atomicLoad(&replicas[at + 1u])));
    }
    low_sums[id.x] = sum;
}
