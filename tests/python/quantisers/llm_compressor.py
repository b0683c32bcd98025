"""llm-compressor, which writes compressed-tensors: rounding to nearest, as none of these needs data."""

import json
import re

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from llmcompressor import model_free_ptq, oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier

from quantisers import Row
from quantisers.hugging_face import array, load, tensors

PACKAGES = ["llmcompressor", "compressed-tensors", "transformers"]


def groups_of(written):
    """The schemes of a model, and what they are for."""
    config = json.loads((written / "config.json").read_text())["quantization_config"]
    for group in config["config_groups"].values():
        yield group["targets"], group.get("format") or config["format"], QuantizationScheme.model_validate(group)


def is_for(target, module):
    if target.startswith("re:"):
        return re.match(target[3:], module)
    return target in ("Linear", module)


def truth(written):
    """The compressors' own way back, over what was written."""
    found, groups, truth = {}, list(groups_of(written)), {}
    for name, tensor in tensors(written).items():
        module, part = name.rsplit(".", 1)
        found.setdefault(module, {})[part] = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    for module, parts in found.items():
        if "weight_scale" not in parts:
            continue
        # Names come before classes.
        by_name = sorted(groups, key=lambda group: group[0] == ["Linear"])
        _, kind, scheme = next(group for group in by_name if any(is_for(target, module) for target in group[0]))
        whole = BaseCompressor.get_value_from_registry(kind).decompress(parts, scheme)
        truth[f"{module}.weight"] = array(whole["weight"])
    return truth


def rounded(scheme=None, groups=None, ignore=("lm_head",)):
    def write(source, out):
        settings = {"config_groups": groups} if groups else {"scheme": scheme, "targets": "Linear"}
        recipe = QuantizationModifier(ignore=list(ignore), **settings)
        model = oneshot(model=load(source), recipe=recipe)
        model.save_pretrained(out, save_compressed=True)
        return truth(out)
    return write


def without_a_model(scheme):
    """File to file, without building the model."""
    def write(source, out):
        model_free_ptq(source, out, scheme=scheme, ignore=["lm_head", "model.embed_tokens"], device="cpu")
        return truth(out)
    return write


def integers(bits, *targets, group=None, symmetric=True, **more):
    weights = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, group_size=group,
                               strategy="group" if group else "channel", **more)
    return QuantizationScheme(targets=list(targets), weights=weights)


TWO = {
    "attention": integers(8, "re:.*self_attn.*"),
    "perceptrons": integers(4, "re:.*mlp.*", group=32, symmetric=False),
}

ROWS = [
    Row("compressed-w4a16", rounded("W4A16")),
    Row("compressed-w8a16", rounded("W8A16")),
    Row("compressed-w4a16-asymmetric", rounded("W4A16_ASYM")),
    Row("compressed-w8a8", rounded("W8A8")),
    Row("compressed-two-groups", rounded(groups=TWO)),
    Row("compressed-w3a16", rounded("W3A16"), least=0.9),
    Row("compressed-w6a16", rounded("W6A16")),
    Row("compressed-fp8-dynamic", rounded("FP8_DYNAMIC")),
    Row("compressed-fp8-block", rounded("FP8_BLOCK")),
    Row("compressed-nvfp4a16", rounded("NVFP4A16")),
    Row("compressed-mxfp4a16", rounded("MXFP4A16")),
    Row("compressed-mxfp8a16", rounded("MXFP8A16")),
    Row("compressed-w4afp8", rounded("W4AFP8")),
    Row("compressed-model-free-nvfp4a16", without_a_model("NVFP4A16")),
    Row("compressed-moe-w4a16", rounded("W4A16", ignore=("lm_head", "re:.*mlp.gate$")), "qwen3_moe"),
]
