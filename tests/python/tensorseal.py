"""The program, and weights as numpy arrays: what the checks of watermarks share."""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("TENSORSEAL", str(ROOT / "target/release/tensorseal"))
TESTDATA = pathlib.Path(os.environ.get("TENSORSEAL_TESTDATA", ROOT / ".testdata"))
MODEL = TESTDATA / "all-MiniLM-L6-v2"
PAYLOAD = "0123456789abcdef"


def run(*arguments):
    """The exit code and the JSON report of a command."""
    command = [PROGRAM, "watermark", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else None


def keygen(path):
    run("keygen", "-o", path, "--quiet")
    return path


def embed(model, key, out, *extra):
    code, report = run("embed", model, "--key", key, "-o", out, "--format", "json", *extra)
    assert code == 0, report
    return report["watermark"]


def detect(model, key, *extra):
    return run("detect", model, "--key", key, "--format", "json", *extra)[1]["watermark"]


def weights(path):
    """Every tensor of a file, as float32 where it is a float."""
    with safe_open(str(path), "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def carries(name, tensor):
    """Whether a tensor of these models carries a mark."""
    wide = tensor.ndim >= 2 and tensor.size >= 1 << 16
    return wide and tensor.dtype.kind == "f" and "position_embeddings" not in name


def save(tensors, path):
    save_file({name: numpy.ascontiguousarray(t) for name, t in tensors.items()}, str(path))
    return path


def workspace():
    """A directory that is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="tensorseal-")
