#!/usr/bin/env python3
"""Codewords of the payload code, made by shift registers on lists of bits: no code is shared with
the program. Writes codeword.json beside this file."""

import json
import os
import zlib

GENERATORS = ["100110011", "101011101", "111011011", "111100101"]  # 463, 535, 733, 745 octal


def codeword(payload: int) -> str:
    data = payload.to_bytes(8, "big")
    data += zlib.crc32(data).to_bytes(4, "big")
    bits = "".join(f"{byte:08b}" for byte in data) + "0" * 8
    register = [0] * 9
    coded = ""
    for bit in bits:
        # The newest bit stands first, where each generator has its most significant bit.
        register = [int(bit)] + register[:-1]
        for generator in GENERATORS:
            taps = [r for r, g in zip(register, generator) if g == "1"]
            coded += str(sum(taps) % 2)
    return coded


payloads = [0, 1, 0xFFFFFFFFFFFFFFFF, 0x0123456789ABCDEF, 0x8000000000000000, 0xDEADBEEFCAFEF00D]
result = {
    "source": "testdata/watermark/codeword.py",
    "codewords": [{"payload": f"{p:016x}", "bits": codeword(p)} for p in payloads],
}
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "codeword.json"), "w") as out:
    json.dump(result, out, indent=1)
    out.write("\n")
