// 64-bit integers as (low, high) pairs of words.

fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn less64(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn min64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, less64(b, a));
}

fn max64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, less64(a, b));
}

// The product of two words, computed from their halves.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xFFFFu;
    let a_high = a >> 16u;
    let b_low = b & 0xFFFFu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    // Neither sum can overflow: (2^16 - 1)^2 + 2^16 - 1 is less than 2^32.
    let first = a_high * b_low + (low >> 16u);
    let second = a_low * b_high + (first & 0xFFFFu);
    let high = a_high * b_high + (first >> 16u) + (second >> 16u);
    return vec2<u32>((second << 16u) | (low & 0xFFFFu), high);
}

// The product of a 64-bit integer and a word, modulo 2^64.
fn multiply64(a: vec2<u32>, b: u32) -> vec2<u32> {
    let product = wide_product(a.x, b);
    return vec2<u32>(product.x, product.y + a.y * b);
}
