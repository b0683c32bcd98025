#!/usr/bin/env python3
"""Golden values of the block-quantised types: `decoded.json`.

Run with `gguf` 0.19.0, the first with NVFP4 (0.17.1 gives the same for the other types):

    python3 make.py > decoded.json

The blocks of a type are 10,000 times its bytes of SHAKE-256 of "tensorseal quantised <name>". The
scale words of the first blocks are then replaced by edges of their format: the pair (i, j) of edges in
block n * i + j, for d and dmin. Kept are the SHA-256 of the bits of all values as little-endian
binary32 (NaN as 0x7FC00000), and the values of two blocks in full. Types that the package does not
decode are defined below, in numpy.
"""

import hashlib
import json

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

BLOCKS = 10_000
F16_EDGES = [
    0x7E00, 0x7C01, 0xFE00, 0x7C00, 0xFC00, 0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF,
    0x3C00,
]
F32_EDGES = [
    0x7FC00000, 0x7F800001, 0xFFC00000, 0x7F800000, 0xFF800000, 0x00000000, 0x80000000, 0x00000001,
    0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7E000000, 0x00400001, 0x02FFFFFF,
]
# Byte of d, byte of dmin.
SCALES = {
    "Q4_0": (0, None), "Q4_1": (0, 2), "Q5_0": (0, None), "Q5_1": (0, 2), "Q8_0": (0, None),
    "Q8_1": (0, None), "Q2_K": (80, 82), "Q3_K": (108, None), "Q4_K": (0, 2), "Q5_K": (0, 2),
    "Q6_K": (208, None), "IQ2_XXS": (0, None), "IQ2_XS": (0, None), "IQ3_XXS": (0, None),
    "IQ1_S": (0, None), "IQ4_NL": (0, None), "IQ3_S": (0, None), "IQ2_S": (0, None),
    "IQ4_XS": (0, None), "TQ1_0": (52, None), "TQ2_0": (64, None), "Q1_0": (0, None), "Q2_0": (0, None),
}
NAMES = [
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K",
    "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "IQ1_M", "TQ1_0",
    "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0",
]


def blocks_of(name: str) -> np.ndarray:
    """The blocks, one a row."""
    # The package still gives Q8_1 the two binary32 it had in 2023; ggml has two binary16.
    # Q2_0 is in ggml and not yet in the package.
    own = {"Q8_1": 36, "Q2_0": 18}
    size = own.get(name) or GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    noise = hashlib.shake_256(f"tensorseal quantised {name}".encode()).digest(BLOCKS * size)
    blocks = np.frombuffer(noise, np.uint8).reshape(BLOCKS, size).copy()
    if name == "Q8_K":
        for i, edge in enumerate(F32_EDGES):
            blocks[i, :4] = np.frombuffer(np.uint32(edge).tobytes(), np.uint8)
    elif name == "IQ1_M":
        for i, edge in enumerate(F16_EDGES):
            for j in range(4):
                at = 48 + 2 * j + 1
                blocks[i, at] = blocks[i, at] & 0x0F | (edge >> (4 * j) & 15) << 4
    elif name in SCALES:
        d, dmin = SCALES[name]
        n = len(F16_EDGES)
        for i, edge in enumerate(F16_EDGES):
            for j, other in enumerate(F16_EDGES if dmin is not None else F16_EDGES[:1]):
                block = blocks[n * i + j if dmin is not None else i]
                block[d : d + 2] = np.frombuffer(np.uint16(edge).tobytes(), np.uint8)
                if dmin is not None:
                    block[dmin : dmin + 2] = np.frombuffer(np.uint16(other).tobytes(), np.uint8)
    return blocks


def halves(blocks: np.ndarray, at: int) -> np.ndarray:
    """A column of binary16 as binary32."""
    return blocks[:, at : at + 2].copy().view(np.float16).astype(np.float32)


def decode(name: str, blocks: np.ndarray) -> np.ndarray:
    """The values, one block a row."""
    if name == "Q8_1":
        return halves(blocks, 0) * blocks[:, 4:36].view(np.int8).astype(np.float32)
    if name == "Q8_K":
        d = blocks[:, :4].copy().view(np.float32)
        return d * blocks[:, 4:260].view(np.int8).astype(np.float32)
    if name == "Q1_0":
        bits = np.unpackbits(blocks[:, 2:18], axis=1, bitorder="little")
        return halves(blocks, 0) * np.where(bits == 1, np.float32(1), np.float32(-1))
    if name == "Q2_0":
        codes = blocks[:, 2:18, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
        return halves(blocks, 0) * (codes.reshape(len(blocks), 64).astype(np.float32) - 1)
    return gguf.dequantize(blocks, GGMLQuantizationType[name])


def main() -> None:
    golden = {}
    with np.errstate(all="ignore"):
        for name in NAMES:
            values = decode(name, blocks_of(name)).astype(np.float32).reshape(BLOCKS, -1)
            bits = np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))
            golden[name] = {
                "sha256": hashlib.sha256(bits.astype("<u4").tobytes()).hexdigest(),
                "blocks": {str(n): [f"{b:08x}" for b in bits[n][:64]] for n in (12, 9_999)},
            }
    print(json.dumps(golden, indent=None, separators=(",", ":")).replace('"},"', '"},\n"').replace("}},", "}},\n"))


if __name__ == "__main__":
    main()
