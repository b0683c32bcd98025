"""GPTQModel: with a few random tokens to calibrate on, or by rounding, which needs none."""

import os

# On two processors it asks for more threads than it has, and ends.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

import torch
from gptqmodel import BACKEND, GPTQModel
from gptqmodel.nn_modules.qlinear import BaseQuantLinear
from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear
from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm
from gptqmodel.quantization.config import GPTQConfig, RTNConfig

from quantisers import Row
from quantisers.hugging_face import array, modules, tensors

PACKAGES = ["gptqmodel", "transformers"]


def weight(layer, scales):
    # As they are written; the layer has them in the type of its model.
    layer.scales = scales.float()
    if isinstance(layer, AwqTorchLinear):
        return dequantize_gemm(layer.qweight, layer.qzeros, layer.scales, layer.bits, layer.group_size)
    layer.dequant_dtype = torch.int32
    return layer.dequantize_weight()


def truth(written, backend):
    """What its layers in plain torch read in what was written."""
    model = GPTQModel.load(str(written), backend=backend, device="cpu").model
    found = tensors(written)
    return {f"{name}.weight": array(weight(layer, found[f"{name}.scales"]).T)
            for name, layer in modules(model, BaseQuantLinear).items()}


def saved(config, backend=BACKEND.GPTQ_TORCH, **settings):
    def write(source, out):
        settings.setdefault("group_size", 128)
        model = GPTQModel.load(str(source), config(**settings))
        random = torch.Generator().manual_seed(7)
        tokens = [torch.randint(3, 5120, (1, 64), generator=random) for _ in range(8)]
        texts = [{"input_ids": text, "attention_mask": torch.ones_like(text)} for text in tokens]
        model.quantize(None if config is RTNConfig else texts, batch_size=1)
        model.save(str(out))
        return truth(out, backend)
    return write


ROWS = [
    Row("gptq-4", saved(GPTQConfig, bits=4, format="gptq")),
    Row("gptq-4-v2", saved(GPTQConfig, bits=4, format="gptq_v2")),
    Row("gptq-4-act-order", saved(GPTQConfig, bits=4, format="gptq", desc_act=True)),
    Row("gptq-4-asymmetric", saved(GPTQConfig, bits=4, format="gptq_v2", sym=False)),
    Row("gptq-8", saved(GPTQConfig, bits=8, format="gptq")),
    Row("gptq-3", saved(GPTQConfig, bits=3, format="gptq"), least=0.9),
    Row("gptq-3-v2", saved(GPTQConfig, bits=3, format="gptq_v2"), least=0.9),
    # Calibrated on noise, it moves weights of two bits further than rounding does.
    Row("gptq-2", saved(GPTQConfig, bits=2, format="gptq", group_size=32), least=0.8),
    Row("gptq-rtn-4", saved(RTNConfig, bits=4, format="gptq")),
    Row("gptq-rtn-3-planes", saved(RTNConfig, bits=3, format="gptq_p"), least=0.9),
    Row("gptq-rtn-5-planes", saved(RTNConfig, bits=5, format="gptq_p")),
    Row("gptq-rtn-6-planes", saved(RTNConfig, bits=6, format="gptq_p")),
    Row("gptq-rtn-7-planes", saved(RTNConfig, bits=7, format="gptq_p")),
    # The layout of AWQ, under the method of GPTQ.
    Row("gptq-rtn-4-gemm", saved(RTNConfig, BACKEND.AWQ_TORCH, bits=4, format="gemm")),
]
