#!/usr/bin/env python3
"""A layer marked the NeuralMark way, made with NumPy and hashlib: no code is shared with the program.
Writes the arrays and golden.json beside this file."""

import hashlib
import json
import os

import numpy as np

ROUNDS = 2
ROWS, BITS = 64, 64
SHAPE = (32, 16, 3, 3)

rng = np.random.default_rng(20261124)
key = rng.standard_normal((ROWS, BITS)).astype("<f4")
digest = hashlib.shake_256(key.tobytes()).digest(BITS // 8)
bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))


def kept(indices: np.ndarray) -> np.ndarray:
    """The filter as it is defined, on lists."""
    for _ in range(ROUNDS):
        indices = indices[: len(indices) // BITS * BITS]
        indices = indices[np.tile(bits, len(indices) // BITS) == 1]
    return indices[: len(indices) // ROWS * ROWS]


def projections(weights: np.ndarray) -> np.ndarray:
    pooled = weights.reshape(-1)[places].reshape(-1, ROWS).mean(axis=0)
    return pooled @ key.astype(np.float64)


places = kept(np.arange(np.prod(SHAPE)))
weights = 0.05 * rng.standard_normal(SHAPE)
before = int(((projections(weights) > 0) == bits).sum())
# Gradient steps on the binary cross-entropy of sigmoid(projections).
for _ in range(400):
    error = 1 / (1 + np.exp(-projections(weights))) - bits
    gradient = key.astype(np.float64) @ error / (len(places) // ROWS)
    weights.reshape(-1)[places] -= 0.02 * np.tile(gradient, len(places) // ROWS)
# Damage, so that some bits are lost.
weights += 0.12 * rng.standard_normal(SHAPE)
weights = weights.astype("<f4")

found = projections(weights.astype(np.float64))
golden = {
    "source": "testdata/watermark/neuralmark/make_neuralmark.py",
    "rounds": ROUNDS,
    "bits": digest.hex(),
    "kept": len(places),
    "matching_before": before,
    "matching": int(((found > 0) == bits).sum()),
    "projections": [float(p) for p in found[:8]],
}
here = os.path.dirname(os.path.abspath(__file__))
np.save(os.path.join(here, "key.npy"), key)
np.save(os.path.join(here, "bits.npy"), bits)
np.save(os.path.join(here, "weight.npy"), weights)
with open(os.path.join(here, "golden.json"), "w") as out:
    json.dump(golden, out, indent=1)
    out.write("\n")
