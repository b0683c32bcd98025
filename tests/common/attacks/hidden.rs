//! Payloads in the low bits of weights, which leave the model as good as it was.

use super::payloads::{BitOrder, LowBits, Payload};
use super::victim::{Float, Target};
use super::{Attack, Demand};

const STRUCTURED: &[&str] = &["payload/low-bits", "payload/file-magic"];
const RANDOM: &[&str] = &["payload/random-low-bits"];
const LOW_HALF: &[&str] = &["payload/low-half", "payload/random-low-bits"];
/// The most that is hidden from an element on that is not the first.
const SHORT: usize = 64 << 10;

/// How many low bits are used in elements of a type.
fn widths(float: Float) -> &'static [usize] {
    match float {
        Float::F32 => &[1, 2, 4, 7, 8, 16, 23],
        Float::F16 => &[1, 2, 4, 7, 8],
        Float::BF16 => &[1, 2, 4, 7],
    }
}

/// Programs, archives and scripts in the low bits of elements of a type, as they are.
pub(crate) fn in_the_clear(float: Float) -> Vec<Attack> {
    let mut all = Vec::new();
    for &bits in widths(float) {
        for order in [BitOrder::LowFirst, BitOrder::HighFirst] {
            all.push(clear(Payload::Executable, bits, order, 0));
            all.push(clear(Payload::Executable, bits, order, 1000));
        }
        all.push(clear(Payload::Zip, bits, BitOrder::LowFirst, 1000));
        all.push(clear(Payload::Script, bits, BitOrder::HighFirst, 1000));
    }
    all
}

fn lowest(bits: usize) -> String {
    if bits == 1 { "1 bit".into() } else { format!("{bits} bits") }
}

/// From the first element on the whole tensor is filled, from another on a part of it.
fn clear(payload: Payload, bits: usize, order: BitOrder, first: usize) -> Attack {
    let deed = move |t: &mut Target| {
        let field = LowBits { width: t.float().width(), bits, order, first };
        let room = field.capacity(t.data);
        let len = if first == 0 { room } else { room.min(SHORT) };
        let taken = field.embed(t.data, &payload.bytes(len, 7));
        t.element(first).start..t.element(first + taken - 1).end
    };
    let packed = if order == BitOrder::LowFirst { "LSB first" } else { "MSB first" };
    let place = if first == 0 { "whole tensor".into() } else { format!("from element {first}") };
    let strength = format!("{}, {packed}, {place}", lowest(bits));
    let name = match payload {
        Payload::Executable => "executable in low bits",
        Payload::Zip => "zip in low bits",
        Payload::Script => "script in low bits",
        Payload::Code | Payload::Encrypted => panic!("no such attack"),
    };
    Attack::new(name, strength, STRUCTURED, deed)
}

/// An encrypted payload in the lowest bit, or the lowest four, of a part of a large tensor of a 16-bit
/// type. What can be found depends on how many elements carry it, so it is asked for from there on.
pub(crate) fn encrypted() -> Vec<Attack> {
    const NEVER: usize = usize::MAX;
    const LARGE: usize = 2_400_000;
    const HUGE: usize = 11_500_000;
    let all = [
        (1, 100, Demand::From(LARGE, LARGE)),
        (1, 25, Demand::From(LARGE, NEVER)),
        (1, 10, Demand::From(HUGE, NEVER)),
        (4, 100, Demand::From(LARGE, LARGE)),
        (4, 25, Demand::From(LARGE, NEVER)),
        (4, 10, Demand::From(HUGE, NEVER)),
    ];
    all.map(|(bits, percent, demand)| {
        let strength = format!("{} of {percent} %", lowest(bits));
        let deed = move |t: &mut Target| random(t, bits, t.elements() * percent / 100);
        Attack::new("encrypted in low bits", strength, RANDOM, deed).least("low").demand(demand)
    })
    .into()
}

/// Random bits in the low byte and the low two bytes of F32. Trained F32 weights look like that by
/// themselves; only in weights that came from a shorter type must it be found.
pub(crate) fn low_bytes(from_a_shorter_type: bool) -> Vec<Attack> {
    let demand = if from_a_shorter_type { Demand::Always } else { Demand::Never };
    let mut all = Vec::new();
    for (bits, name) in [(8, "low byte"), (16, "low two bytes")] {
        for (share, of) in [(1, "all"), (4, "a quarter"), (50, "2 %")] {
            let deed = move |t: &mut Target| random(t, bits, t.elements() / share);
            let strength = format!("{name} of {of}");
            all.push(Attack::new("encrypted in F32", strength, LOW_HALF, deed).demand(demand));
        }
    }
    all
}

/// Random bits in the first so many elements.
fn random(t: &mut Target, bits: usize, elements: usize) -> std::ops::Range<usize> {
    let field = LowBits { width: t.float().width(), bits, order: BitOrder::LowFirst, first: 0 };
    let payload = Payload::Encrypted.bytes(elements * bits / 8, 11);
    let taken = field.embed(t.data, &payload);
    0..t.element(taken - 1).end
}
