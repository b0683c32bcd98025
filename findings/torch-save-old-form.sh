#!/usr/bin/env bash
# torch 2.13.0: `torch.save(…, _use_new_zipfile_serialization=False)` saves tensors of the types that came after the old
# form (float8, unsigned integers of 16 to 64 bits) without a word, and `torch.load` raises an AttributeError on each
# of these files, with and without `weights_only`. The zip form holds them, and types of before work in both.
#
# Seen on 2026-11-30:
#   float32        old form: loaded      zip form: loaded
#   float8_e4m3fn  old form: AttributeError  zip form: loaded
#   uint16         old form: AttributeError  zip form: loaded
#   uint32         old form: AttributeError  zip form: loaded
#   uint64         old form: AttributeError  zip form: loaded
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import io
import sys
import warnings

import torch

warnings.simplefilter("ignore")
print("torch", torch.__version__)


def outcome(dtype, zipped):
    """What becomes of four zeros of a type that are saved and loaded."""
    file = io.BytesIO()
    tensor = torch.zeros(4, dtype=dtype)
    torch.save({"w": tensor}, file, _use_new_zipfile_serialization=zipped)
    outcomes = set()
    for weights_only in (True, False):
        file.seek(0)
        try:
            loaded = torch.load(file, weights_only=weights_only)["w"]
            outcomes.add("loaded" if loaded.dtype == dtype else f"loaded as {loaded.dtype}")
        except Exception as error:
            outcomes.add(type(error).__name__)
    return " or ".join(sorted(outcomes))


expected = {"float32": "loaded"}
expected |= {name: "AttributeError" for name in ("float8_e4m3fn", "uint16", "uint32", "uint64")}
changed = False
for name, old in expected.items():
    found = [outcome(getattr(torch, name), zipped) for zipped in (False, True)]
    print(f"{name:13}  old form: {found[0]}  zip form: {found[1]}")
    changed |= found != [old, "loaded"]
sys.exit("it is otherwise now" if changed else 0)
PYTHON
