// `dequantise`: converts quantisation blocks to the bits of their values as binary32, with integer arithmetic only.
// CPU twin: crates/engine/src/measure/dequantise.rs. Needs include/blocks.wgsl and include/u64.wgsl.
//
// A value is a product of integers times a power of two, or the difference of two such products: it is exact
// in 64 bits, and rounded once, to nearest even.

@group(0) @binding(2) var<storage, read_write> values: array<u32>;
@group(0) @binding(3) var<uniform> params: BlockParams;

const NAN = 0x7FC00000u;
const INFINITY = 0x7F800000u;
const FINITE = 0u;
const INFINITE = 1u;
const NO_NUMBER = 2u;

// (-1)^sign * magnitude * 2^exponent, or an infinity or NaN according to the class.
struct Term {
    class_: u32,
    sign: u32,
    magnitude: u32,
    exponent: i32,
}

// Reads a binary16.
fn half_term(word: u32) -> Term {
    let exponent = (word >> 10u) & 31u;
    let fraction = word & 0x3FFu;
    if exponent == 31u {
        return Term(select(INFINITE, NO_NUMBER, fraction != 0u), word >> 15u, 1u, 0i);
    }
    let normal = u32(exponent != 0u);
    return Term(FINITE, word >> 15u, fraction | (normal << 10u), i32(max(exponent, 1u)) - 25i);
}

// Reads a binary32.
fn single_term(word: u32) -> Term {
    let exponent = (word >> 23u) & 255u;
    let fraction = word & 0x7FFFFFu;
    if exponent == 255u {
        return Term(select(INFINITE, NO_NUMBER, fraction != 0u), word >> 31u, 1u, 0i);
    }
    let normal = u32(exponent != 0u);
    return Term(FINITE, word >> 31u, fraction | (normal << 23u), i32(max(exponent, 1u)) - 150i);
}

fn scale_term(at: u32) -> Term {
    switch TYPE {
        case Q8_K: {
            return single_term(scale_word(at));
        }
        case MXFP4: {
            return Term(FINITE, 0u, 1u, i32(scale_word(at)) - 128i);
        }
        case NVFP4: {
            return Term(FINITE, 0u, 1u, 0i);
        }
        default: {
            return half_term(scale_word(at));
        }
    }
}

// A scale times two integers. Zero times infinity is NaN; a zero integer is positive.
fn times(scale: Term, factor: i32, value: i32) -> Term {
    var product = scale;
    let magnitude = u32(abs(factor)) * u32(abs(value));
    product.sign ^= u32(factor < 0i) ^ u32(value < 0i);
    product.magnitude *= magnitude;
    if scale.class_ == INFINITE && magnitude == 0u {
        product.class_ = NO_NUMBER;
    }
    return product;
}

fn shift_left(a: vec2<u32>, by: u32) -> vec2<u32> {
    if by == 0u {
        return a;
    }
    if by >= 32u {
        return vec2<u32>(0u, a.x << (by - 32u));
    }
    return vec2<u32>(a.x << by, (a.y << by) | (a.x >> (32u - by)));
}

fn shift_right(a: vec2<u32>, by: u32) -> vec2<u32> {
    if by == 0u {
        return a;
    }
    if by >= 32u {
        return vec2<u32>(a.y >> (by - 32u), 0u);
    }
    return vec2<u32>((a.x >> by) | (a.y << (32u - by)), a.y >> by);
}

// The binary32 nearest to (-1)^sign * magnitude * 2^exponent.
fn nearest(sign: u32, magnitude: vec2<u32>, exponent: i32) -> u32 {
    let top = sign << 31u;
    if magnitude.x == 0u && magnitude.y == 0u {
        return top;
    }
    let leading = i32(select(firstLeadingBit(magnitude.x), 32u + firstLeadingBit(magnitude.y), magnitude.y != 0u));
    // 24 bits are kept, or fewer of subnormal values.
    let drop = max(leading - 23i, -149i - exponent);
    var bits = 0u;
    if drop <= 0i {
        bits = shift_left(magnitude, u32(-drop)).x;
    } else if drop <= leading + 1i {
        let by = u32(drop);
        let kept = shift_right(magnitude, by).x;
        let back = shift_left(shift_right(magnitude, by - 1u), by - 1u);
        let half = shift_right(magnitude, by - 1u).x & 1u;
        let beyond = u32(back.x != magnitude.x || back.y != magnitude.y);
        bits = kept + (half & (beyond | (kept & 1u)));
    }
    // The implicit bit adds one to the exponent field, and so does a carry out of the mantissa.
    let field = exponent + drop + 149i;
    if field > 254i {
        return top | INFINITY;
    }
    return top | min((u32(field) << 23u) + bits, INFINITY);
}

fn difference(a: Term, b: Term) -> u32 {
    let sign = b.sign ^ 1u;
    if a.class_ == INFINITE || b.class_ == INFINITE {
        if a.class_ == b.class_ && a.sign != sign {
            return NAN;
        }
        return (select(sign, a.sign, a.class_ == INFINITE) << 31u) | INFINITY;
    }
    let exponent = min(a.exponent, b.exponent);
    let left = shift_left(vec2<u32>(a.magnitude, 0u), u32(a.exponent - exponent));
    let right = shift_left(vec2<u32>(b.magnitude, 0u), u32(b.exponent - exponent));
    if a.sign == sign {
        return nearest(sign, add64(left, right), exponent);
    }
    let less = less64(left, right);
    let large = select(left, right, less);
    let small = select(right, left, less);
    let rest = vec2<u32>(large.x - small.x, large.y - small.y - u32(large.x < small.x));
    // The difference of equal numbers is a positive zero.
    let zero = rest.x == 0u && rest.y == 0u;
    return nearest(select(select(a.sign, sign, less), 0u, zero), rest, exponent);
}

@compute @workgroup_size(256)
fn dequantise(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.elements {
        return;
    }
    let block = id.x / ELEMENTS;
    let i = id.x % ELEMENTS;
    // The last unit of a tensor may have fewer blocks.
    if block >= params.blocks {
        values[id.x] = 0u;
        return;
    }
    let at = params.first + block * SIZE;
    let factors = factors_of(at, i / GROUP);
    let value = value_of(entry_of(code_of(at, i)));
    let scaled = times(scale_term(at), factors.x, value);
    if MINIMUM_AT != 0u {
        let minimum = times(half_term(half_at(at + MINIMUM_AT)), factors.y, 1i);
        if scaled.class_ == NO_NUMBER || minimum.class_ == NO_NUMBER {
            values[id.x] = NAN;
        } else {
            values[id.x] = difference(scaled, minimum);
        }
        return;
    }
    if scaled.class_ == NO_NUMBER {
        values[id.x] = NAN;
    } else if scaled.class_ == INFINITE {
        values[id.x] = (scaled.sign << 31u) | INFINITY;
    } else {
        values[id.x] = nearest(scaled.sign, vec2<u32>(scaled.magnitude, 0u), scaled.exponent + UNIT);
    }
}
