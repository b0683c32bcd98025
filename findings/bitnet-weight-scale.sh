#!/usr/bin/env bash
# transformers 5.24.0: a packed BitNet file has codes of -1, 0 and 1 and one `weight_scale` a matrix. Of the two classes
# that run it, `autobitlinear` multiplies by that scale and `bitlinear`, the default, divides by it. The tensors have the
# same names, types and shapes; only `linear_class` in config.json tells which it is, and a file that is run with the other
# one computes other numbers without a word.
#
# Seen on 2026-11-30, codes of 1 and a scale of 0.25:
#   autobitlinear  weights of 0.25
#   bitlinear      weights of 4
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check accelerate==1.15.0 torch==2.15.0 transformers==5.24.0
cd "$place"
TORCH_COMPILE_DISABLE=1 "$place/venv/bin/python" - <<'PYTHON'
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, logging
from transformers.integrations.bitnet import pack_weights

logging.set_verbosity_error()
SIZE, LAYER = 32, "model.layers.0.self_attn.q_proj"
shape = LlamaConfig(hidden_size=SIZE, intermediate_size=SIZE, num_hidden_layers=1, num_attention_heads=2,
                    num_key_value_heads=2, vocab_size=SIZE)
tensors = LlamaForCausalLM(shape).state_dict()
for name in [name for name in tensors if name.endswith("_proj.weight")]:
    tensors[name] = pack_weights(torch.ones_like(tensors[name]))
    tensors[name.removesuffix("weight") + "weight_scale"] = torch.tensor([0.25])


def weights(kind):
    """What a layer of the file makes of ones and zeros, under a class."""
    directory = pathlib.Path(kind)
    directory.mkdir()
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    quantised = {"quant_method": "bitnet", "linear_class": kind, "quantization_mode": "offline",
                 "modules_to_not_convert": ["lm_head"]}
    (directory / "config.json").write_text(json.dumps({
        **shape.to_dict(), "architectures": ["LlamaForCausalLM"], "quantization_config": quantised}))
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        return set(model.get_submodule(LAYER)(torch.eye(SIZE)).flatten().tolist())


changed = False
for kind, expected in [("autobitlinear", 0.25), ("bitlinear", 4.0)]:
    found = weights(kind)
    print(f"{kind:14} weights of {', '.join(f'{value:g}' for value in sorted(found))}")
    changed |= found != {expected}
sys.exit("it is otherwise now" if changed else 0)
PYTHON
