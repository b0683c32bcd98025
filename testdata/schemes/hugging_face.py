"""The quantisers of transformers: BitNet, MXFP4 of gpt-oss, FP8 in blocks."""

import numpy as np

from layout import BF16, E2M1, E4M3, LAYER, Layer, e8m0, nibbles, parts_of_rows, power, spread


def bitnet():
    """The one class multiplies by the scale, the other one divides by it."""
    for name, kind, scale in [("bitnet", "autobitlinear", 0.037), ("bitnet-inverse", "bitlinear", 27)]:
        layer = Layer(name)
        codes = layer.random.integers(0, 3, (12, 7))
        scale = np.array([scale], BF16)
        factor = np.float64(scale[0]) if kind == "autobitlinear" else 1 / np.float64(scale[0])
        layer.weight("mlp.up_proj", (codes - 1) * factor, weight=parts_of_rows(codes, 2, high_first=False), weight_scale=scale)
        layer.write({"quantization_config": {"quant_method": "bitnet", "linear_class": kind}})


def gpt_oss():
    layer = Layer("gpt-oss")
    for part, (experts, outputs, groups) in [("gate_up_proj", (2, 5, 2)), ("down_proj", (2, 3, 1))]:
        codes = layer.codes(4, experts, outputs, groups, 32)
        scales = layer.random.integers(110, 130, (experts, outputs, groups)).astype(np.uint8)
        stem = f"mlp.experts.{part}"
        layer.tensors |= {f"{LAYER}{stem}_blocks": nibbles(codes), f"{LAYER}{stem}_scales": scales,
                          f"{LAYER}{stem}_bias": np.zeros((experts, outputs), BF16)}
        values = (E2M1[codes] * power(scales)[..., None]).reshape(experts, outputs, -1)
        layer.values[f"layers.0.{stem}"] = values.swapaxes(1, 2)
    layer.write({"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}})


def fp8_blocks(layer, block, *shape):
    codes = layer.random.normal(0, 3, shape).astype(E4M3)
    places = (*shape[:-2], -(-shape[-2] // block), -(-shape[-1] // block))
    scales = layer.numbers(np.float32, *places)
    return codes, scales, codes.astype(np.float64) * spread(scales, (block, block), shape[-2:])


def fp8():
    """Blocks of 16 x 16, the last ones cut off."""
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [16, 16]}}
    layer = Layer("fp8-powers")
    codes = layer.random.normal(0, 3, (20, 40)).astype(E4M3)
    scales = layer.random.integers(110, 130, (2, 3)).astype(np.uint8)
    layer.weight("mlp.up_proj", codes.astype(np.float64) * spread(power(scales), (16, 16), (20, 40)),
                 weight=codes, weight_scale_inv=e8m0(scales))
    layer.write(config)

    # Gate and up projection of each expert one above the other.
    layer, stem = Layer("fp8-experts"), "mlp.experts."
    codes, scales, values = fp8_blocks(layer, 16, 2, 20, 36)
    layer.tensors |= {f"{LAYER}{stem}gate_up_proj": codes, f"{LAYER}{stem}gate_up_proj_scale_inv": scales}
    for expert, both in enumerate(values):
        for part, matrix in zip(["gate_proj", "up_proj"], np.split(both, 2)):
            layer.values[f"layers.0.{stem}{expert}.{part}.weight"] = matrix
    codes, scales, values = fp8_blocks(layer, 16, 2, 36, 10)
    layer.tensors |= {f"{LAYER}{stem}down_proj": codes, f"{LAYER}{stem}down_proj_scale_inv": scales}
    for expert, matrix in enumerate(values):
        layer.values[f"layers.0.{stem}{expert}.down_proj.weight"] = matrix
    layer.write({"model_type": "qwen3_moe"} | config)


def write():
    bitnet()
    gpt_oss()
    fp8()
