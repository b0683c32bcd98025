// `windows`: counts the elements of each window of 4,096 elements by class of magnitude.
// CPU twin: crates/engine/src/measure/windows.rs. Needs include/structure.wgsl.
//
// A workgroup processes four windows. 64 threads share a window: each compares 64 elements with all
// thresholds at once and counts how many are at or above each threshold.

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
// Twelve counts of 16 bits for each window.
@group(0) @binding(1) var<storage, read_write> windows: array<array<u32, 6>>;
@group(0) @binding(2) var<uniform> params: StructureParams;

const THREADS = 256u;
const THREADS_A_WINDOW = 64u;
const WINDOWS_A_GROUP = 4u;
const WINDOW_LEN = 4096u;

// The number of elements at or above each threshold.
struct Above {
    low: vec4<u32>,
    middle: vec4<u32>,
    high: vec4<u32>,
}

var<workgroup> level: array<Above, THREADS>;

fn in_one_word(low: u32, high: u32) -> u32 {
    return low | (high << 16u);
}

@compute @workgroup_size(256)
fn classes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let window = group.x * WINDOWS_A_GROUP + thread / THREADS_A_WINDOW;
    let part = thread % THREADS_A_WINDOW;
    let bits = 8u * params.width;
    let units = WINDOW_LEN * params.width / 16u;
    var above: Above;
    for (var unit = part; unit < units; unit += THREADS_A_WINDOW) {
        let v = tile[window * units + unit];
        for (var i = 0u; i < 4u; i++) {
            for (var shift = 0u; shift < 32u; shift += bits) {
                let value = vec4<u32>(magnitude(v[i], shift, bits));
                above.low += vec4<u32>(value >= params.thresholds[0]);
                above.middle += vec4<u32>(value >= params.thresholds[1]);
                above.high += vec4<u32>(value >= params.thresholds[2]);
            }
        }
    }
    level[thread] = above;
    workgroupBarrier();
    for (var width = THREADS_A_WINDOW / 2u; width > 0u; width /= 2u) {
        if part < width {
            let other = level[thread + width];
            level[thread].low += other.low;
            level[thread].middle += other.middle;
            level[thread].high += other.high;
        }
        workgroupBarrier();
    }
    if part == 0u {
        // The elements of a class are at or above its threshold and below the next one.
        let sum = level[thread];
        let first = vec4<u32>(WINDOW_LEN, sum.low.xyz) - sum.low;
        let second = vec4<u32>(sum.low.w, sum.middle.xyz) - sum.middle;
        let third = vec4<u32>(sum.middle.w, sum.high.xyz) - sum.high;
        windows[window] = array<u32, 6>(
            in_one_word(first.x, first.y), in_one_word(first.z, first.w),
            in_one_word(second.x, second.y), in_one_word(second.z, second.w),
            in_one_word(third.x, third.y), in_one_word(third.z, third.w),
        );
    }
}
