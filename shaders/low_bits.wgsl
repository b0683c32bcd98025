// `low_bits`: statistics of the streams that the lowest bits of consecutive elements form.
// CPU twin: crates/engine/src/measure/low_bits.rs. Needs include/structure.wgsl.
//
// A workgroup processes a sixteenth of a block of 1 MiB. Its threads read 128 groups of 64 elements
// together and keep the lowest byte of each element; then each thread computes the streams of one group.
// Bytes are counted in workgroup memory, and a word of four equal bytes is counted at once: the low bits
// of weights that were widened from a narrower type are all zero, and additions to one address wait for
// one another.

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
// Counts by stream and byte value; initially zero.
@group(0) @binding(1) var<storage, read_write> bytes: array<atomic<u32>>;
// Counts of bits by block, stream and statistic; initially zero.
@group(0) @binding(2) var<storage, read_write> blocks: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> params: StructureParams;

const THREADS = 128u;
const PARTS_A_BLOCK = 16u;
const UNITS_A_BLOCK = 65536u;
const STREAMS = 5u;
// The number of streams whose bytes are counted.
const COUNTED = 4u;
const VALUES = 256u;
// The number of words with the lowest bytes of a group, and the distance between two groups: it is odd,
// so that the words of threads are in different banks.
const GROUP_WORDS = 16u;
const GROUP_STRIDE = 17u;
// The number of statistics: ones, lag 1 and lag 8 of each stream.
const COUNTS = 15u;
// The number of threads that add up each statistic at the end.
const ADDERS = 8u;

// The lowest bytes of the groups; at the end, the counts of the threads.
var<workgroup> kept: array<u32, 2176>;
var<workgroup> tables: array<atomic<u32>, 1024>;

// Joins the lowest k bits of each of four bytes, the first ones lowest.
fn gather(four: u32, k: u32) -> u32 {
    let one = ((1u << k) - 1u) * 0x00010001u;
    let two = (1u << (2u * k)) - 1u;
    let pairs = (four & one) | ((four >> (8u - k)) & (one << k));
    return (pairs & two) | ((pairs >> (16u - 2u * k)) & (two << (2u * k)));
}

fn count_bytes(stream: u32, word: u32) {
    let table = stream * VALUES;
    let first = word & 0xFFu;
    if word == first * 0x01010101u {
        atomicAdd(&tables[table + first], 4u);
    } else {
        atomicAdd(&tables[table + first], 1u);
        atomicAdd(&tables[table + ((word >> 8u) & 0xFFu)], 1u);
        atomicAdd(&tables[table + ((word >> 16u) & 0xFFu)], 1u);
        atomicAdd(&tables[table + (word >> 24u)], 1u);
    }
}

// Counts ones, and equal bits one and eight places apart, in a word of 64 bits.
fn count_bits(low: u32, high: u32) -> vec3<u32> {
    let next = vec2<u32>(low ^ ((low >> 1u) | (high << 31u)), high ^ (high >> 1u));
    let eighth = vec2<u32>(low ^ ((low >> 8u) | (high << 24u)), high ^ (high >> 8u));
    return vec3<u32>(
        countOneBits(low) + countOneBits(high),
        countOneBits(~next.x) + countOneBits(~next.y & 0x7FFFFFFFu),
        countOneBits(~eighth.x) + countOneBits(~eighth.y & 0x00FFFFFFu),
    );
}

// Computes the stream of the lowest k bits of the group of a thread, word by word.
fn stream_bits(stream: u32, k: u32, thread: u32) -> vec3<u32> {
    var counts = vec3<u32>(0u);
    var word = 0u;
    var filled = 0u;
    var low = 0u;
    var half_made = false;
    for (var i = 0u; i < GROUP_WORDS; i++) {
        let made = gather(kept[thread * GROUP_STRIDE + i], k);
        word |= made << filled;
        filled += 4u * k;
        if filled >= 32u {
            if stream < COUNTED {
                count_bytes(stream, word);
            }
            if half_made {
                counts += count_bits(low, word);
            }
            low = word;
            half_made = !half_made;
            filled -= 32u;
            // The bits that did not fit; a shift by all 32 bits would be a shift by none.
            word = select(made >> ((4u * k - filled) & 31u), 0u, filled == 0u);
        }
    }
    return counts;
}

@compute @workgroup_size(128)
fn streams(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let part_units = UNITS_A_BLOCK / PARTS_A_BLOCK;
    let first = group.x * part_units;
    // 64 elements are 8 units if they have 2 bytes, and 16 units if they have 4 bytes.
    let units_a_group = 4u * params.width;
    let batch = THREADS * units_a_group;
    var counts: array<vec3<u32>, STREAMS>;
    for (var done = 0u; done < part_units; done += batch) {
        for (var unit = thread; unit < batch; unit += THREADS) {
            let v = tile[first + done + unit];
            let at = unit / units_a_group * GROUP_STRIDE;
            let place = unit % units_a_group;
            let low = v & vec4<u32>(0xFFu);
            if params.width == 2u {
                let next = (v >> vec4<u32>(8u)) & vec4<u32>(0xFF00u);
                let pairs = low | next;
                kept[at + 2u * place] = pairs.x | (pairs.y << 16u);
                kept[at + 2u * place + 1u] = pairs.z | (pairs.w << 16u);
            } else {
                kept[at + place] = low.x | (low.y << 8u) | (low.z << 16u) | (low.w << 24u);
            }
        }
        workgroupBarrier();
        counts[0] += stream_bits(0u, 1u, thread);
        counts[1] += stream_bits(1u, 2u, thread);
        counts[2] += stream_bits(2u, 4u, thread);
        counts[3] += stream_bits(3u, 7u, thread);
        counts[4] += stream_bits(4u, 8u, thread);
        // All threads use these groups before the next ones overwrite them.
        workgroupBarrier();
    }
    for (var stream = 0u; stream < STREAMS; stream++) {
        let at = 3u * stream * THREADS + thread;
        kept[at] = counts[stream].x;
        kept[at + THREADS] = counts[stream].y;
        kept[at + 2u * THREADS] = counts[stream].z;
    }
    workgroupBarrier();
    if thread < COUNTS * ADDERS {
        let count = thread / ADDERS;
        var sum = 0u;
        for (var i = thread % ADDERS; i < THREADS; i += ADDERS) {
            sum += kept[count * THREADS + i];
        }
        atomicAdd(&blocks[group.x / PARTS_A_BLOCK * COUNTS + count], sum);
    }
    for (var value = thread; value < COUNTED * VALUES; value += THREADS) {
        let count = atomicLoad(&tables[value]);
        if count > 0u {
            atomicAdd(&bytes[value], count);
        }
    }
}
