// The ChaCha20 block function (RFC 8439, section 2.3), on rows of four words.

const CHACHA20_CONSTANTS = vec4<u32>(0x61707865u, 0x3320646Eu, 0x79622D32u, 0x6B206574u);

fn rotate_left(x: vec4<u32>, bits: u32) -> vec4<u32> {
    return (x << vec4<u32>(bits)) | (x >> vec4<u32>(32u - bits));
}

// Four quarter-rounds in parallel, one in each column.
fn quarter_rounds(
    a: ptr<function, vec4<u32>>,
    b: ptr<function, vec4<u32>>,
    c: ptr<function, vec4<u32>>,
    d: ptr<function, vec4<u32>>,
) {
    *a = *a + *b;
    *d = rotate_left(*d ^ *a, 16u);
    *c = *c + *d;
    *b = rotate_left(*b ^ *c, 12u);
    *a = *a + *b;
    *d = rotate_left(*d ^ *a, 8u);
    *c = *c + *d;
    *b = rotate_left(*b ^ *c, 7u);
}

// Returns block number `counter` of the key stream.
fn chacha20(
    key_low: vec4<u32>,
    key_high: vec4<u32>,
    counter: u32,
    nonce: vec3<u32>,
) -> array<vec4<u32>, 4> {
    let last = vec4<u32>(counter, nonce);
    var a = CHACHA20_CONSTANTS;
    var b = key_low;
    var c = key_high;
    var d = last;
    for (var i = 0u; i < 10u; i++) {
        quarter_rounds(&a, &b, &c, &d);
        // Moves the diagonals into the columns, and back.
        b = b.yzwx;
        c = c.zwxy;
        d = d.wxyz;
        quarter_rounds(&a, &b, &c, &d);
        b = b.wxyz;
        c = c.zwxy;
        d = d.yzwx;
    }
    return array<vec4<u32>, 4>(a + CHACHA20_CONSTANTS, b + key_low, c + key_high, d + last);
}
