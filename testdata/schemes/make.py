"""Makes small quantised layers the way the libraries keep them, and what they stand for.

Each directory is a model: `model.safetensors` and `config.json`; `values.safetensors` beside them holds
the weights that the codes and scales stand for, computed here with NumPy on whole arrays from the
published layouts (AutoGPTQ, AutoAWQ, bitsandbytes, compressed-tensors, DeepSeek-V3, gpt-oss; those of
other libraries are in the files beside this one).
"""

import json
import pathlib
import shutil
import sys

# The tests take every folder here for a layer.
sys.dont_write_bytecode = True

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

import compressed_tensors
import gptq_and_awq
import hqq
import hugging_face
import mlx
import modelopt
import quanto
import torchao

HERE = pathlib.Path(__file__).parent
random = np.random.default_rng(20261125)

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float64)
NF4 = np.array([
    -1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0, 0.0795803,
    0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0], np.float32)


def write(name, tensors, values, config):
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    save_file({n: np.ascontiguousarray(t) for n, t in tensors.items()}, directory / "model.safetensors")
    values = {n: np.ascontiguousarray(v, np.float64) for n, v in values.items()}
    save_file(values, directory / "values.safetensors")
    (directory / "config.json").write_text(json.dumps({"quantization_config": config}))


def pack(codes, bits, axis):
    """Codes into int32 words, the first in the lowest bits."""
    codes = np.moveaxis(codes, axis, -1).astype(np.uint64)
    per = 32 // bits
    codes = codes.reshape(*codes.shape[:-1], -1, per)
    words = (codes << (np.arange(per, dtype=np.uint64) * np.uint64(bits))).sum(axis=-1)
    return np.moveaxis(words.astype(np.uint32).view(np.int32), -1, axis)


