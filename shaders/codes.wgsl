// `codes`: counts the codes of all elements, the scale words of all blocks, and special blocks.
// CPU twin: crates/engine/src/measure/codes.rs. Needs include/blocks.wgsl.
//
// A thread processes one block at a time. Codes are counted in workgroup memory, in as many tables as fit,
// and scale words in replicas of a table of 65,536 bins, which `merge` adds up.

// REPLICAS tables by scale word, then MINIMA_REPLICAS tables by dmin; initially zero.
@group(0) @binding(2) var<storage, read_write> replicas: array<atomic<u32>>;
// Counts by code, then six counts of blocks; from TOTALS on counts by scale word, then by dmin. Initially zero.
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(4) var<uniform> params: BlockParams;

const THREADS = 256u;
const BINS = 65536u;
const REPLICAS = 8u;
const MINIMA_REPLICAS = 2u;
const TOTALS = 264u;
// The places of the counts of blocks, after the 256 codes.
const BLOCKS = 256u;
const CONSTANT = 257u;
const LOST = 258u;
const SATURATED = 259u;
const NAN = 260u;
const INFINITE = 261u;
// The number of counters in workgroup memory.
const SLOTS = 2048u;

var<workgroup> slots: array<atomic<u32>, SLOTS>;
var<workgroup> special: array<atomic<u32>, 6>;

fn count_scale(replica: u32, word: u32) {
    atomicAdd(&replicas[(replica % REPLICAS) * BINS + word], 1u);
}

// Bit 0: the scale is zero. Bit 1: a scale word is NaN. Bit 2: a scale word is infinite.
fn count_scales(replica: u32, at: u32) -> u32 {
    if TYPE == MXFP4 {
        let word = scale_word(at);
        count_scale(replica, word);
        return u32(word == 0xFFu) << 1u;
    }
    if TYPE == NVFP4 {
        var zeros = 0u;
        var reserved = false;
        for (var i = 0u; i < 4u; i++) {
            let byte = byte_at(at + i);
            count_scale(replica, byte);
            zeros += u32((byte & 0x7Fu) == 0u || byte == 0x7Fu);
            reserved = reserved || (byte & 0x7Fu) == 0x7Fu;
        }
        return u32(zeros == 4u) | (u32(reserved) << 1u);
    }
    let word = scale_word(at);
    if TYPE == Q8_K {
        let magnitude = word & 0x7FFFFFFFu;
        count_scale(replica, word >> 16u);
        return u32(magnitude == 0u) | (u32(magnitude > 0x7F800000u) << 1u)
            | (u32(magnitude == 0x7F800000u) << 2u);
    }
    count_scale(replica, word);
    let magnitude = word & 0x7FFFu;
    var flags = u32(magnitude == 0u) | (u32(magnitude > 0x7C00u) << 1u)
        | (u32(magnitude == 0x7C00u) << 2u);
    if MINIMUM_AT != 0u {
        let minimum = half_at(at + MINIMUM_AT);
        atomicAdd(&replicas[(REPLICAS + replica % MINIMA_REPLICAS) * BINS + minimum], 1u);
        flags |= (u32((minimum & 0x7FFFu) > 0x7C00u) << 1u)
            | (u32((minimum & 0x7FFFu) == 0x7C00u) << 2u);
    }
    return flags;
}

@compute @workgroup_size(256)
fn count(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    for (var slot = thread; slot < SLOTS; slot += THREADS) {
        atomicStore(&slots[slot], 0u);
    }
    if thread < 6u {
        atomicStore(&special[thread], 0u);
    }
    workgroupBarrier();
    let table = thread % (SLOTS / CODES) * CODES;
    for (var block = group.x * THREADS + thread; block < params.blocks; block += groups.x * THREADS) {
        let at = params.first + block * SIZE;
        let first = code_of(at, 0u);
        var differ = 0u;
        var ends = 0u;
        var sounds = false;
        for (var i = 0u; i < ELEMENTS; i++) {
            let code = code_of(at, i);
            let entry = entry_of(code);
            atomicAdd(&slots[table + code], 1u);
            differ |= code ^ first;
            ends += (entry >> 8u) & 1u;
            sounds = sounds || (entry & 0xFFu) != 0u;
        }
        let flags = count_scales(group.x, at);
        let nan = (flags >> 1u) & 1u;
        atomicAdd(&special[BLOCKS - 256u], 1u);
        if differ == 0u {
            atomicAdd(&special[CONSTANT - 256u], 1u);
        } else {
            atomicAdd(&special[LOST - 256u], u32((flags & 1u) == 1u && sounds));
            atomicAdd(&special[SATURATED - 256u], u32(2u * ends >= ELEMENTS));
        }
        atomicAdd(&special[NAN - 256u], nan);
        atomicAdd(&special[INFINITE - 256u], (flags >> 2u) & (nan ^ 1u));
    }
    workgroupBarrier();
    if thread < CODES {
        var sum = 0u;
        for (var slot = thread; slot < SLOTS; slot += CODES) {
            sum += atomicLoad(&slots[slot]);
        }
        atomicAdd(&counts[thread], sum);
    }
    if thread < 6u {
        atomicAdd(&counts[BLOCKS + thread], atomicLoad(&special[thread]));
    }
}

// One invocation for each bin.
@compute @workgroup_size(256)
fn merge(@builtin(global_invocation_id) id: vec3<u32>) {
    var first = 0u;
    var tables = REPLICAS;
    if id.x >= BINS {
        first = REPLICAS;
        tables = MINIMA_REPLICAS;
    }
    var sum = 0u;
    for (var table = 0u; table < tables; table++) {
        sum += atomicLoad(&replicas[(first + table) * BINS + id.x % BINS]);
    }
    atomicStore(&counts[TOTALS + id.x], sum);
}
