"""HQQ, by its own wrapper of the models of transformers, as safetensors.

Its other file is a pickle, in which the shapes of weights are no tensors: it is not read as weights."""

import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from hqq.models.hf.base import AutoHQQHFModel

from quantisers import Row
from quantisers.hugging_face import array, load, modules

PACKAGES = ["hqq", "transformers"]


def quantised(source, settings):
    model = load(source)
    AutoHQQHFModel.quantize_model(model, quant_config=settings, compute_dtype=torch.bfloat16, device="cpu")
    return model


def truth(model):
    """HQQ's dequantiser, in binary32."""
    truth = {}
    for name, layer in modules(model, HQQLinear).items():
        layer.compute_dtype = torch.float32
        layer.meta.update(compute_dtype=torch.float32)
        for part in ("scale", "zero"):
            if isinstance(layer.meta[part], torch.Tensor):
                layer.meta[part] = layer.meta[part].float()
        truth[f"{name}.weight"] = array(layer.dequantize())
    return truth


def safetensors(**settings):
    def write(source, out):
        model = quantised(source, BaseQuantizeConfig(**settings))
        out.parent.mkdir(parents=True, exist_ok=True)
        AutoHQQHFModel.save_to_safetensors(model, str(out), num_blocks_per_file=100)
        return truth(model)
    return write


def mixed(source, out):
    """Other bits for each kind of layer, one of them left alone."""
    four, three, eight = (BaseQuantizeConfig(nbits=bits, group_size=group, axis=1)
                          for bits, group in [(4, 64), (3, 32), (8, None)])
    model = quantised(source, {
        "self_attn.q_proj": four, "self_attn.k_proj": four, "self_attn.v_proj": None, "self_attn.o_proj": four,
        "mlp.gate_proj": three, "mlp.up_proj": three, "mlp.down_proj": eight})
    AutoHQQHFModel.save_to_safetensors(model, str(out), num_blocks_per_file=100)
    return truth(model)


ROWS = [
    Row("hqq-8", safetensors(nbits=8, group_size=128, axis=1)),
    Row("hqq-4", safetensors(nbits=4, group_size=64, axis=1)),
    Row("hqq-4-columns", safetensors(nbits=4, group_size=64, axis=0)),
    Row("hqq-3", safetensors(nbits=3, group_size=64, axis=1), least=0.9),
    Row("hqq-2", safetensors(nbits=2, group_size=16, axis=1), least=0.9),
    Row("hqq-mixed", mixed, least=0.9),
]
