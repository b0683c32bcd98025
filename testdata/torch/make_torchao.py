"""Writes torchao.pt with real torchao (0.18): weights of classes of its own, beside a bias that is a plain tensor.

Run it in an environment that has PyTorch and torchao: python make_torchao.py. What tensorseal reads of it is in
golden.json, which make.py writes: {"layer.bias": ...}.
"""

import pathlib

import torch
import torchao.quantization as quantization

HERE = pathlib.Path(__file__).parent


def main():
    state = {}
    torch.manual_seed(1)
    for name in ("Int8WeightOnlyConfig", "Float8WeightOnlyConfig", "IntxWeightOnlyConfig"):
        model = torch.nn.Sequential(torch.nn.Linear(32, 4, dtype=torch.bfloat16))
        torch.nn.init.constant_(model[0].bias, 0.5)
        quantization.quantize_(model, getattr(quantization, name)(**({"granularity": quantization.PerAxis(0)} if "Intx" in name else {})))
        state |= {f"{name[:4].lower()}.{key}": value for key, value in model.state_dict().items()}
    torch.save(state, HERE / "torchao.pt")


main()
