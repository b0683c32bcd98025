"""NVIDIA ModelOpt: two FP4 codes a byte, two rows of INT4 a byte, FP8 by block."""

import numpy as np

from layout import BF16, E2M1, E4M3, Layer, grouped, nibbles, power, signed, spread


def write():
    one = np.float32(1.5)
    layer = Layer("modelopt-fp4")
    codes = layer.codes(4, 3, 48)
    scales, second = layer.random.uniform(1, 100, (3, 3)).astype(E4M3), np.float32(0.00123)
    layer.weight("self_attn.q_proj", E2M1[codes] * grouped(scales, codes) * np.float64(second),
                 weight=nibbles(codes), weight_scale=scales, weight_scale_2=second, input_scale=one)
    codes = layer.codes(4, 5, 64)
    scales = layer.random.integers(110, 130, (5, 2)).astype(np.uint8)
    layer.weight("self_attn.v_proj", E2M1[codes] * grouped(power(scales), codes), weight=nibbles(codes), weight_scale=scales)
    layer.write({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}})

    layer = Layer("modelopt-int4")
    codes, scales = layer.codes(4, 6, 20), layer.numbers(np.float32, 6, 2)
    values = signed(codes, 4) * grouped(scales, codes)
    two_rows = (codes[0::2] | codes[1::2] << 4).astype(np.uint8)
    layer.weight("mlp.up_proj", values, weight=two_rows, weight_scale=scales)
    layer.write({"quantization_config": {"quant_method": "modelopt", "quant_algo": "INT4"}})

    # What the inputs are multiplied by was divided out of the weights.
    layer = Layer("modelopt-int4-awq")
    codes, scales, before = layer.codes(4, 6, 20), layer.numbers(np.float32, 6, 2), layer.numbers(BF16, 20)
    values = signed(codes, 4) * grouped(scales, codes) * before.astype(np.float64)
    two_rows = (codes[0::2] | codes[1::2] << 4).astype(np.uint8)
    layer.weight("mlp.down_proj", values, weight=two_rows, weight_scale=scales, pre_quant_scale=before)
    layer.write({"quantization_config": {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}})

    layer = Layer("modelopt-fp8-blocks")
    codes, scales = layer.random.normal(0, 3, (10, 12)).astype(E4M3), layer.numbers(np.float32, 2, 3)
    layer.weight("mlp.up_proj", codes.astype(np.float64) * spread(scales, (5, 4), (10, 12)),
                 weight=codes, weight_scale=scales[:, None, :, None], input_scale=one)
    layer.write({"quantization_config": {"quant_method": "modelopt", "quant_algo": "fp8_pb_wo"}})
