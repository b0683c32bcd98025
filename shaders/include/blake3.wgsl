// The BLAKE3 compression function (BLAKE3 paper, section 2.2), on rows of four words.

const CHUNK_START = 1u;
const CHUNK_END = 2u;
const PARENT = 4u;
const BLOCK_BYTES = 64u;

const IV_LOW = vec4<u32>(0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au);
const IV_HIGH = vec4<u32>(0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u);

// A chaining value: words 0 to 3 and 4 to 7.
struct Value {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn rotate_right(x: vec4<u32>, bits: u32) -> vec4<u32> {
    return (x >> vec4<u32>(bits)) | (x << vec4<u32>(32u - bits));
}

// Four quarter-rounds in parallel, one in each column.
fn mix(
    a: ptr<function, vec4<u32>>,
    b: ptr<function, vec4<u32>>,
    c: ptr<function, vec4<u32>>,
    d: ptr<function, vec4<u32>>,
    first: vec4<u32>,
    second: vec4<u32>,
) {
    *a = *a + *b + first;
    *d = rotate_right(*d ^ *a, 16u);
    *c = *c + *d;
    *b = rotate_right(*b ^ *c, 12u);
    *a = *a + *b + second;
    *d = rotate_right(*d ^ *a, 8u);
    *c = *c + *d;
    *b = rotate_right(*b ^ *c, 7u);
}

// Moves the diagonals into the columns, and back.
fn turn(b: ptr<function, vec4<u32>>, c: ptr<function, vec4<u32>>, d: ptr<function, vec4<u32>>) {
    *b = (*b).yzwx;
    *c = (*c).zwxy;
    *d = (*d).wxyz;
}

fn turn_back(b: ptr<function, vec4<u32>>, c: ptr<function, vec4<u32>>, d: ptr<function, vec4<u32>>) {
    *b = (*b).wxyz;
    *c = (*c).zwxy;
    *d = (*d).yzwx;
}

// Returns the new chaining value. The schedule is unrolled, so that message words stay in registers.
fn compress(
    value: Value,
    m: array<u32, 16>,
    counter: vec2<u32>,
    length: u32,
    flags: u32,
) -> Value {
    var a = value.low;
    var b = value.high;
    var c = IV_LOW;
    var d = vec4<u32>(counter, length, flags);
    // Round 1: the message words in the order of the permutation applied 0 times.
    mix(&a, &b, &c, &d, vec4<u32>(m[0], m[2], m[4], m[6]), vec4<u32>(m[1], m[3], m[5], m[7]));
    turn(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[8], m[10], m[12], m[14]), vec4<u32>(m[9], m[11], m[13], m[15]));
    turn_back(&b, &c, &d);
    // Round 2: the message words in the order of the permutation applied 1 times.
    mix(&a, &b, &c, &d, vec4<u32>(m[2], m[3], m[7], m[4]), vec4<u32>(m[6], m[10], m[0], m[13]));
    turn(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[1], m[12], m[9], m[15]), vec4<u32>(m[11], m[5], m[14], m[8]));
    turn_back(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[3], m[10], m[13], m[7]), vec4<u32>(m[4], m[12], m[2], m[14]));
    turn(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[6], m[9], m[11], m[8]), vec4<u32>(m[5], m[0], m[15], m[1]));
    turn_back(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[10], m[12], m[14], m[13]), vec4<u32>(m[7], m[9], m[3], m[15]));
    turn(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[4], m[11], m[5], m[1]), vec4<u32>(m[0], m[2], m[8], m[6]));
    turn_back(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[12], m[9], m[15], m[14]), vec4<u32>(m[13], m[11], m[10], m[8]));
    turn(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[7], m[5], m[0], m[6]), vec4<u32>(m[2], m[3], m[1], m[4]));
    turn_back(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[9], m[11], m[8], m[15]), vec4<u32>(m[14], m[5], m[12], m[1]));
    turn(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[13], m[0], m[2], m[4]), vec4<u32>(m[3], m[10], m[6], m[7]));
    turn_back(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[11], m[5], m[1], m[8]), vec4<u32>(m[15], m[0], m[9], m[6]));
    turn(&b, &c, &d);
    mix(&a, &b, &c, &d, vec4<u32>(m[14], m[2], m[3], m[7]), vec4<u32>(m[10], m[12], m[4], m[13]));
    turn_back(&b, &c, &d);
    return Value(a ^ c, b ^ d);
}

fn parent(left: Value, right: Value) -> Value {
    let m = array<u32, 16>(
        left.low.x, left.low.y, left.low.z, left.low.w,
        left.high.x, left.high.y, left.high.z, left.high.w,
        right.low.x, right.low.y, right.low.z, right.low.w,
        right.high.x, right.high.y, right.high.z, right.high.w,
    );
    // There is no ROOT flag: a tile is never a whole object, and the host computes the root.
    return compress(Value(IV_LOW, IV_HIGH), m, vec2<u32>(0u), BLOCK_BYTES, PARENT);
}
