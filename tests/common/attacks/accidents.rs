//! What memory, disks and transfers do: flipped bits, lost and mixed-up pages, foreign bytes.

use super::payloads::Payload;
use super::victim::{PAGE, Target};
use super::{Attack, Demand};

const BROKEN: &[&str] = &["weights/not-finite"];
const EXPONENT: &[&str] = &["weights/exponent-outlier"];
const CONSTANT: &[&str] = &["weights/constant-run"];
const ONES: &[&str] = &["weights/constant-run", "weights/not-finite"];
const COPY: &[&str] = &["weights/page-duplicate"];
const FOREIGN: &[&str] = &[
    "weights/foreign-window",
    "weights/not-finite",
    "weights/exponent-outlier",
    "payload/file-magic",
];
const KIB: usize = 1 << 10;

/// Single values: not a number, or with an exponent bit flipped.
pub(crate) fn values() -> Vec<Attack> {
    let broken = |name, strength, count: usize| {
        let deed = move |t: &mut Target| {
            let (first, float) = (t.elements() / 3, t.float());
            let infinity = ((1 << float.exponent()) - 1) << float.mantissa();
            let nan = infinity | 1 << (float.mantissa() - 1);
            for i in 0..count {
                t.set_bits(first + i, if i % 2 == 0 { nan } else { infinity });
            }
            t.element(first).start..t.element(first + count - 1).end
        };
        Attack::new(name, strength, BROKEN, deed).local()
    };
    vec![
        broken("NaN", "1 value", 1),
        broken("NaN and Inf", "64 values", 64),
        broken("NaN and Inf", "4096 values", 4096),
        flip("highest bit", 0, true),
        // No larger than massive weights of large language models may be: not grave by itself.
        flip("second bit, up", 1, true).demand(Demand::Never),
        // Makes a value next to zero, and so do pruning and decay.
        flip("second bit, down", 1, false).demand(Demand::Never),
    ]
}

/// Flips the exponent bit so far below the highest: up where it is clear, down where it is set. Does
/// nothing where no value has the bit so: F32 and BF16 weights have no second bit to set.
fn flip(strength: &str, below: u32, up: bool) -> Attack {
    let deed = move |t: &mut Target| {
        let bit = 1 << (8 * t.float().width() as u32 - 2 - below);
        let size = |bits: u32| bits & !(1 << (8 * t.float().width() as u32 - 1));
        // The largest of those that stay finite, so that the flip does harm.
        let finite =
            |bits: u32| size(bits) >> t.float().mantissa() != (1 << t.float().exponent()) - 1;
        let sound = |bits: u32| size(bits) != 0 && (bits & bit == 0) == up && finite(bits ^ bit);
        let fits = |i: &usize| sound(t.bits(*i));
        match (0..t.elements()).filter(fits).max_by_key(|i| size(t.bits(*i))) {
            Some(at) => {
                t.set_bits(at, t.bits(at) ^ bit);
                t.element(at)
            }
            None => 0..0,
        }
    };
    Attack::new("exponent flip", strength, EXPONENT, deed).local()
}

/// Pages and runs that were lost, or written to the wrong place.
pub(crate) fn pages() -> Vec<Attack> {
    let fill = |name, strength, rules, count: usize, byte: u8| {
        let deed = move |t: &mut Target| {
            let range = t.pages(count);
            t.data[range.clone()].fill(byte);
            range
        };
        Attack::new(name, strength, rules, deed).local()
    };
    let repeat = |strength, len: usize| {
        let deed = move |t: &mut Target| {
            let (range, width) = (t.stretch(len), t.float().width());
            let one = t.data[range.start..range.start + width].to_vec();
            t.data[range.clone()].chunks_mut(width).for_each(|e| e.copy_from_slice(&one));
            range
        };
        Attack::new("repeated value", strength, CONSTANT, deed).local()
    };
    let duplicate = |strength, count: usize| {
        let deed = move |t: &mut Target| {
            let range = t.pages(count);
            let from = range.start - (count + 3) * PAGE;
            t.data.copy_within(from..from + count * PAGE, range.start);
            range
        };
        Attack::new("duplicated page", strength, COPY, deed).local()
    };
    vec![
        fill("zeroed pages", "1 page", CONSTANT, 1, 0),
        fill("zeroed pages", "8 pages", CONSTANT, 8, 0),
        fill("0xFF run", "1 page", ONES, 1, 0xFF),
        fill("0xFF run", "16 pages", ONES, 16, 0xFF),
        repeat("8 KiB", 8 * KIB),
        repeat("64 KiB", 64 * KIB),
        duplicate("1 page", 1),
        duplicate("16 pages", 16),
        elsewhere("stale block", "8 KiB", 8 * KIB, 0),
        elsewhere("stale block", "64 KiB", 64 * KIB, 0),
        elsewhere("torn write", "half of 64 KiB", 32 * KIB, 0),
        // No page of the file is there twice, and the values are sound weights.
        elsewhere("torn write", "half of 64 KiB, by sectors", 32 * KIB, 512).demand(Demand::Never),
    ]
}

/// The last so many bytes of a range of whole pages come from a sibling: pages as they are there, or so
/// many bytes off.
fn elsewhere(name: &'static str, strength: &str, len: usize, off: usize) -> Attack {
    let deed = move |t: &mut Target| {
        let all = t.pages(16);
        let range = all.end - len..all.end;
        let phase = t.sibling_start.next_multiple_of(PAGE) - t.sibling_start;
        let from = phase + 8 * PAGE + off;
        t.data[range.clone()].copy_from_slice(&t.sibling[from..from + len]);
        range
    };
    Attack::new(name, strength, COPY, deed).local()
}

/// Bytes that are no weights of this tensor: shifted, or of another file.
pub(crate) fn foreign() -> Vec<Attack> {
    let shift = |strength, len: usize, by: usize| {
        let deed = move |t: &mut Target| {
            let range = t.stretch(len);
            t.data.copy_within(range.start..range.end - by, range.start + by);
            range
        };
        Attack::new("shifted bytes", strength, FOREIGN, deed).local()
    };
    let over = |strength: &str, payload: Payload, len: usize| {
        let deed = move |t: &mut Target| {
            let range = t.stretch(len);
            t.data[range.clone()].copy_from_slice(&payload.bytes(len, 7));
            range
        };
        let strength = format!("{}, {strength}", payload.name());
        Attack::new("raw bytes", strength, FOREIGN, deed).local()
    };
    let mut all = vec![shift("16 KiB by 1", 16 * KIB, 1), shift("64 KiB by 1", 64 * KIB, 1)];
    for payload in
        [Payload::Executable, Payload::Code, Payload::Zip, Payload::Script, Payload::Encrypted]
    {
        all.push(over("16 KiB", payload, 16 * KIB));
        all.push(over("64 KiB", payload, 64 * KIB));
    }
    all
}
