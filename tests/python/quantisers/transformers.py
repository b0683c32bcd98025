"""The quantisers of transformers itself: FP8 in blocks, MXFP4 of gpt-oss, BitNet; and its names in memory."""

import json
import types

import torch
from modelopt.torch.quantization.qtensor import MXFP4QTensor
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config, Mxfp4Config
from transformers.integrations.bitnet import AutoBitLinear, BitLinear, pack_weights
from transformers.integrations.finegrained_fp8 import Fp8Quantize

from quantisers import Row
from quantisers.hugging_face import array, load, modules, tensors

PACKAGES = ["transformers", "nvidia-modelopt"]


def copied(source, out, quantization):
    """The configuration of a model, and how it is quantised."""
    out.mkdir()
    config = json.loads((source / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}, indent=2))


def read_back(written, original, **settings):
    """What transformers makes of a file when it is asked for weights in BF16, as far as that is not the original."""
    model = AutoModelForCausalLM.from_pretrained(written, dtype=torch.float32, **settings)
    values, before = model.state_dict(), load(original).state_dict()
    return {name: array(value) for name, value in values.items() if not torch.equal(value, before[name].float())}


def fp8(**settings):
    """By the operation that `save_pretrained` runs: to quantise a model, transformers wants a GPU."""
    def write(source, out):
        config = FineGrainedFP8Config(modules_to_not_convert=["lm_head"], **settings)
        copied(source, out, config.to_dict())
        operation, kept = Fp8Quantize(types.SimpleNamespace(quantization_config=config)), {}
        for name, tensor in tensors(source).items():
            kept |= operation.convert({name: tensor}) if name.endswith("_proj.weight") else {name: tensor}
        save_file(kept, out / "model.safetensors", metadata={"format": "pt"})
        dequantising = FineGrainedFP8Config(dequantize=True, modules_to_not_convert=["lm_head"], **settings)
        return per_expert(read_back(out, source, quantization_config=dequantising))
    return write


def per_expert(values):
    """Experts are one stack in memory, gate above up, and matrices of their own on disk."""
    apart = {}
    for name, stack in values.items():
        at, _, part = name.rpartition(".experts.")
        if not at:
            apart[name] = stack
            continue
        for expert, matrix in enumerate(stack):
            halves = {"down_proj": matrix}
            if part == "gate_up_proj":
                halves = {"gate_proj": matrix[:len(matrix) // 2], "up_proj": matrix[len(matrix) // 2:]}
            apart |= {f"{at}.experts.{expert}.{half}.weight": rows for half, rows in halves.items()}
    return apart


def mxfp4(source, out):
    """As the published gpt-oss are: quantised by ModelOpt, as the kernels that transformers calls are for GPUs."""
    copied(source, out, {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]})
    found, kept = tensors(source), {}
    for name, tensor in found.items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            kept[name] = tensor
            continue
        turned = tensor.transpose(1, 2).contiguous()
        codes, scales = MXFP4QTensor.quantize(turned, block_size=32)
        experts, rows, columns = turned.shape
        kept[f"{name}_blocks"] = codes._quantized_data.reshape(experts, rows, columns // 32, 16).contiguous()
        kept[f"{name}_scales"] = scales.reshape(experts, rows, columns // 32).contiguous()
    save_file(kept, out / "model.safetensors", metadata={"format": "pt"})
    return read_back(out, source, quantization_config=Mxfp4Config(dequantize=True))


def bitnet(kind):
    """Packed by the function of transformers, as converters of trained BitNets call it."""
    def write(source, out):
        copied(source, out, {"quant_method": "bitnet", "linear_class": kind, "quantization_mode": "offline",
                             "modules_to_not_convert": ["lm_head"]})
        kept = {}
        for name, tensor in tensors(source).items():
            if not name.endswith("_proj.weight"):
                kept[name] = tensor
                continue
            scale = tensor.float().abs().mean()
            kept[name] = pack_weights((tensor.float() / scale).round().clamp(-1, 1))
            # The one class multiplies by it, the other one divides.
            stored = scale if kind == "autobitlinear" else 1 / scale
            kept[name.removesuffix("weight") + "weight_scale"] = stored.reshape(1).to(torch.bfloat16)
        save_file(kept, out / "model.safetensors", metadata={"format": "pt"})
        return {f"{name}.weight": identity(layer) for name, layer in
                modules(load(out, torch.float32), (AutoBitLinear, BitLinear)).items()}
    return write


def identity(layer):
    """What a layer makes of an identity matrix: its weights, transposed. Its inputs are rounded to 8 bits, which ones
    and zeros outlive."""
    with torch.no_grad():
        return array(layer(torch.eye(layer.in_features)).T)


def in_memory(source, out):
    """Not quantised, but with the names and stacks of a model in memory: what its `state_dict` has."""
    out.mkdir()
    model = load(source)
    model.config.save_pretrained(out)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out / "model.safetensors",
              metadata={"format": "pt"})
    return {name: array(tensor) for name, tensor in tensors(source).items() if ".experts." in name}


ROWS = [
    Row("transformers-fp8", fp8()),
    Row("transformers-fp8-powers", fp8(scale_fmt="ue8m0")),
    Row("transformers-fp8-moe", fp8(), "qwen3_moe"),
    Row("transformers-mxfp4", mxfp4, "gpt_oss"),
    Row("transformers-experts-in-memory", in_memory, "qwen3_moe", relation="same-values"),
    Row("transformers-mixtral-in-memory", in_memory, "mixtral", relation="same-values"),
    Row("transformers-bitnet", bitnet("autobitlinear"), "bitnet", least=0.9),
    Row("transformers-bitnet-inverse", bitnet("bitlinear"), "bitnet", least=0.9),
]
