"""AutoAWQ: what it does to the linear layers of each block, without and with its search of scales.

It was written for older transformers, so its steps are called one by one.
"""

import copy
import types

from awq.models._config import AwqConfig
from awq.modules.linear import WQLinear_GEMM
from awq.quantize.quantizer import AwqQuantizer
from awq.utils.module import get_named_linears
from awq.utils.packing_utils import dequantize_gemm

from quantisers import Row
from quantisers.hugging_face import array, load

PACKAGES = ["autoawq", "transformers"]


def rounded(version, group=128):
    """Without scales that were searched for, the weights stay those of the original."""
    def write(source, out):
        model, values = load(source).half(), {}
        quantizer = types.SimpleNamespace(version=version, w_bit=4, group_size=group, zero_point=True)
        quantizer.pseudo_quantize_tensor = types.MethodType(AwqQuantizer.pseudo_quantize_tensor, quantizer)
        for index, block in enumerate(model.model.layers):
            linears = get_named_linears(block)
            for name, linear in linears.items():
                # What its kernels for GPUs are to compute.
                simulated, _, _ = quantizer.pseudo_quantize_tensor(copy.deepcopy(linear.weight.data))
                values[f"model.layers.{index}.{name}.weight"] = array(simulated)
            AwqQuantizer._apply_quant(quantizer, block, linears)
        for name, layer in model.named_modules():
            if isinstance(layer, WQLinear_GEMM):
                values[f"{name}.weight"] = array(dequantize_gemm(
                    layer.qweight, layer.qzeros, layer.scales.float(), layer.w_bit, layer.group_size).T)
        model.config.quantization_config = AwqConfig(
            q_group_size=group, version=version).to_transformers_dict()
        model.save_pretrained(out)
        return values
    return write


ROWS = [
    Row("awq-gemm", rounded("gemm")),
    Row("awq-gemm-group-64", rounded("gemm", 64)),
    Row("awq-gemv", rounded("gemv")),
    Row("awq-gemv-group-64", rounded("gemv", 64)),
    # Not read. The tables are, which this copy shows its mark by.
    Row("awq-gemv-fast", rounded("gemv_fast"), least=0.4, relation="not-comparable"),
]
