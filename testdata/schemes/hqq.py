"""HQQ: groups as rows or as columns of a matrix, parts of its rows in the bits of one element (`BitPack`)."""

import numpy as np

from layout import BF16, Layer, parts_of_rows

PACKINGS = {8: "8bit_u8", 4: "4bit_u8", 3: "3bit_32", 2: "2bit_u8", 1: "1bit_u8"}


def text(word):
    return np.frombuffer(word.encode(), np.uint8)


def ten_in_a_word(codes):
    """Tenths of the rows, the first in bits 27 to 29; rows of zero at the end."""
    each = -(-len(codes) // 10)
    codes = np.pad(codes, [(0, each * 10 - len(codes)), (0, 0)]).reshape(10, each, -1)
    return sum(part << 27 - 3 * at for at, part in enumerate(codes)).astype(np.int32)


def add(layer, module, shape, bits, group, axis):
    count = shape[0] * shape[1] // group
    codes = layer.codes(bits, *((count, group) if axis == 1 else (group, count)))
    places = (count, 1) if axis == 1 else (1, count)
    scales, zeros = layer.numbers(BF16, *places), layer.random.uniform(0, (1 << bits) - 1, places).astype(BF16)
    values = (codes - zeros.astype(np.float64)) * scales.astype(np.float64)
    packed = ten_in_a_word(codes) if bits == 3 else parts_of_rows(codes, bits, high_first=True)
    flags = ["view_as_float", "optimize", "round_zero", "channel_wise", "encoded_state_dict", "stores_quant_config",
             "offload_meta", "quant_scale", "quant_zero"]
    numbers = {"nbits": bits, "group_size": group, "axis": axis}
    layer.weight(module, values.reshape(shape), W_q=packed, scale=scales, zero=zeros,
                 shape=np.array(shape, np.int64), packing=text(PACKINGS[bits]), compute_dtype=text("torch.bfloat16"),
                 unpack_view_dtype=text("torch.int32" if bits == 3 else "torch.uint8"),
                 **{name: np.array(number, np.int32) for name, number in numbers.items()},
                 **{name: np.zeros((), np.uint8) for name in flags})


def write():
    layer = Layer("hqq")
    add(layer, "self_attn.k_proj", (5, 7), 8, 7, axis=1)
    add(layer, "self_attn.o_proj", (6, 20), 4, 10, axis=1)
    add(layer, "self_attn.q_proj", (7, 15), 3, 5, axis=1)
    add(layer, "self_attn.v_proj", (8, 6), 2, 6, axis=1)
    add(layer, "mlp.down_proj", (8, 9), 1, 9, axis=1)
    layer.write()
    layer = Layer("hqq-columns")
    add(layer, "mlp.gate_proj", (6, 20), 4, 8, axis=0)
    add(layer, "mlp.up_proj", (12, 10), 3, 12, axis=0)
    layer.write()
