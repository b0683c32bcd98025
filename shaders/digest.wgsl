// `digest`: computes the non-root BLAKE3 chaining values of whole 1 MiB blocks.
// CPU twin: crates/engine/src/measure/digest.rs. Needs include/params.wgsl and include/blake3.wgsl.

@group(0) @binding(0) var<storage, read> tile: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> chunk_values: array<Value>;
@group(0) @binding(2) var<storage, read_write> block_values: array<Value>;
@group(0) @binding(3) var<uniform> params: Params;

const CHUNKS_A_BLOCK = 1024u;
const THREADS = 256u;

// One invocation for each chunk of 1 KiB: sixteen compressions, one after the other.
@compute @workgroup_size(64)
fn chunks(@builtin(global_invocation_id) id: vec3<u32>) {
    let chunk = id.x;
    if chunk >= params.chunks {
        return;
    }
    let low = params.first_chunk.x + chunk;
    let carry = select(0u, 1u, low < chunk);
    let counter = vec2<u32>(low, params.first_chunk.y + carry);
    var value = Value(IV_LOW, IV_HIGH);
    for (var i = 0u; i < 16u; i++) {
        let at = chunk * UNITS_A_CHUNK + i * 4u;
        let p = tile[at];
        let q = tile[at + 1u];
        let r = tile[at + 2u];
        let s = tile[at + 3u];
        let m = array<u32, 16>(
            p.x, p.y, p.z, p.w, q.x, q.y, q.z, q.w,
            r.x, r.y, r.z, r.w, s.x, s.y, s.z, s.w,
        );
        let flags = select(0u, CHUNK_START, i == 0u) | select(0u, CHUNK_END, i == 15u);
        value = compress(value, m, counter, BLOCK_BYTES, flags);
    }
    chunk_values[chunk] = value;
}

var<workgroup> level: array<Value, THREADS>;

// One workgroup for each block: the tree over its 1024 chunks.
@compute @workgroup_size(256)
fn blocks(
    @builtin(workgroup_id) block: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = block.x * CHUNKS_A_BLOCK + thread * 4u;
    level[thread] = parent(
        parent(chunk_values[at], chunk_values[at + 1u]),
        parent(chunk_values[at + 2u], chunk_values[at + 3u]),
    );
    workgroupBarrier();
    for (var width = THREADS / 2u; width > 0u; width /= 2u) {
        var value: Value;
        if thread < width {
            value = parent(level[2u * thread], level[2u * thread + 1u]);
        }
        // All children are read before one is overwritten.
        workgroupBarrier();
        if thread < width {
            level[thread] = value;
        }
        workgroupBarrier();
    }
    if thread == 0u {
        block_values[block.x] = level[0];
    }
}
