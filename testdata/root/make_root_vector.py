"""Makes root_vector.json and strided_vector.json: the model root as docs/formats.md defines it, of tensors that
lie row-major and of some that do not, from the `blake3` package.

    python3 -m pip install blake3
    python3 testdata/root/make_root_vector.py
"""

import json
import pathlib
import struct

import blake3

CONTEXT = "tensorseal 2026-11-23 model root v1"

TENSORS = [
    ("model.layers.10.weight", "BF16", [2, 3], bytes(range(12))),
    ("model.layers.2.weight", "F32", [3], bytes(range(100, 112))),
    ("scalar", "I64", [], b"\x01\x02\x03\x04\x05\x06\x07\x08"),
    ("empty", "F16", [0, 7], b""),
    # U+FF21 sorts before U+1F600 in UTF-8 and after it in UTF-16.
    ("\uff21", "U8", [1], b"\x07"),
    ("\U0001f600", "U8", [1], b"\x08"),
    ("", "F8_E4M3", [2], b"\x3c\x3d"),
]


# Name, type, shape, strides and the bytes from the first element to the last.
STRIDED = [
    ("a.plain", "F32", [2, 3], None, bytes(range(24))),
    ("b.transposed", "F32", [3, 2], [1, 3], bytes(range(24))),
    ("c.columns", "I16", [2, 2], [3, 1], bytes(range(10))),
    ("d.repeated", "U8", [4, 1, 2], [0, 0, 1], b"\x01\x02"),
    ("e.fortran", "F64", [1, 2, 2], [0, 1, 2], bytes(range(32))),
]


def length(number):
    return struct.pack("<Q", number)


def write(tensors, file):
    hasher = blake3.blake3(derive_key_context=CONTEXT)
    entries = []
    for name, dtype, shape, strides, data in sorted(tensors, key=lambda tensor: tensor[0].encode()):
        digest = blake3.blake3(data).digest()
        encoded = name.encode()
        hasher.update(length(len(encoded)) + encoded)
        hasher.update(length(len(dtype)) + dtype.encode())
        hasher.update(length(len(shape)) + b"".join(length(n) for n in shape))
        if strides is not None:
            hasher.update(length(7) + b"strides" + b"".join(length(n) for n in strides))
        hasher.update(length(len(digest)) + digest)
        entry = {"name": name, "dtype": dtype, "shape": shape}
        if strides is not None:
            entry["strides"] = strides
        entries.append({**entry, "data": data.hex(), "blake3": digest.hex()})
    vector = {"tensors": entries, "root": "blake3:" + hasher.digest().hex()}
    path = pathlib.Path(__file__).with_name(file)
    path.write_text(json.dumps(vector, indent=2) + "\n")


def main():
    write([(*rest, None, data) for *rest, data in TENSORS], "root_vector.json")
    write(STRIDED, "strided_vector.json")


if __name__ == "__main__":
    main()
