"""Real libraries that quantise: one file a library, and the models that they are given.

A file of a library has `PACKAGES`, what its versions are told by, and `ROWS`, one for each way of writing. It writes a
model the way its users do, and says which weights the written codes stand for: by its own dequantiser, not by ours.
"""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Row:
    """A way of writing a model."""

    name: str
    # From the directory of the original and the one to write to, which is not there yet, to the weights that the
    # written file stands for: float32, by the names of the original. What is not in it was written as it was.
    write: Callable
    # One of `models.MODELS`.
    original: str = "llama"
    # The share of z that must be left.
    least: float = 0.97
    # What a comparison with the original says. Where it is "not-comparable", the layout is one that is not read: then
    # nothing may be said of its weights.
    relation: str = "requantised"
