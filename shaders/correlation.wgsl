// `correlation`: correlates the elements of carrier blocks with the chips of keys.
// CPU twin: crates/engine/src/measure/correlation.rs. Needs include/params.wgsl and include/chacha20.wgsl.
//
// A workgroup processes 16 carrier blocks and one key. 16 threads share a block: each processes 32
// consecutive elements, whose chips are one word of the key stream of the block.

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
// Eight words for each key.
@group(0) @binding(1) var<storage, read> keys: array<vec4<u32>>;
// By carrier block: the low word of E; the high word of E, and from bit 16 on the number of non-zero elements.
@group(0) @binding(2) var<storage, read_write> energies: array<vec2<u32>>;
// The sums by key, then by carrier block.
@group(0) @binding(3) var<storage, read_write> sums: array<i32>;
@group(0) @binding(4) var<uniform> params: Params;

const BLOCKS_A_GROUP = 16u;
const THREADS_A_BLOCK = 16u;
// The number of bits that are kept below the leading bit of the largest element, and the largest |q|.
const KEPT_BITS = 14u;
const SATURATED = 32767u;
// The bit to which the leading bit of a normal significand is moved.
const LEADING = 23u;

// The key streams of the blocks of the workgroup, and the partial sums of their threads.
var<workgroup> stream: array<vec4<u32>, 64>;
var<workgroup> largest: array<atomic<u32>, BLOCKS_A_GROUP>;
var<workgroup> nonzero: array<atomic<u32>, BLOCKS_A_GROUP>;
var<workgroup> squares_low: array<atomic<u32>, BLOCKS_A_GROUP>;
var<workgroup> squares_high: array<atomic<u32>, BLOCKS_A_GROUP>;
var<workgroup> correlated: array<atomic<i32>, BLOCKS_A_GROUP>;

// The magnitude of an element if it is finite, otherwise zero.
fn finite_magnitude(word: u32, sign: u32) -> u32 {
    let magnitude = word & (sign - 1u);
    return select(0u, magnitude, magnitude < params.limit);
}

@compute @workgroup_size(256)
fn correlate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let local_block = thread / THREADS_A_BLOCK;
    let part = thread % THREADS_A_BLOCK;
    let first = group.x * BLOCKS_A_GROUP;
    let block = first + local_block;
    // A chunk has 2 blocks of 8-bit elements, 1 block of 16-bit elements, or half a block of 32-bit elements.
    let blocks = 2u * params.chunks / params.width;
    let bits = 8u * params.width;
    let mask = 0xFFFFFFFFu >> (32u - bits);
    let sign = 1u << (bits - 1u);
    let units = 2u * params.width;
    let base = (block * THREADS_A_BLOCK + part) * units;

    if thread < BLOCKS_A_GROUP {
        let counter = params.first_block + first + thread;
        let words = chacha20(keys[2u * group.y], keys[2u * group.y + 1u], counter, params.nonce);
        stream[4u * thread] = words[0];
        stream[4u * thread + 1u] = words[1];
        stream[4u * thread + 2u] = words[2];
        stream[4u * thread + 3u] = words[3];
    }

    var most = 0u;
    var count = 0u;
    for (var unit = 0u; unit < units; unit++) {
        let v = tile[base + unit];
        for (var i = 0u; i < 4u; i++) {
            for (var shift = 0u; shift < 32u; shift += bits) {
                let magnitude = finite_magnitude((v[i] >> shift) & mask, sign);
                most = max(most, magnitude);
                count += u32(magnitude != 0u);
            }
        }
    }
    atomicMax(&largest[local_block], most);
    atomicAdd(&nonzero[local_block], count);
    workgroupBarrier();

    let top_magnitude = atomicLoad(&largest[local_block]);
    if top_magnitude != 0u {
        let mantissa_bits = params.mantissa_bits;
        let fraction = (1u << mantissa_bits) - 1u;
        let top_implicit = u32((top_magnitude >> mantissa_bits) != 0u);
        let top_significand = (top_magnitude & fraction) | (top_implicit << mantissa_bits);
        let leading = firstLeadingBit(top_significand) + LEADING - mantissa_bits;
        // A block of subnormal elements is shifted up until there is a bit for rounding.
        let lift = select(0u, KEPT_BITS + 1u - leading, leading < KEPT_BITS + 1u);
        let up = LEADING - mantissa_bits + lift;
        let top = (top_magnitude >> mantissa_bits) - top_implicit + leading + lift - KEPT_BITS - 1u;

        var chips = stream[4u * local_block + part / 4u][part % 4u];
        var sum = 0i;
        var low = 0u;
        var high = 0u;
        for (var unit = 0u; unit < units; unit++) {
            let v = tile[base + unit];
            for (var i = 0u; i < 4u; i++) {
                for (var shift = 0u; shift < 32u; shift += bits) {
                    let word = (v[i] >> shift) & mask;
                    let magnitude = finite_magnitude(word, sign);
                    let exponent = magnitude >> mantissa_bits;
                    let implicit = u32(exponent != 0u);
                    let significand = ((magnitude & fraction) | (implicit << mantissa_bits)) << up;
                    let down = top - (exponent - implicit);
                    let kept = select(0u, significand >> (down & 31u), down < 32u);
                    let q = min((kept + 1u) >> 1u, SATURATED);
                    let negative = ((word & sign) != 0u) != ((chips & 1u) != 0u);
                    sum += select(i32(q), -i32(q), negative);
                    low += (q * q) & 0xFFFFu;
                    high += (q * q) >> 16u;
                    chips >>= 1u;
                }
            }
        }
        atomicAdd(&correlated[local_block], sum);
        atomicAdd(&squares_low[local_block], low);
        atomicAdd(&squares_high[local_block], high);
    }
    workgroupBarrier();

    if part == 0u && block < blocks {
        sums[group.y * blocks + block] = atomicLoad(&correlated[local_block]);
        if group.y == 0u {
            let low = atomicLoad(&squares_low[local_block]);
            let high = atomicLoad(&squares_high[local_block]);
            let word = low + (high << 16u);
            let carry = u32(word < low);
            energies[block] = vec2<u32>(
                word,
                (high >> 16u) + carry + (atomicLoad(&nonzero[local_block]) << 16u),
            );
        }
    }
}
