"""Makes distribution_vector.json: statistics of small arrays, computed by NumPy in float64.

    python3 -m pip install numpy
    python3 testdata/distribution/make_distribution_vector.py
"""

import json
import math
import pathlib

import numpy as np

QUANTILES = [1, 10, 50, 250, 500, 750, 950, 990, 999]


def bf16(values):
    """Rounds float32 values to bfloat16, to nearest even; gives the codes and the values."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    codes = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return codes, (codes.astype(np.uint32) << 16).view(np.float32)


def number(value):
    value = float(value)
    return value if math.isfinite(value) else None


def entry(name, dtype, data, values):
    values = np.asarray(values, np.float64)
    finite = np.sort(values[np.isfinite(values)])
    mean = finite.mean()
    deviation = finite - mean
    m2, m3, m4 = ((deviation**power).mean() for power in (2, 3, 4))
    ranks = [-(-len(finite) * q // 1000) for q in QUANTILES]
    return {
        "name": name,
        "dtype": dtype,
        "data": data.tobytes().hex(),
        "count": len(values),
        "nan": int(np.isnan(values).sum()),
        "positive_infinity": int(np.isposinf(values).sum()),
        "negative_infinity": int(np.isneginf(values).sum()),
        "zero": int((values == 0).sum()),
        "min": number(finite[0]),
        "max": number(finite[-1]),
        "mean": number(mean),
        "standard_deviation": number(np.sqrt(m2)),
        "skewness": number(m3 / m2**1.5),
        "kurtosis": number(m4 / m2**2 - 3),
        "quantiles": [number(finite[max(rank, 1) - 1]) for rank in ranks],
    }


def main():
    random = np.random.default_rng(7)
    normal = (random.standard_normal(700) * 0.02).astype(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.5], np.float32)
    single = np.concatenate([normal, special])
    half = single.astype(np.float16)
    brain, brain_values = bf16(np.concatenate([normal, special[1:]]))
    small = random.integers(-128, 128, 600).astype(np.int8)
    ids = np.arange(512, dtype=np.int64)
    vector = [
        entry("normal and special values", "F32", single, single),
        entry("normal and special values", "F16", half, half),
        entry("normal values and infinities", "BF16", brain, brain_values),
        entry("integers", "I8", small, small),
        entry("positions", "I64", ids, ids),
    ]
    path = pathlib.Path(__file__).with_name("distribution_vector.json")
    path.write_text(json.dumps(vector, indent=1) + "\n")


if __name__ == "__main__":
    main()
