//! The attacks themselves: they change what they say and nothing else, and what they hide is there.

use crate::common::attacks::payloads::{BitOrder, LowBits, Payload};
use crate::common::attacks::victim::{Float, Victim};
use crate::common::attacks::{Attack, accidents, hidden, tampering};
use crate::common::random::Random;
use crate::common::{noise, safetensors};

const ROWS: u64 = 640;
const COLUMNS: u64 = 384;

/// Three matrices of normal weights of one type, at a place that is no whole page.
fn victim(float: Float) -> Victim {
    let mut random = Random(5);
    let mut matrix = || -> Vec<u8> {
        (0..ROWS * COLUMNS).flat_map(|_| float.encode((0.02 * random.normal()) as f32)).collect()
    };
    let shape: &[u64] = &[ROWS, COLUMNS];
    Victim::new(safetensors(&[
        ("first", float.name(), shape, matrix()),
        ("second", float.name(), shape, matrix()),
        ("third", float.name(), shape, matrix()),
    ]))
}

fn all(float: Float) -> Vec<Attack> {
    let mut all: Vec<Attack> = [
        accidents::values(),
        accidents::pages(),
        accidents::foreign(),
        hidden::in_the_clear(float),
        hidden::encrypted(),
        tampering::lines(),
        tampering::tensors(),
    ]
    .into_iter()
    .flatten()
    .collect();
    if float == Float::F32 {
        all.extend(hidden::low_bytes(true));
        all.extend(tampering::precision());
    }
    all
}

#[test]
fn an_attack_changes_bytes_where_it_says_and_nowhere_else() {
    for float in [Float::F32, Float::F16, Float::BF16] {
        let mut victim = victim(float);
        let before = victim.bytes.clone();
        let start = victim.placed("second").range.start;
        for attack in all(float) {
            let done = attack.apply(&mut victim, "second", "third");
            let what = format!("{} {} of {float:?}", attack.name, attack.strength);
            let changed: Vec<usize> =
                (0..before.len()).filter(|i| before[*i] != victim.bytes[*i]).collect();
            let (from, to) = (start + done.range.start, start + done.range.end);
            assert!(changed.iter().all(|at| (from..to).contains(at)), "{what}");
            // F32 and BF16 weights have no second exponent bit that is clear.
            let idle = attack.strength == "second bit, up" && float != Float::F16;
            assert_eq!(changed.is_empty(), idle, "{what}");
            assert_eq!(done.range.is_empty(), idle, "{what}");
            if attack.local && !idle {
                // The range is that of the damage: it begins and ends near it.
                let (first, last) = (changed[0], changed[changed.len() - 1]);
                assert!(
                    first - from < 64 && to - last <= 64,
                    "{what}: {from}..{to} {first} {last}"
                );
            }
            done.undo(&mut victim);
            assert!(victim.bytes == before, "{what} is undone");
        }
    }
}

#[test]
fn the_same_attack_is_the_same_twice() {
    let mut victim = victim(Float::BF16);
    for (one, two) in all(Float::BF16).iter().zip(all(Float::BF16)) {
        let done = one.apply(&mut victim, "second", "third");
        let after = victim.bytes.clone();
        done.undo(&mut victim);
        let done = two.apply(&mut victim, "second", "third");
        assert!(victim.bytes == after, "{} {}", one.name, one.strength);
        done.undo(&mut victim);
    }
}

#[test]
fn what_is_hidden_in_low_bits_is_got_out_again() {
    for float in [Float::F32, Float::F16, Float::BF16] {
        for bits in 1..=float.mantissa() as usize {
            for order in [BitOrder::LowFirst, BitOrder::HighFirst] {
                for first in [0, 1000] {
                    let field = LowBits { width: float.width(), bits, order, first };
                    let mut data = noise(3, 4000 * float.width());
                    let before = data.clone();
                    let payload = Payload::Zip.bytes(field.capacity(&data), 1);
                    let taken = field.embed(&mut data, &payload);
                    assert!(first + taken <= 4000);
                    assert_eq!(field.extract(&data, payload.len()), payload);
                    // Nothing but those bits of those elements is another.
                    for (i, (old, new)) in
                        before.chunks(float.width()).zip(data.chunks(float.width())).enumerate()
                    {
                        let differ = float.bits(old) ^ float.bits(new);
                        assert_eq!(differ >> bits, 0);
                        assert!(differ == 0 || (first..first + taken).contains(&i));
                    }
                }
            }
        }
    }
}

#[test]
fn bits_are_packed_as_the_orders_say() {
    let pack = |order, bits, payload: &[u8]| {
        let mut data = vec![0; 16];
        LowBits { width: 2, bits, order, first: 0 }.embed(&mut data, payload);
        data.chunks(2).map(|e| e[0]).collect::<Vec<u8>>()
    };
    assert_eq!(pack(BitOrder::LowFirst, 1, &[0b1011_0001]), [1, 0, 0, 0, 1, 1, 0, 1]);
    assert_eq!(pack(BitOrder::HighFirst, 1, &[0b1011_0001]), [1, 0, 1, 1, 0, 0, 0, 1]);
    assert_eq!(pack(BitOrder::LowFirst, 4, &[0xA5, 0x3C])[..4], [0x5, 0xA, 0xC, 0x3]);
    assert_eq!(pack(BitOrder::HighFirst, 4, &[0xA5, 0x3C])[..4], [0xA, 0x5, 0x3, 0xC]);
    assert_eq!(pack(BitOrder::HighFirst, 8, &[0xA5, 0x3C])[..2], [0xA5, 0x3C]);
}

#[test]
fn payloads_are_what_they_are_called() {
    let zip = Payload::Zip.bytes(5000, 1);
    assert_eq!(zip.len(), 5000);
    assert!(zip.starts_with(b"PK\x03\x04"));
    let end = &zip[zip.len() - 22..];
    assert!(end.starts_with(b"PK\x05\x06"));
    let at = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
    assert_eq!(&zip[at..at + 4], b"PK\x01\x02");
    let size = u32::from_le_bytes(zip[18..22].try_into().unwrap()) as usize;
    let member = &zip[30 + 11..30 + 11 + size];
    assert_eq!(crc32fast::hash(member).to_le_bytes(), zip[14..18]);
    assert_eq!(30 + 11 + size, at);
    assert!(Payload::Script.bytes(5000, 1).starts_with(b"#!/bin/sh\n"));
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(Payload::Executable.bytes(5000, 1), program[..5000]);
    assert_ne!(Payload::Code.bytes(5000, 1), program[..5000]);
    assert_ne!(Payload::Encrypted.bytes(64, 1), Payload::Encrypted.bytes(64, 2));
}
