"""Trains small networks of many kinds and writes their checkpoints, with a manifest of how each came
to be: `networks.py OUT_DIR [NETWORK ...]`."""

import json
import os
import pathlib
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy

import tensorseal
from networks import catalogue


def checkpoints(wanted):
    """All of them, or those of the networks named."""
    families = {family.__name__.replace("_", "-"): family for family in catalogue.FAMILIES}
    families["all-MiniLM-L6-v2"] = lambda: catalogue.published(tensorseal.MODEL)
    unknown = set(wanted) - set(families)
    if unknown:
        raise SystemExit(f"no such network: {', '.join(sorted(unknown))}; there are {', '.join(families)}")
    for name, family in families.items():
        if not wanted or name in wanted:
            start = time.monotonic()
            yield from family()
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def write(directory, wanted=()):
    """Writes the checkpoints, then the manifest; gives its entries."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    entries = []
    for made in checkpoints(wanted):
        name = f"{made.network}--{made.variant}.safetensors"
        tensorseal.save(made.tensors, directory / name)
        entries.append(
            {
                "file": name,
                "network": made.network,
                "variant": made.variant,
                "trained": made.story,
                "score": made.score,
                "tensors": len(made.tensors),
                "elements": int(sum(t.size for t in made.tensors.values())),
                "largest": int(max(t.size for t in made.tensors.values())),
                "dtypes": sorted({numpy.dtype(t.dtype).name for t in made.tensors.values()}),
            }
        )
    (directory / "manifest.json").write_text(json.dumps(entries, indent=1) + "\n")
    return entries


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    print(f"{len(write(sys.argv[1], sys.argv[2:]))} checkpoints")
