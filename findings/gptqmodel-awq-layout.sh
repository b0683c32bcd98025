#!/usr/bin/env bash
# GPTQModel 7.7.0, quantising by rounding (`RTNConfig`): with `format="gemm"` it writes the tensors of AWQ, codes of a row in
# the order 0 2 4 6 1 3 5 7 and no `g_idx`, into a model whose config.json says `quant_method` and `method` "gptq". With five
# bits and `format="gptq"` it writes another format than it was asked for, `gptq_p`, in which codes are split over planes of
# bits: names, types and shapes are those of a continuous stream of five bits. What a configuration is called does not say
# how its weights are laid out.
#
# Seen on 2026-11-30:
#   asked for gemm, 4 bits: quant_method gptq, checkpoint_format gemm, qweight [64, 8]
#   asked for gptq, 4 bits: quant_method gptq, checkpoint_format gptq, qweight [8, 64], with g_idx
#   asked for gptq, 5 bits: quant_method gptq, checkpoint_format gptq_p, qweight [10, 64], with g_idx
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check gptqmodel==7.7.0 torch==2.15.0 transformers==5.24.0
cd "$place"
# With two processors, it asks for more threads than it has by default.
GPTQMODEL_CPU_WORKERS=2 "$place/venv/bin/python" -W ignore - >"$place/log" 2>&1 <<'PYTHON' || { cat "$place/log"; exit 1; }
import json
import pathlib
import sys

from safetensors import safe_open
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from gptqmodel import GPTQModel
from gptqmodel.quantization.config import RTNConfig

shape = LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                    num_key_value_heads=2, vocab_size=64, architectures=["LlamaForCausalLM"])
LlamaForCausalLM(shape).save_pretrained("plain")
words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>", pad_token="</s>").save_pretrained("plain")


def written(form, bits):
    out = pathlib.Path(f"{form}-{bits}")
    model = GPTQModel.load("plain", RTNConfig(bits=bits, group_size=32, format=form))
    model.quantize(None)
    model.save(str(out))
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    with safe_open(out / "model.safetensors", "np") as file:
        layer = "model.layers.0.self_attn.q_proj."
        shape = file.get_slice(f"{layer}qweight").get_shape()
        indexed = ", with g_idx" if f"{layer}g_idx" in file.keys() else ""
    return f"quant_method {config['quant_method']}, checkpoint_format {config['checkpoint_format']}, qweight {shape}{indexed}"


expected = {
    ("gemm", 4): "quant_method gptq, checkpoint_format gemm, qweight [64, 8]",
    ("gptq", 4): "quant_method gptq, checkpoint_format gptq, qweight [8, 64], with g_idx",
    ("gptq", 5): "quant_method gptq, checkpoint_format gptq_p, qweight [10, 64], with g_idx",
}
changed = False
for (form, bits), text in expected.items():
    found = written(form, bits)
    print(f"SEEN asked for {form}, {bits} bits: {found}")
    changed |= found != text
sys.exit("it is otherwise now" if changed else 0)
PYTHON
sed -n 's/^.*SEEN //p' "$place/log"