def gptq(name, bits, act_order, version):
    inputs, outputs, group = 128, 24 if bits == 4 else 16, 32
    codes = random.integers(0, 1 << bits, (inputs, outputs))
    zeros = random.integers(1, 1 << bits, (inputs // group, outputs))
    scales = random.uniform(0.001, 0.1, zeros.shape).astype(np.float16)
    groups = np.arange(inputs) // group
    if act_order:
        groups = random.permutation(groups)
    tensors = {
        "model.layers.0.self_attn.q_proj.qweight": pack(codes, bits, 0),
        "model.layers.0.self_attn.q_proj.qzeros": pack(zeros - (1 if version == 1 else 0), bits, 1),
        "model.layers.0.self_attn.q_proj.scales": scales,
        "model.layers.0.self_attn.q_proj.g_idx": groups.astype(np.int32),
        "model.norm.weight": np.ones(8, np.float16),
    }
    values = ((codes - zeros[groups]) * scales.astype(np.float64)[groups]).T
    config = {"quant_method": "gptq", "bits": bits, "group_size": group}
    if version == 2:
        config["checkpoint_format"] = "gptq_v2"
    write(name, tensors, {"layers.0.self_attn.q_proj.weight": values}, config)


def awq():
    inputs, outputs, group = 96, 32, 32
    codes = random.integers(0, 16, (inputs, outputs))
    zeros = random.integers(0, 16, (inputs // group, outputs))
    scales = random.uniform(0.001, 0.1, zeros.shape).astype(np.float16)

    def interleave(codes):
        eight = codes.reshape(codes.shape[0], -1, 8)[:, :, [0, 2, 4, 6, 1, 3, 5, 7]]
        return pack(eight.reshape(codes.shape), 4, 1)

    base = "model.layers.3.mlp.down_proj."
    tensors = {base + "qweight": interleave(codes), base + "qzeros": interleave(zeros), base + "scales": scales}
    values = (codes - np.repeat(zeros, group, 0)) * np.repeat(scales.astype(np.float64), group, 0)
    write("awq", tensors, {"layers.3.mlp.down_proj.weight": values.T}, {"quant_method": "awq", "bits": 4})


def state(**members):
    return np.frombuffer(json.dumps(members).encode(), np.uint8)


def bitsandbytes_4(name, kind, nested):
    shape, block = (24, 100), 64
    count = shape[0] * shape[1]
    table = NF4 if kind == "nf4" else np.array(
        [0, 0.0052, 0.6667, 1, 0.3333, 0.5, 0.1667, 0.25] * 2, np.float32) * np.repeat([1, -1], 8).astype(np.float32)
    codes = random.integers(0, 16, count)
    blocks = -(-count // block)
    base = "model.layers.1.mlp.up_proj.weight"
    tensors = {base: (codes[0::2] << 4 | codes[1::2]).astype(np.uint8)[:, None], base + ".quant_map": table}
    note = dict(blocksize=block, shape=list(shape), dtype="bfloat16", quant_type=kind)
    if nested:
        of_scales = np.sort(random.uniform(-1, 1, 256)).astype(np.float32)
        coded = random.integers(0, 256, blocks).astype(np.uint8)
        outer = random.uniform(0.01, 0.1, -(-blocks // 16)).astype(np.float32)
        note.update(nested_blocksize=16, nested_offset=0.25, nested_dtype="float32")
        tensors |= {base + ".absmax": coded, base + ".nested_absmax": outer, base + ".nested_quant_map": of_scales}
        scales = of_scales[coded].astype(np.float64) * outer.astype(np.float64)[np.arange(blocks) // 16] + 0.25
    else:
        scales = random.uniform(0.01, 0.1, blocks).astype(np.float32)
        tensors[base + ".absmax"] = scales
    tensors[f"{base}.quant_state.bitsandbytes__{kind}"] = state(**note)
    values = table[codes].astype(np.float64) * np.repeat(np.float64(scales), block)[:count]
    write(name, tensors, {"layers.1.mlp.up_proj.weight": values.reshape(shape)},
          {"quant_method": "bitsandbytes", "load_in_4bit": True})


def bitsandbytes_8():
    codes = random.integers(-127, 128, (16, 40)).astype(np.int8)
    largest = random.uniform(0.1, 1, 16).astype(np.float32)
    base = "model.layers.0.self_attn.o_proj."
    tensors = {base + "weight": codes, base + "SCB": largest, base + "weight_format": np.zeros((), np.uint8)}
    values = codes * (largest.astype(np.float64) / 127)[:, None]
    write("bitsandbytes-int8", tensors, {"layers.0.self_attn.o_proj.weight": values},
          {"quant_method": "bitsandbytes", "load_in_8bit": True})





def fp8():
    # Blocks of 16 x 32, the last ones cut off.
    weight = random.normal(size=(40, 72)).astype(ml_dtypes.float8_e4m3fn)
    scales = random.uniform(0.01, 0.1, (3, 3)).astype(np.float32)
    full = np.kron(scales.astype(np.float64), np.ones((16, 32)))[:40, :72]
    rows = random.normal(size=(24, 48)).astype(ml_dtypes.float8_e4m3fn)
    by_row = random.uniform(0.01, 0.1, (24, 1)).astype(np.float32)
    whole = random.normal(size=(8, 48)).astype(ml_dtypes.float8_e5m2)
    one = np.float32([0.125])
    tensors = {
        "model.layers.0.a.weight": weight, "model.layers.0.a.weight_scale_inv": scales,
        "model.layers.0.b.weight": rows, "model.layers.0.b.weight_scale": by_row,
        "model.layers.0.c.weight": whole, "model.layers.0.c.weight_scale": one,
    }
    values = {
        "layers.0.a.weight": weight.astype(np.float64) * full,
        "layers.0.b.weight": rows.astype(np.float64) * by_row.astype(np.float64),
        "layers.0.c.weight": whole.astype(np.float64) * 0.125,
    }
    write("fp8", tensors, values, {"quant_method": "fp8", "weight_block_size": [16, 32]})


def compressed(name, asymmetric):
    rows, columns, group = 16, 64, 16
    codes = random.integers(0, 16, (rows, columns))
    scales = random.uniform(0.01, 0.1, (rows, columns // group)).astype(ml_dtypes.bfloat16)
    zeros = random.integers(0, 16, scales.shape) if asymmetric else np.full(scales.shape, 8)
    base = "model.layers.0.mlp.gate_proj."
    tensors = {
        base + "weight_packed": pack(codes, 4, 1), base + "weight_scale": scales,
        base + "weight_shape": np.array([rows, columns], np.int64),
    }
    if asymmetric:
        tensors[base + "weight_zero_point"] = pack(zeros, 4, 0)
    values = (codes - np.repeat(zeros, group, 1)) * np.repeat(scales.astype(np.float64), group, 1)
    config = {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": group}}},
    }
    write(name, tensors, {"layers.0.mlp.gate_proj.weight": values}, config)


def nvfp4():
    rows, columns = 12, 64
    codes = random.integers(0, 16, (rows, columns))
    scales = random.uniform(1, 100, (rows, columns // 16)).astype(ml_dtypes.float8_e4m3fn)
    overall = np.float32([1234.5])
    base = "model.layers.0.mlp.gate_proj."
    tensors = {
        base + "weight_packed": (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8),
        base + "weight_scale": scales, base + "weight_global_scale": overall,
    }
    values = E2M1[codes] * np.repeat(scales.astype(np.float64) / np.float64(overall[0]), 16, 1)
    write("nvfp4", tensors, {"layers.0.mlp.gate_proj.weight": values},
          {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"})


def mxfp4():
    experts, rows, groups = 2, 6, 3
    codes = random.integers(0, 16, (experts, rows, groups, 32))
    scales = random.integers(110, 130, (experts, rows, groups)).astype(np.uint8)
    base = "model.layers.0.mlp.experts.down_proj"
    tensors = {
        base + "_blocks": (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8),
        base + "_scales": scales,
    }
    values = E2M1[codes] * np.exp2(scales.astype(np.float64) - 127)[..., None]
    write("mxfp4", tensors, {"layers.0.mlp.experts.down_proj": values.reshape(experts, rows, -1).swapaxes(1, 2)},
          {"quant_method": "mxfp4"})


gptq("gptq", 4, act_order=False, version=1)
gptq("gptq-act-order", 4, act_order=True, version=2)
gptq("gptq-8-bits", 8, act_order=False, version=1)
awq()
bitsandbytes_4("bitsandbytes-nf4", "nf4", nested=False)
bitsandbytes_4("bitsandbytes-nf4-nested", "nf4", nested=True)
bitsandbytes_4("bitsandbytes-fp4", "fp4", nested=False)
bitsandbytes_8()
fp8()
compressed("compressed-tensors", asymmetric=False)
compressed("compressed-tensors-asymmetric", asymmetric=True)
nvfp4()
mxfp4()
for library in [compressed_tensors, gptq_and_awq, hqq, hugging_face, mlx, modelopt, quanto, torchao]:
    library.write()
