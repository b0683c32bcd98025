"""compressed-tensors, as llm-compressor writes it: one stream of codes a row, offset to be unsigned
(`pack_to_int32`); or two FP4 codes a byte; or a code a byte."""

import numpy as np

from layout import BF16, E2M1, E4M3, Layer, down, grouped, nibbles, power, stream

METHOD = {"quant_method": "compressed-tensors"}


def config(*groups, **more):
    """A configuration of groups with these bits."""
    groups = {f"group_{at}": {"weights": {"num_bits": bits, "type": "int"}} for at, bits in enumerate(groups)}
    return {"quantization_config": METHOD | {"format": "pack-quantized", "config_groups": groups} | more}


def packed(layer, module, shape, bits, group, zeros=None, order=False):
    """Zero points: none, packed as the codes are down each column, or a byte each."""
    codes, middle = layer.codes(bits, *shape), 1 << bits - 1
    places = shape[0], shape[1] // group
    scales = layer.numbers(BF16, *places)
    parts = {"weight_packed": stream(codes, bits).view(np.int32), "weight_scale": scales,
             "weight_shape": np.array(shape, np.int64)}
    groups = np.arange(shape[1]) // group
    if order:
        groups = layer.random.permutation(groups)
        parts["weight_g_idx"] = groups.astype(np.int32)
    points = layer.codes(bits, *places) if zeros else np.full(places, middle)
    if zeros == "packed":
        parts["weight_zero_point"] = down(points, bits).view(np.int32)
    elif zeros == "bytes":
        parts["weight_zero_point"] = (points - middle).astype(np.int8)
    layer.weight(module, (codes - points[:, groups]) * scales.astype(np.float64)[:, groups], **parts)


def integers():
    layer = Layer("compressed-tensors-streams")
    packed(layer, "self_attn.k_proj", (5, 40), 3, 8)
    packed(layer, "self_attn.q_proj", (3, 33), 6, 11)
    packed(layer, "self_attn.v_proj", (7, 30), 5, 30)
    layer.write(config(3, 6, 5))
    layer = Layer("compressed-tensors-zero-streams")
    packed(layer, "self_attn.q_proj", (33, 32), 3, 16, zeros="packed")
    packed(layer, "self_attn.v_proj", (17, 32), 6, 32, zeros="packed")
    layer.write(config(3, 6))
    # The configuration says another number of bits than the tensors do.
    layer = Layer("compressed-tensors-8-bits")
    packed(layer, "mlp.up_proj", (3, 30), 8, 30)
    layer.write(config(4))
    layer = Layer("compressed-tensors-two-groups")
    packed(layer, "mlp.down_proj", (11, 48), 4, 16, zeros="packed")
    packed(layer, "self_attn.q_proj", (5, 44), 8, 44)
    layer.write(config(8, 4))
    layer = Layer("compressed-tensors-order")
    packed(layer, "mlp.up_proj", (5, 48), 4, 16, order=True)
    packed(layer, "mlp.down_proj", (3, 32), 4, 8, zeros="bytes", order=True)
    layer.write(config(4))


def bytes_with_scales():
    layer = Layer("compressed-tensors-bytes")
    codes = layer.random.integers(-128, 128, (5, 13)).astype(np.int8)
    scales, zeros = layer.numbers(BF16, 5, 1), layer.random.integers(-9, 10, (5, 1)).astype(np.int8)
    layer.weight("self_attn.k_proj", (codes - zeros.astype(np.float64)) * scales.astype(np.float64),
                 weight=codes, weight_scale=scales, weight_zero_point=zeros)
    # W4AFP8: codes of four bits in bytes, with scales by group.
    codes = layer.random.integers(-8, 8, (3, 24)).astype(np.int8)
    scales = layer.numbers(BF16, 3, 3)
    layer.weight("self_attn.q_proj", codes * grouped(scales, codes), weight=codes, weight_scale=scales)
    layer.write({"quantization_config": METHOD | {"format": "int-quantized"}})

    layer = Layer("compressed-tensors-mxfp8")
    codes = layer.random.normal(0, 3, (5, 96)).astype(E4M3)
    scales = layer.random.integers(110, 130, (5, 3)).astype(np.uint8)
    layer.weight("mlp.up_proj", codes.astype(np.float64) * grouped(power(scales), codes), weight=codes, weight_scale=scales)
    layer.write({"quantization_config": METHOD | {"format": "mxfp8-quantized"}})


def fp4():
    layer = Layer("compressed-tensors-mxfp4")
    codes = layer.codes(4, 3, 96)
    scales = layer.random.integers(110, 130, (3, 3)).astype(np.uint8)
    layer.weight("mlp.up_proj", E2M1[codes] * grouped(power(scales), codes), weight_packed=nibbles(codes), weight_scale=scales)
    layer.write({"quantization_config": METHOD | {"format": "mxfp4-pack-quantized"}})


def write():
    integers()
    bytes_with_scales()
    fp4()
