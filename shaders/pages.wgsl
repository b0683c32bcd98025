// `pages`: computes fingerprints of the 4 KiB pages of the file that a tile touches.
// CPU twin: crates/engine/src/measure/pages.rs. Needs include/structure.wgsl and include/u64.wgsl.
//
// A workgroup processes four pages. 64 threads share a page: neighbouring threads read neighbouring
// words, and each adds up 16 products before the sums of the threads are added up.

@group(0) @binding(0) var<storage, read> tile: array<u32>;
// The keys by word of a page.
@group(0) @binding(1) var<storage, read> keys: array<vec2<u32>>;
// By page: the fingerprint (low and high word), one of the words, the state.
@group(0) @binding(2) var<storage, read_write> pages: array<vec4<u32>>;
@group(0) @binding(3) var<uniform> params: StructureParams;

const THREADS = 256u;
const THREADS_A_PAGE = 64u;
const PAGES_A_GROUP = 4u;
const PAGE_WORDS = 1024u;
// The values of `PageState`.
const CONSTANT = 1u;
const MIXED = 2u;

var<workgroup> sums: array<vec2<u32>, THREADS>;
var<workgroup> differences: array<u32, THREADS>;

@compute @workgroup_size(256)
fn fingerprint(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let page = group.x * PAGES_A_GROUP + thread / THREADS_A_PAGE;
    let part = thread % THREADS_A_PAGE;
    let words = 4u * params.units;
    // Positions are relative to the start of the first page of the tile, which may be before the tile.
    let first = page * PAGE_WORDS;
    let begin = max(first, params.head) - params.head;
    let touched = begin < words;
    var sum = vec2<u32>(0u);
    var difference = 0u;
    var any_word = 0u;
    if touched {
        any_word = tile[begin];
        for (var i = part; i < PAGE_WORDS; i += THREADS_A_PAGE) {
            // Before the tile, this wraps around to a number larger than that of all words.
            let at = first + i - params.head;
            if at < words {
                let word = tile[at];
                sum = add64(sum, multiply64(keys[i], word));
                difference |= word ^ any_word;
            }
        }
    }
    sums[thread] = sum;
    differences[thread] = difference;
    workgroupBarrier();
    for (var width = THREADS_A_PAGE / 2u; width > 0u; width /= 2u) {
        if part < width {
            sums[thread] = add64(sums[thread], sums[thread + width]);
            differences[thread] |= differences[thread + width];
        }
        workgroupBarrier();
    }
    if part == 0u && touched {
        if differences[thread] == 0u {
            pages[page] = vec4<u32>(sums[thread], any_word, CONSTANT);
        } else {
            pages[page] = vec4<u32>(sums[thread], 0u, MIXED);
        }
    }
}
