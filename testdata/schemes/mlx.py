"""MLX: words of one stream of codes a row (`mlx.core.quantize`)."""

import numpy as np

from layout import BF16, E2M1, E4M3, Layer, grouped, nibbles, power, stream


def affine(layer, module, rows, columns, bits, group, kind):
    codes = layer.codes(bits, rows, columns)
    scales, biases = layer.numbers(kind, rows, columns // group), -layer.numbers(kind, rows, columns // group)
    layer.weight(module, codes * grouped(scales, codes) + grouped(biases, codes),
                 weight=stream(codes, bits), scales=scales, biases=biases)


def of_all_bits():
    layer = Layer("mlx-affine")
    affine(layer, "self_attn.k_proj", 5, 128, 4, 64, BF16)
    affine(layer, "self_attn.o_proj", 3, 64, 2, 64, np.float16)
    affine(layer, "self_attn.q_proj", 7, 96, 3, 32, BF16)
    affine(layer, "self_attn.v_proj", 3, 128, 5, 128, np.float32)
    affine(layer, "mlp.down_proj", 3, 192, 6, 64, BF16)
    affine(layer, "mlp.up_proj", 5, 64, 8, 32, np.float16)
    name = "model.layers.0."
    layer.write({"quantization": {
        "group_size": 64, "bits": 4, "mode": "affine",
        f"{name}self_attn.o_proj": {"bits": 2, "group_size": None},
        f"{name}self_attn.q_proj": {"bits": 3, "group_size": 32},
        f"{name}self_attn.v_proj": {"bits": 5, "group_size": 128},
        f"{name}mlp.down_proj": {"bits": 6, "group_size": 64},
        f"{name}mlp.up_proj": {"bits": 8, "group_size": 32, "mode": "affine"},
    }})


def overrides():
    """What is said of a module stands in the place of all that is said of others: of what it leaves out, the
    library's own defaults hold, 4 bits and groups of 64. As many bits a group as the others have, each time."""
    layer = Layer("mlx-overrides")
    affine(layer, "self_attn.k_proj", 3, 64, 8, 32, BF16)
    affine(layer, "self_attn.q_proj", 3, 64, 4, 64, BF16)
    affine(layer, "self_attn.v_proj", 3, 128, 2, 128, BF16)
    layer.write({"quantization": {
        "group_size": 32, "bits": 8,
        "model.layers.0.self_attn.q_proj": {"bits": 4},
        "model.layers.0.self_attn.v_proj": {"bits": 2, "group_size": 128},
    }})


def micro(layer, mode, *shape):
    """Codes, scales and values in one of the modes without biases."""
    group, bits = {"mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8)}[mode]
    places = (*shape[:-1], shape[-1] // group)
    if bits == 8:
        codes = layer.random.normal(0, 3, shape).astype(E4M3)
        words, values = codes.view(np.uint8).view(np.uint32), codes.astype(np.float64)
    else:
        codes = layer.codes(4, *shape)
        words, values = nibbles(codes).view(np.uint32), E2M1[codes]
    if mode == "nvfp4":
        scales = layer.random.uniform(1, 100, places).astype(E4M3)
        return words, scales.view(np.uint8), values * grouped(scales, values)
    scales = layer.random.integers(110, 130, places).astype(np.uint8)
    return words, scales, values * grouped(power(scales), values)


def microscaled():
    for mode, shape in [("mxfp4", (5, 96)), ("nvfp4", (3, 80)), ("mxfp8", (7, 64))]:
        layer = Layer(f"mlx-{mode}")
        words, scales, values = micro(layer, mode, *shape)
        layer.weight("mlp.down_proj", values, weight=words, scales=scales)
        layer.write({"quantization": {"mode": mode, "bits": 8 if mode == "mxfp8" else 4}})


def experts():
    """Experts in one stack, each with its largest magnitude as a number more: 448 times 6 is what it is where the
    scales are as large as they can be."""
    layer = Layer("mlx-experts")
    for part, shape in [("gate_proj", (3, 5, 32)), ("down_proj", (3, 7, 48))]:
        words, scales, values = micro(layer, "nvfp4", *shape)
        largest = layer.random.uniform(100, 1000, 3).astype(np.float32)
        values = values * (largest.astype(np.float64) / (448 * 6))[:, None, None]
        stem = f"model.layers.0.mlp.switch_mlp.{part}"
        layer.tensors |= {f"{stem}.weight": words, f"{stem}.scales": scales, f"{stem}.global_scale": largest}
        for expert, matrix in enumerate(values):
            layer.values[f"layers.0.mlp.experts.{expert}.{part}.weight"] = matrix
    layer.write({"model_type": "qwen3_moe", "quantization": {
        "mode": "nvfp4", "bits": 4, "group_size": 16, "global_scale": True}})


def write():
    of_all_bits()
    overrides()
    microscaled()
    experts()
