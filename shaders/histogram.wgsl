// `histogram`: counts words exactly.
// CPU twin: crates/engine/src/measure/histogram.rs. Needs include/params.wgsl.
//
// Weights have few exponents, so most counts are in few bins, where atomics wait for one another.
// Workgroups therefore count into replicas of the table, which `merge` adds up.

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
// HIGH_REPLICAS tables by whole words or high halves, then LOW_REPLICAS tables by low halves; initially zero.
@group(0) @binding(1) var<storage, read_write> replicas: array<atomic<u32>>;
// Counts by high half (or whole word), then by low half.
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

const HIGH_REPLICAS = 8u;
// Low halves are distributed evenly, so fewer tables are enough.
const LOW_REPLICAS = 2u;
const THREADS = 256u;

fn count_high(replica: u32, bin: u32) {
    atomicAdd(&replicas[(replica % HIGH_REPLICAS) * BINS + bin], 1u);
}

fn count_low(replica: u32, bin: u32) {
    atomicAdd(&replicas[(HIGH_REPLICAS + replica % LOW_REPLICAS) * BINS + bin], 1u);
}

var<workgroup> bytes: array<atomic<u32>, 256>;

// 8-bit words: 256 bins fit workgroup memory.
@compute @workgroup_size(256)
fn count_bytes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    atomicStore(&bytes[thread], 0u);
    workgroupBarrier();
    let units = params.chunks * UNITS_A_CHUNK;
    for (var unit = group.x * THREADS + thread; unit < units; unit += groups.x * THREADS) {
        let v = tile[unit];
        for (var i = 0u; i < 4u; i++) {
            for (var shift = 0u; shift < 32u; shift += 8u) {
                atomicAdd(&bytes[(v[i] >> shift) & 0xFFu], 1u);
            }
        }
    }
    workgroupBarrier();
    let count = atomicLoad(&bytes[thread]);
    if count > 0u {
        atomicAdd(&replicas[(group.x % HIGH_REPLICAS) * BINS + thread], count);
    }
}

// Words of 16, 32 and 64 bits.
@compute @workgroup_size(256)
fn count_words(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let units = params.chunks * UNITS_A_CHUNK;
    for (var unit = group.x * THREADS + thread; unit < units; unit += groups.x * THREADS) {
        let v = tile[unit];
        if params.words == BITS16 {
            for (var i = 0u; i < 4u; i++) {
                count_high(group.x, v[i] & 0xFFFFu);
                count_high(group.x, v[i] >> 16u);
            }
        } else if params.words <= U32 {
            for (var i = 0u; i < 4u; i++) {
                count_high(group.x, v[i] >> 16u);
                count_low(group.x, v[i] & 0xFFFFu);
            }
        } else {
            // Words are little-endian: the second one of a pair has the highest bits.
            for (var i = 0u; i < 4u; i += 2u) {
                count_high(group.x, v[i + 1u] >> 16u);
                count_low(group.x, v[i] & 0xFFFFu);
            }
        }
    }
}

// One invocation for each bin.
@compute @workgroup_size(256)
fn merge(@builtin(global_invocation_id) id: vec3<u32>) {
    var first = 0u;
    var tables = HIGH_REPLICAS;
    if id.x >= BINS {
        first = HIGH_REPLICAS;
        tables = LOW_REPLICAS;
    }
    var sum = 0u;
    for (var table = 0u; table < tables; table++) {
        sum += atomicLoad(&replicas[(first + table) * BINS + id.x % BINS]);
    }
    counts[id.x] = sum;
}
