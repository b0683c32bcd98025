"""Are the weights that PyTorch writes in parts, or under one of two names, the weights that it had? Two processes
write a model with `HuggingFaceStorageWriter`, each its own part of every tensor, and `save_model` of safetensors
leaves out a name of a tied pair. `tensorseal compare` must find the model the same as the one that was written whole,
and not without one of the parts.

    python tests/python/checkpoints.py
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("TENSORSEAL", str(ROOT / "target/release/tensorseal"))
RANKS, SECONDS = 2, 120
# What the program says of models whose weights are equal.
SAME = ("identical", "same-values")


def tensors():
    """The model, with the dimension that each tensor is cut in; `None`: every rank has all of it."""
    import torch

    torch.manual_seed(1)
    return {
        # Uneven halves, columns, three dimensions, fewer rows than ranks, other types.
        "model.rows.weight": (torch.randn(5, 6), 0),
        "model.columns.weight": (torch.randn(4, 7).to(torch.bfloat16), 1),
        "model.layers.0.conv.weight": (torch.randn(3, 4, 5), 1),
        "model.layers.0.short.weight": (torch.randn(1, 8), 0),
        "model.layers.0.norm.weight": (torch.randn(9).half(), None),
        "model.bias": (torch.randn(7), 0),
        "model.steps": (torch.arange(10, dtype=torch.int32), 0),
    }


def rank(number, out, port):
    """One of the processes."""
    import torch.distributed as dist
    import torch.distributed.checkpoint as checkpoint
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": number, "WORLD_SIZE": str(RANKS)}
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (RANKS,))
    state = {}
    for name, (whole, cut) in tensors().items():
        place = Replicate() if cut is None else Shard(cut)
        state[name] = distribute_tensor(whole, mesh, [place])
    writer = checkpoint.HuggingFaceStorageWriter(out, save_distributed=True)
    checkpoint.save(state, storage_writer=writer)
    dist.destroy_process_group()


def in_parts(out):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = lambda number: [sys.executable, __file__, "--rank", str(number), str(out), str(port)]
    processes = [subprocess.Popen(command(number), stderr=subprocess.PIPE, text=True) for number in range(RANKS)]
    for process in processes:
        _, said = process.communicate(timeout=SECONDS)
        if process.returncode:
            raise SystemExit(said)


def relation(first, second):
    """What the program says of two models, and the weights that it lists."""
    command = [PROGRAM, "compare", first, second, "--format", "json", "--quiet", "--device", "cpu"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{second}: exit {done.returncode}: {done.stderr}")
    comparison = json.loads(done.stdout)["comparison"]
    return comparison["relation"], comparison["weights"]


def main():
    import torch
    from safetensors.torch import save_file, save_model

    failures = []

    def check(what, is_so, shown):
        print(f"{'as it should be' if is_so else 'WRONG':16} {what}")
        if not is_so:
            failures.append(f"{what}: {shown}")

    with tempfile.TemporaryDirectory(prefix="tensorseal-") as scratch:
        directory = pathlib.Path(scratch)
        whole, parts = directory / "whole", directory / "parts"
        whole.mkdir()
        model = {name: tensor for name, (tensor, _) in tensors().items()}
        save_file(model, whole / "model.safetensors")
        in_parts(parts)
        files = sorted(parts.glob("*.safetensors"))
        assert len(files) == RANKS, files
        found, weights = relation(whole, parts)
        check("the parts of two ranks are the model", found in SAME and len(weights) == len(model), weights)
        changed = {**model, "model.columns.weight": model["model.columns.weight"].clone()}
        changed["model.columns.weight"][3, 6] += 1
        other = directory / "other"
        other.mkdir()
        save_file(changed, other / "model.safetensors")
        found, weights = relation(other, parts)
        check("a value that is another one is told", found not in SAME, weights)
        for file in files:
            kept = file.read_bytes()
            file.unlink()
            found, weights = relation(whole, parts)
            check(f"the model without {file.name} is not the same", found not in SAME, weights)
            file.write_bytes(kept)

        class Tied(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = torch.nn.ModuleDict({"embed_tokens": torch.nn.Embedding(50, 8)})
                self.lm_head = torch.nn.Linear(8, 50, bias=False)
                self.lm_head.weight = self.model["embed_tokens"].weight

        tied, table = directory / "tied", directory / "table"
        tied.mkdir()
        table.mkdir()
        network = Tied()
        save_model(network, str(tied / "model.safetensors"))
        save_file({"model.embed_tokens.weight": network.lm_head.weight.detach()}, table / "model.safetensors")
        from safetensors import safe_open

        with safe_open(tied / "model.safetensors", "pt") as opened:
            names, told = list(opened.keys()), opened.metadata()
        assert names == ["lm_head.weight"] and told["model.embed_tokens.weight"] == "lm_head.weight", (names, told)
        found, weights = relation(table, tied)
        check("a table that was kept as the head is the table", found in SAME and len(weights) == 1, weights)
    for failure in failures:
        print(failure)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        rank(*sys.argv[2:])
    else:
        main()
