//! What an attacker hides in weights, and how it is put into their low bits and got out again.

use crate::common::models::noise;
use std::sync::OnceLock;

/// What is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A program: the one that runs this test, from its first byte on.
    Executable,
    /// Machine code and data out of the middle of a program: no magic bytes lead.
    Code,
    /// An archive of one member that looks like noise, as compressed ones do.
    Zip,
    /// A shell script.
    Script,
    /// Nothing to tell it from chance, as of every good cipher.
    Encrypted,
}

impl Payload {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Executable => "executable",
            Self::Code => "code",
            Self::Zip => "zip",
            Self::Script => "script",
            Self::Encrypted => "encrypted",
        }
    }

    /// So many bytes of it. A program shorter than that begins again.
    pub(crate) fn bytes(self, len: usize, seed: u64) -> Vec<u8> {
        match self {
            Self::Executable => executable().iter().copied().cycle().take(len).collect(),
            Self::Code => {
                let program = executable();
                program.iter().copied().cycle().skip(program.len() / 3).take(len).collect()
            }
            Self::Zip => zip(len, seed),
            Self::Script => script(len),
            Self::Encrypted => noise(seed, len),
        }
    }
}

fn executable() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| std::fs::read(std::env::current_exe().unwrap()).unwrap())
}

/// An archive of exactly this length with one stored member (APPNOTE 6.3, 4.3).
fn zip(len: usize, seed: u64) -> Vec<u8> {
    const NAME: &[u8] = b"payload.bin";
    const AROUND: usize = 30 + NAME.len() + 46 + NAME.len() + 22;
    let member = noise(seed, len.checked_sub(AROUND).expect("room for an archive"));
    let size = (member.len() as u32).to_le_bytes();
    let shared = [
        &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5B][..],
        &crc32fast::hash(&member).to_le_bytes(),
        &size,
        &size,
        &(NAME.len() as u16).to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    let local = [b"PK\x03\x04", &shared[..], NAME, &member].concat();
    let central = [b"PK\x01\x02\x14\x00", &shared[..], &[0; 14], NAME].concat();
    let end = [
        b"PK\x05\x06\0\0\0\0\x01\0\x01\0",
        &(central.len() as u32).to_le_bytes()[..],
        &(local.len() as u32).to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    [local, central, end].concat()
}

fn script(len: usize) -> Vec<u8> {
    let mut text = String::from("#!/bin/sh\nset -eu\n");
    for line in 0.. {
        if text.len() >= len {
            break;
        }
        text.push_str(&format!("install -m 755 \"$TMPDIR/part-{line}\" \"$HOME/.cache/{line}\"\n"));
    }
    text.truncate(len);
    text.into_bytes()
}

/// Which end of each byte and each field comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BitOrder {
    /// Bit 0 of a byte is the first, and goes to bit 0 of the field.
    LowFirst,
    /// Bit 7 of a byte is the first, and goes to the highest bit of the field.
    HighFirst,
}

/// A field of `bits` low bits in each element of `width` bytes, from the element `first` on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LowBits {
    pub width: usize,
    pub bits: usize,
    pub order: BitOrder,
    pub first: usize,
}

impl LowBits {
    /// How many bytes fit into the elements from `first` on.
    pub(crate) fn capacity(&self, data: &[u8]) -> usize {
        (data.len() / self.width).saturating_sub(self.first) * self.bits / 8
    }

    /// Where the bit `index` of the payload is: its byte and place there, then those in the data.
    fn place(&self, index: usize) -> ((usize, usize), (usize, usize)) {
        let (element, within) = (self.first + index / self.bits, index % self.bits);
        let (from, to) = match self.order {
            BitOrder::LowFirst => (index % 8, within),
            BitOrder::HighFirst => (7 - index % 8, self.bits - 1 - within),
        };
        // Little-endian: the low bits of an element are in its first bytes.
        ((index / 8, from), (element * self.width + to / 8, to % 8))
    }

    /// Writes a payload; gives how many elements it took.
    pub(crate) fn embed(&self, data: &mut [u8], payload: &[u8]) -> usize {
        for index in 0..payload.len() * 8 {
            let ((byte, from), (at, to)) = self.place(index);
            let bit = payload[byte] >> from & 1;
            data[at] = data[at] & !(1 << to) | bit << to;
        }
        (payload.len() * 8).div_ceil(self.bits)
    }

    /// Reads a payload of so many bytes.
    pub(crate) fn extract(&self, data: &[u8], len: usize) -> Vec<u8> {
        let mut payload = vec![0; len];
        for index in 0..len * 8 {
            let ((byte, from), (at, to)) = self.place(index);
            payload[byte] |= (data[at] >> to & 1) << from;
        }
        payload
    }
}
