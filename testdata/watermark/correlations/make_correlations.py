#!/usr/bin/env python3
"""A layer to which normal numbers were added, and one to which signs were: made with NumPy, no code is
shared with the program. Writes the arrays and golden.json beside this file."""

import json
import os

import numpy as np

SHAPE = (64, 64)
SIGMA = 0.02
STRENGTH = 0.2

rng = np.random.default_rng(20261125)
here = os.path.dirname(os.path.abspath(__file__))


def save(name: str, array: np.ndarray) -> np.ndarray:
    np.save(os.path.join(here, name), array)
    return array.astype(np.float64).reshape(-1)


def z(carrier: np.ndarray, weights: np.ndarray, sigma: float = 1.0) -> float:
    return float(carrier @ weights / (sigma * np.linalg.norm(weights)))


weights = 0.05 * rng.standard_t(5, SHAPE)
scale = float(np.sqrt((weights**2).mean()))
xi = (SIGMA * rng.standard_normal(SHAPE)).astype("<f4")
chips = (1 - 2 * rng.integers(0, 2, SHAPE[0] * SHAPE[1])).astype("i1")
# In no order, and not all of them.
positions = rng.permutation(chips.size)[:3000].astype("<i4")

normal = save("weight_normal.npy", (weights + STRENGTH * scale * xi / SIGMA).astype("<f4"))
signs = save(
    "weight_signs.npy", (weights + STRENGTH * scale * chips.reshape(SHAPE)).astype("<f4")
)
xi = save("xi.npy", xi)
chips = save("chips.npy", chips)
some = save("chips_at_positions.npy", chips[positions].astype("i1"))
save("positions.npy", positions)
golden = {
    "source": "testdata/watermark/correlations/make_correlations.py",
    "sigma": SIGMA,
    "z_normal": z(xi, normal, SIGMA),
    "z_signs": z(chips, signs),
    "z_signs_at_positions": z(some, signs[positions]),
    "z_unmarked": z(chips, normal),
}
with open(os.path.join(here, "golden.json"), "w") as out:
    json.dump(golden, out, indent=1)
    out.write("\n")
