"""MLX, through `mlx_lm.convert`: the quantised models of Apple's machines."""

import json
import re

import mlx.core as mx
import numpy
from mlx_lm import convert
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

from quantisers import Row

PACKAGES = ["mlx", "mlx-lm"]

# What Mixtral calls the three matrices of an expert.
MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def originals_of(name, values):
    """A weight by its name in the original: experts are stacked by MLX."""
    stacked = re.fullmatch(r"(.*)\.switch_mlp\.(\w+)\.weight", name)
    if not stacked:
        return {name: values}
    at, part = stacked.groups()
    part = MIXTRAL[part] if at.endswith("block_sparse_moe") else part
    return {f"{at}.experts.{expert}.{part}.weight": matrix for expert, matrix in enumerate(values)}


def truth(written):
    """MLX's own dequantiser over what was written."""
    tensors = mx.load(str(written / "model.safetensors"))
    default = json.loads((written / "config.json").read_text())["quantization"]
    truth = {}
    for name in tensors:
        module, ending = name.rsplit(".", 1)
        if ending != "scales":
            continue
        # One for a layer takes nothing over from those for all: without a mode, it is affine.
        settings = default.get(module, default)
        scales, biases = tensors[name], tensors.get(f"{module}.biases")
        if settings.get("mode", "affine") == "affine":
            scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
        shape = {"group_size": settings["group_size"], "bits": settings["bits"],
                 "mode": settings.get("mode", "affine"), "dtype": mx.float32}
        codes, outer = tensors[f"{module}.weight"], tensors.get(f"{module}.global_scale")
        if outer is None:
            values = mx.dequantize(codes, scales, biases, **shape)
        else:
            values = mx.stack([mx.dequantize(codes[expert], scales[expert], global_scale=outer[expert], **shape)
                               for expert in range(len(codes))])
        truth |= originals_of(f"{module}.weight", numpy.array(values))
    return truth


def converted(**settings):
    def write(source, out):
        convert(str(source), str(out), quantize=True, **settings)
        return truth(out)
    return write


def some_layers(path, module):
    """Other bits for some layers, and one that is left alone."""
    if path.endswith("v_proj"):
        return {"group_size": 32, "bits": 8, "mode": "affine"}
    if path.endswith("down_proj"):
        return {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    return not path.endswith("layers.0.self_attn.q_proj")


def with_global_scale(source, out):
    """As `convert` does it, with one more scale a tensor, which its command line does not offer."""
    model, config = load_model(source)
    model, config = quantize_model(model, config, None, None, mode="nvfp4", global_scale=True)
    save_model(out, model)
    save_config(config, config_path=out / "config.json")
    return truth(out)


ROWS = [
    # 0.92, and a key is drawn for each run.
    Row("mlx-affine-2", converted(q_bits=2, q_group_size=32), least=0.89),
    Row("mlx-affine-3", converted(q_bits=3, q_group_size=64), least=0.9),
    Row("mlx-affine-4", converted(q_bits=4, q_group_size=64)),
    Row("mlx-affine-4-group-32", converted(q_bits=4, q_group_size=32)),
    Row("mlx-affine-5", converted(q_bits=5, q_group_size=64)),
    Row("mlx-affine-6", converted(q_bits=6, q_group_size=128)),
    Row("mlx-affine-8", converted(q_bits=8, q_group_size=64)),
    Row("mlx-mxfp4", converted(q_mode="mxfp4")),
    Row("mlx-nvfp4", converted(q_mode="nvfp4")),
    Row("mlx-mxfp8", converted(q_mode="mxfp8")),
    Row("mlx-mixed-3-6", converted(quant_predicate="mixed_3_6"), least=0.9),
    Row("mlx-overrides", converted(q_bits=6, quant_predicate=some_layers)),
    Row("mlx-moe", converted(q_bits=4), "qwen3_moe"),
    Row("mlx-mixtral", converted(q_bits=8), "mixtral"),
    Row("mlx-moe-nvfp4-global", with_global_scale, "qwen3_moe"),
]
