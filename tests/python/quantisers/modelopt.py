"""NVIDIA's ModelOpt: calibrated on a few random tokens, exported for TensorRT-LLM, vLLM and SGLang."""

import copy

import modelopt.torch.quantization as mtq
import torch
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.export.quant_utils import from_quantized_weight
from modelopt.torch.quantization.qtensor import FP8QTensor, MXFP4QTensor, MXFP8QTensor, NVFP4QTensor

from quantisers import Row
from quantisers.hugging_face import array, load, tensors

PACKAGES = ["nvidia-modelopt", "transformers"]


def run(model):
    """What activations are measured on."""
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        model(torch.randint(3, model.config.vocab_size, (2, 32), generator=random))


def int4(codes, scale):
    """Two rows in a byte, the first one in the low bits. ModelOpt itself has no way back from this."""
    rows = torch.stack([codes << 4, codes & 0xF0], dim=1).flatten(0, 1).view(torch.int8) // 16
    return rows * scale.repeat_interleave(rows.shape[1] // scale.shape[1], dim=1)


def weight(codes, scale, outer):
    """What the tensor classes of ModelOpt, and what it exports with, read in what was written."""
    packed, wide = codes.dtype == torch.uint8, scale.dtype == torch.float32
    if packed and wide:
        return int4(codes, scale)
    if codes.dtype == torch.int8:
        return from_quantized_weight(codes, scale, "int8_wo", torch.float32)
    if wide and scale.ndim == 0:
        return from_quantized_weight(codes, scale, "fp8", torch.float32)
    if wide and scale.ndim == 1:
        return codes.float() * scale[:, None]
    shape = torch.Size([*codes.shape[:-1], codes.shape[-1] * (2 if packed else 1)])
    if wide:
        kind, scale, more = FP8QTensor, scale[:, 0, :, 0], {"block_sizes": {-1: 128, -2: 128}}
    elif outer is not None:
        kind, more = NVFP4QTensor, {"double_scale": outer, "block_sizes": {-1: 16}}
    elif packed:
        kind, more = MXFP4QTensor, {"block_sizes": {-1: 32}}
    else:
        kind, more = MXFP8QTensor, {}
    return kind(shape, torch.float32, codes).dequantize(torch.float32, scale=scale, **more)


def truth(written):
    found, values = tensors(written), {}
    for name, codes in found.items():
        if f"{name}_scale" not in found:
            continue
        values[name] = weight(codes, found[f"{name}_scale"], found.get(f"{name}_scale_2"))
        before = found.get(name.removesuffix("weight") + "pre_quant_scale")
        if before is not None:
            # What the inputs are multiplied by.
            values[name] = values[name] * before.float()
    return {name: array(tensor) for name, tensor in values.items()}


def exported(config):
    def write(source, out):
        model = mtq.quantize(load(source), copy.deepcopy(config), run)
        export_hf_checkpoint(model, export_dir=out)
        return truth(out)
    return write


ROWS = [
    Row("modelopt-fp8", exported(mtq.FP8_DEFAULT_CFG)),
    Row("modelopt-fp8-channel", exported(mtq.FP8_PER_CHANNEL_PER_TOKEN_CFG)),
    Row("modelopt-fp8-blocks", exported(mtq.FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG)),
    Row("modelopt-nvfp4", exported(mtq.NVFP4_DEFAULT_CFG)),
    Row("modelopt-nvfp4-weights", exported(mtq.W4A16_NVFP4_CFG)),
    Row("modelopt-nvfp4-perceptrons", exported(mtq.NVFP4_MLP_ONLY_CFG)),
    Row("modelopt-mxfp4", exported(mtq.MXFP4_DEFAULT_CFG)),
    Row("modelopt-mxfp8", exported(mtq.MXFP8_DEFAULT_CFG)),
    Row("modelopt-int4", exported(mtq.INT4_BLOCKWISE_WEIGHT_ONLY_CFG)),
    # The columns are scaled, and the norms before them are divided by that: not the weights of the original.
    Row("modelopt-int4-awq", exported(mtq.INT4_AWQ_CFG), relation="related"),
    Row("modelopt-int8", exported(mtq.INT8_DEFAULT_CFG)),
    Row("modelopt-int8-weights", exported(mtq.INT8_WEIGHT_ONLY_CFG)),
    Row("modelopt-moe-nvfp4", exported(mtq.NVFP4_DEFAULT_CFG), "qwen3_moe"),
]
