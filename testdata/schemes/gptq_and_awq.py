"""GPTQ where its bits are no divisor of a word, and where no configuration tells its version; AWQ for vectors."""

import numpy as np

from layout import Layer, down, stream


# Width of the planes that GPTQModel splits codes into, the lowest bits first.
PLANES = {3: [2, 1], 5: [4, 1], 6: [4, 2], 7: [4, 2, 1]}


def split(codes, bits):
    """Each 32 codes of a row as words of their lowest bits, then of the next, and so on."""
    blocks, words = codes.reshape(len(codes), -1, 32), []
    lowest = 0
    for width in PLANES[bits]:
        words.append(stream(blocks >> lowest & (1 << width) - 1, width))
        lowest += width
    return np.concatenate(words, -1).reshape(len(codes), -1)


def planes():
    layer = Layer("gptq-planes")
    for module, bits, inputs, order in [("k_proj", 3, 64, False), ("o_proj", 5, 32, True),
                                        ("q_proj", 6, 64, False), ("v_proj", 7, 32, False)]:
        codes, groups = layer.codes(bits, inputs, 32), np.arange(inputs) // 16
        if order:
            groups = layer.random.permutation(groups)
        points = layer.codes(bits, inputs // 16, 32)
        scales = layer.numbers(np.float16, *points.shape)
        packed = np.ascontiguousarray(split(np.ascontiguousarray(codes.T), bits).T)
        layer.weight(f"self_attn.{module}", ((codes - points[groups]) * scales.astype(np.float64)[groups]).T,
                     qweight=packed.view(np.int32), scales=scales, qzeros=split(points, bits).view(np.int32),
                     g_idx=groups.astype(np.int32))
    layer.write({"quantization_config": {"quant_method": "gptq", "bits": 3, "checkpoint_format": "gptq_p"}})


def add(layer, module, inputs, outputs, bits, group, zeros=None, version=1, order=False):
    codes = layer.codes(bits, inputs, outputs)
    points = layer.random.integers(1, 1 << bits, (inputs // group, outputs)) if zeros is None \
        else np.full((inputs // group, outputs), zeros)
    scales = layer.numbers(np.float16, *points.shape)
    groups = np.arange(inputs) // group
    parts = {"qweight": down(codes, bits).view(np.int32), "scales": scales,
             "qzeros": stream(points - (1 if version == 1 else 0), bits).view(np.int32)}
    if order:
        groups = layer.random.permutation(groups)
        parts["g_idx"] = groups.astype(np.int32)
    layer.weight(module, ((codes - points[groups]) * scales.astype(np.float64)[groups]).T, **parts)


def awq_gemv():
    """AutoAWQ's `WQLinear_GEMV`: codes along the inputs of each output; scales and zero points have room for more."""
    layer = Layer("awq-gemv")
    inputs, outputs, group, padded = 192, 8, 64, 16
    codes, zeros = layer.codes(4, outputs, inputs), layer.codes(4, outputs, inputs // group)
    scales = layer.numbers(np.float16, outputs, inputs // group)
    rest = [(0, 0), (0, padded - inputs // group)]
    values = (codes - np.repeat(zeros, group, 1)) * np.repeat(scales.astype(np.float64), group, 1)
    layer.weight("mlp.down_proj", values, qweight=stream(codes, 4).view(np.int32), scales=np.pad(scales, rest),
                 qzeros=stream(np.pad(zeros, rest), 4).view(np.int32))
    layer.write({"quantization_config": {
        "quant_method": "awq", "version": "gemv", "bits": 4, "group_size": group, "zero_point": True}})


def write():
    layer = Layer("gptq-3-bits")
    add(layer, "self_attn.q_proj", 64, 32, 3, 16, order=True)
    add(layer, "self_attn.v_proj", 32, 32, 3, 8)
    layer.write({"quantization_config": {"quant_method": "gptq", "bits": 3, "checkpoint_format": "gptq"}})
    planes()
    # Zero points of a symmetric file are all in the middle, or all one less.
    layer = Layer("gptq-symmetric")
    add(layer, "self_attn.q_proj", 48, 24, 4, 16, zeros=8, version=2)
    add(layer, "self_attn.v_proj", 32, 8, 8, 32, zeros=128, version=1)
    layer.write()
    awq_gemv()
