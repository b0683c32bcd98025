"""GPTQ where its bits are no divisor of a word, and where no configuration tells its version."""

import numpy as np

from layout import Layer, down, stream


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
    layer.write({"quantization_config": {"quant_method": "gptq", "bits": 3}})
    # Zero points of a symmetric file are all in the middle, or all one less.
    layer = Layer("gptq-symmetric")
    add(layer, "self_attn.q_proj", 48, 24, 4, 16, zeros=8, version=2)
    add(layer, "self_attn.v_proj", 32, 8, 8, 32, zeros=128, version=1)
    layer.write()
    awq_gemv()
