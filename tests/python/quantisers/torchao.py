"""torchao, through transformers: a subclass of Tensor for each scheme, taken apart into safetensors."""

import torch
from safetensors import safe_open
from torchao.prototype.mx_formats import MXDynamicActivationMXWeightConfig
from torchao.prototype.mx_formats.inference_workflow import NVFP4WeightOnlyConfig
from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict
from torchao.quantization import (
    Float8WeightOnlyConfig,
    FqnToConfig,
    Int4Tensor,
    Int4WeightOnlyConfig,
    Int8WeightOnlyConfig,
    IntxUnpackedToInt8Tensor,
    IntxWeightOnlyConfig,
    MappingType,
    PerAxis,
    PerGroup,
    PerRow,
    PerTensor,
)
from transformers import TorchAoConfig

from quantisers import Row
from quantisers.hugging_face import array, load

PACKAGES = ["torchao", "mslk-cuda", "transformers"]


def dequantised(tensor):
    if isinstance(tensor, IntxUnpackedToInt8Tensor):
        # As one of a binary32 tensor, which is not rounded to BF16.
        wide = IntxUnpackedToInt8Tensor(tensor.qdata, tensor.scale.float(), tensor.zero_point, tensor.target_dtype,
                                        tensor.block_size, torch.float32, tensor.activation_quantization)
        return wide.dequantize()
    if not isinstance(tensor, Int4Tensor):
        return tensor.dequantize(torch.float32)
    # It has no dequantiser, and its product runs on GPUs alone: what that product does to each weight.
    codes = torch.stack([tensor.qdata << 4 >> 4, tensor.qdata >> 4], dim=-1).flatten(-2).float()
    groups = codes.unflatten(-1, (-1, tensor.block_size[-1]))
    scale, zero = (part.float().T[:, :, None] for part in (tensor.scale, tensor.zero_point))
    return (groups * scale + zero).flatten(-2)


def truth(written):
    """What is written, put together again by torchao and dequantised by its classes."""
    with safe_open(written / "model.safetensors", "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    whole, left = unflatten_tensor_state_dict(tensors, metadata)
    assert not left, f"not put together: {sorted(left)[:3]}"
    return {name: array(dequantised(tensor)) for name, tensor in whole.items() if type(tensor) is not torch.Tensor}


def saved(config, **settings):
    def write(source, out):
        load(source, quantization_config=TorchAoConfig(config, **settings)).save_pretrained(out)
        return truth(out)
    return write


def mx(dtype):
    return saved(MXDynamicActivationMXWeightConfig(activation_dtype=dtype, weight_dtype=dtype))


ROWS = [
    Row("torchao-int4", saved(Int4WeightOnlyConfig(group_size=128))),
    Row("torchao-int4-group-32-embeddings",
        saved(Int4WeightOnlyConfig(group_size=32), include_input_output_embeddings=True)),
    Row("torchao-int8", saved(Int8WeightOnlyConfig())),
    Row("torchao-int8-tensor", saved(Int8WeightOnlyConfig(granularity=PerTensor()))),
    Row("torchao-int8-group", saved(Int8WeightOnlyConfig(granularity=PerGroup(64)))),
    Row("torchao-float8", saved(Float8WeightOnlyConfig(granularity=PerRow()))),
    Row("torchao-float8-tensor", saved(Float8WeightOnlyConfig(granularity=PerTensor()))),
    Row("torchao-float8-group", saved(Float8WeightOnlyConfig(granularity=PerGroup(128)))),
    Row("torchao-intx-4", saved(IntxWeightOnlyConfig(torch.int4, PerGroup(32), MappingType.ASYMMETRIC))),
    Row("torchao-intx-3", saved(IntxWeightOnlyConfig(torch.int3, PerGroup(32))), least=0.9),
    Row("torchao-intx-8", saved(IntxWeightOnlyConfig(torch.int8, PerAxis(0)))),
    Row("torchao-nvfp4", saved(NVFP4WeightOnlyConfig())),
    Row("torchao-nvfp4-one-scale", saved(NVFP4WeightOnlyConfig(use_dynamic_per_tensor_scale=False))),
    Row("torchao-mxfp8", mx(torch.float8_e4m3fn)),
    Row("torchao-mxfp4", mx(torch.float4_e2m1fn_x2)),
    Row("torchao-mixed", saved(FqnToConfig({
        "re:.*mlp.*": Int8WeightOnlyConfig(), "re:.*v_proj": Float8WeightOnlyConfig(),
        "_default": IntxWeightOnlyConfig(torch.int4, PerGroup(64)), "model.layers.0.self_attn.q_proj": None}))),
]
