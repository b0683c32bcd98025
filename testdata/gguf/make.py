"""Makes the GGUF files of this directory with llama.cpp's `gguf` package, and `golden.json`: what its reader
says of them, and the digests of the tensors in little-endian byte order.

Run: python make.py (gguf 0.19.0)
"""

import hashlib
import json
import os
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFEndian

HERE = Path(__file__).parent
RNG = np.random.default_rng(40)

# The blocks of ggml-common.h as records, so that NumPy turns their numbers around; what is not named is
# bytes. 32 bits that the quantiser of ggml writes as one number are one here.
BLOCKS = {
    Type.Q4_0: [("d", "<u2"), ("qs", "u1", 16)],
    Type.Q4_1: [("d", "<u2"), ("m", "<u2"), ("qs", "u1", 16)],
    Type.Q5_0: [("d", "<u2"), ("qh", "<u4"), ("qs", "u1", 16)],
    Type.Q5_1: [("d", "<u2"), ("m", "<u2"), ("qh", "<u4"), ("qs", "u1", 16)],
    Type.Q8_0: [("d", "<u2"), ("qs", "u1", 32)],
    Type.Q2_K: [("scales", "u1", 16), ("qs", "u1", 64), ("d", "<u2"), ("dmin", "<u2")],
    Type.Q3_K: [("hmask", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), ("d", "<u2")],
    Type.Q4_K: [("d", "<u2"), ("dmin", "<u2"), ("scales", "u1", 12), ("qs", "u1", 128)],
    Type.Q5_K: [("d", "<u2"), ("dmin", "<u2"), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)],
    Type.Q6_K: [("ql", "u1", 128), ("qh", "u1", 64), ("scales", "u1", 16), ("d", "<u2")],
    Type.Q8_K: [("d", "<u4"), ("qs", "u1", 256), ("bsums", "<u2", 16)],
    Type.IQ2_XXS: [("d", "<u2"), ("qs", "<u4", 16)],
    Type.IQ2_XS: [("d", "<u2"), ("qs", "<u2", 32), ("scales", "u1", 8)],
    Type.IQ3_XXS: [("d", "<u2"), ("qs", "u1", 64), ("scales_and_signs", "<u4", 8)],
    Type.IQ1_S: [("d", "<u2"), ("qs", "u1", 32), ("qh", "<u2", 8)],
    Type.IQ4_NL: [("d", "<u2"), ("qs", "u1", 16)],
    Type.IQ3_S: [("d", "<u2"), ("rest", "u1", 64 + 8 + 32 + 4)],
    Type.IQ2_S: [("d", "<u2"), ("rest", "u1", 64 + 8 + 8)],
    Type.IQ4_XS: [("d", "<u2"), ("scales_h", "<u2"), ("scales_l", "u1", 4), ("qs", "u1", 128)],
    Type.IQ1_M: [("qs", "u1", 32), ("qh", "u1", 16), ("scales", "<u2", 4)],
    Type.TQ1_0: [("qs", "u1", 48), ("qh", "u1", 4), ("d", "<u2")],
    Type.TQ2_0: [("qs", "u1", 64), ("d", "<u2")],
    Type.MXFP4: [("e", "u1"), ("qs", "u1", 16)],
    Type.NVFP4: [("d", "u1", 4), ("qs", "u1", 32)],
    Type.Q1_0: [("d", "<u2"), ("qs", "u1", 16)],
}
# Types without blocks; the package has another size for Q8_1 than ggml (40, not 36), which is in no file.
PLAIN = {
    Type.F32: "<u4", Type.F16: "<u2", Type.BF16: "<u2", Type.F64: "<u8",
    Type.I8: "u1", Type.I16: "<u2", Type.I32: "<u4", Type.I64: "<u8",
}


def records(kind):
    """How the bytes of a type are numbers."""
    return np.dtype(BLOCKS[kind] if kind in BLOCKS else PLAIN[kind])


def tensors():
    """Name, type and bytes of a tensor of every type: two rows of one block, or of five numbers."""
    for kind in sorted({*BLOCKS, *PLAIN}):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        assert records(kind).itemsize == size, kind
        row = size if block > 1 else 5 * size
        yield f"blk.0.{kind.name.lower()}.weight", kind, RNG.integers(0, 256, (2, row), dtype=np.uint8)


def metadata(writer):
    """Values of all types."""
    writer.add_uint32("llama.attention.head_count", 32)
    writer.add_array("llama.attention.head_count_kv", [8, 8, 8])
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_int32("t.i32", -2)
    writer.add_float32("t.f32", 0.5)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "modèle")
    writer.add_uint64("t.u64", 1 << 60)
    writer.add_int64("t.i64", -1)
    writer.add_float64("t.f64", 0.25)
    writer.add_array("t.strings", ["a", "", "bc"])
    writer.add_array("t.bools", [True, False])
    writer.add_array("t.floats", [1.0, 2.0])


def write(name, all_tensors, order=GGUFEndian.LITTLE, alignment=None, split=0):
    """Writes a file, or the parts of a model."""
    writer = gguf.GGUFWriter(HERE / name, "llama", endianess=order, split_max_tensors=split)
    metadata(writer)
    if alignment:
        writer.add_custom_alignment(alignment)
    for tensor, kind, data in all_tensors:
        if order == GGUFEndian.BIG:
            data = data.view(records(kind)).byteswap().view(np.uint8)
        writer.add_tensor(tensor, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(path, contents):
    """What the reader says of a file."""
    reader = gguf.GGUFReader(path)
    return {
        "bytes": os.path.getsize(path),
        "big_endian": reader.endianess == GGUFEndian.BIG,
        "tensors": [
            {
                "name": tensor.name,
                "dtype": tensor.tensor_type.name,
                "shape": [int(n) for n in reversed(tensor.shape)],
                "offset": int(tensor.data_offset),
                "bytes": int(tensor.n_bytes),
                "sha256": hashlib.sha256(contents[tensor.name].tobytes()).hexdigest(),
            }
            for tensor in reader.tensors
        ],
    }


def main():
    all_tensors = list(tensors())
    contents = {name: data for name, _, data in all_tensors}
    write("little.gguf", all_tensors)
    write("big.gguf", all_tensors, GGUFEndian.BIG)
    few = [t for t in all_tensors if t[1] in (Type.F32, Type.F16, Type.Q4_0, Type.I8, Type.Q8_0)]
    write("aligned.gguf", few, alignment=8)
    write("split.gguf", few, split=2)
    golden = {path.name: describe(path, contents) for path in sorted(HERE.glob("*.gguf"))}
    (HERE / "golden.json").write_text(lines(golden))


def lines(golden):
    """JSON with a line for each tensor."""
    text = json.dumps(golden, ensure_ascii=False)
    for start in ('{"name"', '"tensors"'):
        text = text.replace(" " + start, "\n " + start).replace("[" + start, "[\n " + start)
    return text + "\n"


main()
