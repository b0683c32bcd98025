"""optimum-quanto: groups as rows of a matrix, parts of its rows from the lowest bits of a byte on (`pack_weights`)."""

import numpy as np

from layout import BF16, E4M3, E5M2, Layer, parts_of_rows


def groups(layer, module, shape, bits, group):
    count = shape[0] * shape[1] // group
    codes = layer.codes(bits, count, group)
    scales, shifts = layer.numbers(BF16, count, 1), layer.numbers(BF16, count, 1)
    values = codes * scales.astype(np.float64) - shifts.astype(np.float64)
    parts = {"weight._data._data": parts_of_rows(codes, bits, high_first=False), "weight._scale": scales,
             "weight._shift": shifts}
    layer.weight(module, values.reshape(shape), **parts)


def rows(layer, module, shape, codes):
    scales = layer.numbers(BF16, shape[0], 1)
    ones = {name: np.ones((), BF16) for name in ["input_scale", "output_scale"]}
    layer.weight(module, codes.astype(np.float64) * scales.astype(np.float64),
                 **{"weight._data": codes, "weight._scale": scales}, **ones)


def write():
    layer = Layer("quanto-groups")
    groups(layer, "self_attn.q_proj", (13, 10), 4, 10)
    groups(layer, "self_attn.v_proj", (8, 12), 2, 6)
    layer.write()
    layer = Layer("quanto-rows")
    rows(layer, "self_attn.k_proj", (5, 7), layer.random.integers(-127, 128, (5, 7)).astype(np.int8))
    rows(layer, "self_attn.q_proj", (3, 9), layer.random.normal(0, 3, (3, 9)).astype(E4M3))
    rows(layer, "self_attn.v_proj", (7, 3), layer.random.normal(0, 3, (7, 3)).astype(E5M2))
    layer.write()
