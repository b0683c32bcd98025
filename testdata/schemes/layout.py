"""What the layers have in common: how codes are packed, and how a layer is written."""

import json
import pathlib
import shutil
import zlib

import ml_dtypes
import numpy as np
from safetensors.numpy import save, save_file

HERE = pathlib.Path(__file__).parent
BF16, E4M3, E5M2 = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float64)
LAYER = "model.layers.0."


class Layer:
    """The tensors of a directory and the values that they stand for, random by its name."""

    def __init__(self, name):
        self.name, self.random = name, np.random.default_rng(zlib.crc32(name.encode()))
        self.tensors, self.values = {}, {}

    def codes(self, bits, *shape):
        return self.random.integers(0, 1 << bits, shape)

    def numbers(self, kind, *shape):
        return self.random.uniform(0.005, 0.1, shape).astype(kind)

    def weight(self, module, values, **parts):
        """A weight of `model.layers.0`, from tensors whose names begin with the module's; `_` stands for a point
        where a name has two."""
        self.tensors |= {f"{LAYER}{module}.{part}": tensor for part, tensor in parts.items()}
        self.values[f"layers.0.{module}.weight"] = values

    def write(self, config=None, metadata=None):
        directory = HERE / self.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}
        (directory / "model.safetensors").write_bytes(in_order(save(tensors, metadata)))
        values = {name: np.ascontiguousarray(values, np.float32) for name, values in self.values.items()}
        save_file(values, directory / "values.safetensors")
        (directory / "config.json").write_text(json.dumps(config or {}))


def in_order(file):
    """A file whose header has its entries by their names; the library's are in another order each time."""
    length = int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8:8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[8 + length:]


def stream(codes, bits):
    """Codes of each row as one stream of bits, the lowest first, in words of 32."""
    flat = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(*codes.shape[:-1], -1)
    missing = -flat.shape[-1] % 32
    flat = np.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, missing)])
    return np.packbits(flat, axis=-1, bitorder="little").view(np.uint32)


def down(codes, bits):
    """The same of each column."""
    return np.ascontiguousarray(stream(np.ascontiguousarray(codes.T), bits).T)


def nibbles(codes):
    """Two codes a byte along each row, the first in the lower half."""
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)


def parts_of_rows(codes, bits, high_first):
    """Rows in as many equal parts as a byte has codes: one part in the lowest bits of all bytes, and so on."""
    planes = 8 // bits
    each = -(-len(codes) // planes)
    codes = np.pad(codes, [(0, each * planes - len(codes)), (0, 0)]).reshape(planes, each, -1)
    order = range(planes - 1, -1, -1) if high_first else range(planes)
    return sum(codes[part] << place * bits for place, part in enumerate(order)).astype(np.uint8)


def spread(numbers, block, shape):
    """Each number over a block of rows and columns of a matrix; the last blocks may be cut off."""
    numbers = np.repeat(np.repeat(numbers.astype(np.float64), block[0], -2), block[1], -1)
    return numbers[..., :shape[0], :shape[1]]


def grouped(numbers, codes):
    """Each number over a group of columns, of which all have as many."""
    return spread(numbers, (1, codes.shape[-1] // numbers.shape[-1]), codes.shape[-2:])


def power(exponents):
    """2^(e - 127): E8M0."""
    return np.exp2(exponents.astype(np.float64) - 127)


def e8m0(exponents):
    """Exponents in their own type."""
    return exponents.astype(np.uint8).view(ml_dtypes.float8_e8m0fnu)


def signed(codes, bits):
    """Two's complement."""
    return np.where(codes >= 1 << bits - 1, codes - (1 << bits), codes)
