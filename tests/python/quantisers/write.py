"""Writes models with a library: `python -m quantisers.write LIBRARY ORIGINALS OUT [ROW ...]`, in the folder above.

ORIGINALS has a directory for each model of `models.py`. OUT/ROW gets `model`, the directory that the library wrote,
`truth.safetensors`, the weights that it stands for, and `row.json`.
"""

import importlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import sys
import traceback

import numpy
from safetensors.numpy import save_file

# What torchao has from this package is Python; its kernels are for GPUs and cannot be loaded without one.
os.environ["MSLK_PYTHON_ONLY"] = "1"
# What is decorated to be compiled runs as it stands.
os.environ["TORCH_COMPILE_DISABLE"] = "1"
# quanto compiles what it unpacks with, by the ninja of its environment.
os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def versions(packages):
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def write(library, row, originals, out):
    """One row."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    truth = row.write(originals / row.original, out / "model")
    save_file({name: numpy.ascontiguousarray(values, numpy.float32) for name, values in truth.items()},
              out / "truth.safetensors")
    about = {"row": row.name, "original": row.original, "least": row.least, "relation": row.relation,
             "versions": versions(library.PACKAGES)}
    (out / "row.json").write_text(json.dumps(about, indent=2))


def main(name, originals, out, *wanted):
    """Every row is tried; the exit code is 1 if one failed."""
    library = importlib.import_module(f"quantisers.{name}")
    failed = 0
    for row in library.ROWS:
        if wanted and row.name not in wanted:
            continue
        try:
            write(library, row, pathlib.Path(originals), pathlib.Path(out) / row.name)
        except Exception:
            print(f"{row.name}: the library cannot write it", file=sys.stderr)
            traceback.print_exc()
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
