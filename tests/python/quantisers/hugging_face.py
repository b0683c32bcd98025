"""What the libraries that work through transformers share."""

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def load(source, dtype=torch.bfloat16, **settings):
    """A model on the CPU."""
    return AutoModelForCausalLM.from_pretrained(source, dtype=dtype, device_map="cpu", **settings)


def tensors(directory):
    """All tensors of a model in one file."""
    return load_file(directory / "model.safetensors")


def array(tensor):
    """As float32 of NumPy."""
    return tensor.detach().to(torch.float32).numpy()


def modules(model, kind):
    """The modules of a class, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}
