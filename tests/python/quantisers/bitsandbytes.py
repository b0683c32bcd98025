"""bitsandbytes, through transformers."""

import bitsandbytes
import torch
from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from transformers import BitsAndBytesConfig

from quantisers import Row
from quantisers.hugging_face import array, load, modules

PACKAGES = ["bitsandbytes", "transformers"]


def truth(model):
    values = {}
    for name, layer in modules(model, bitsandbytes.nn.Linear4bit).items():
        state = layer.weight.quant_state
        state.dtype = torch.float32
        values[f"{name}.weight"] = array(dequantize_4bit(layer.weight.data, state))
    for name, layer in modules(model, bitsandbytes.nn.Linear8bitLt).items():
        values[f"{name}.weight"] = array(int8_vectorwise_dequant(layer.weight.data, layer.weight.SCB))
    return values


def saved(**settings):
    def write(source, out):
        load(source, quantization_config=BitsAndBytesConfig(**settings)).save_pretrained(out)
        return truth(load(out))
    return write


ROWS = [
    Row("bitsandbytes-nf4", saved(load_in_4bit=True, bnb_4bit_quant_type="nf4")),
    Row("bitsandbytes-nf4-double", saved(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)),
    Row("bitsandbytes-fp4", saved(load_in_4bit=True, bnb_4bit_quant_type="fp4")),
    Row("bitsandbytes-int8", saved(load_in_8bit=True)),
]
