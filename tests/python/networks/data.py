"""What the networks learn from: handwritten digits, program text and a smooth function."""

import collections
import functools
import pathlib
import re
import sysconfig

import numpy
from sklearn.datasets import load_digits

TEXT_BYTES = 4_000_000
HELD_OUT = 40_000


@functools.cache
def digits():
    """Images of 8 by 8 from 0 to 1 and their labels: for training, then for testing."""
    loaded = load_digits()
    images = (loaded.images / 16).astype(numpy.float32)
    order = numpy.random.default_rng(1).permutation(len(images))
    train, test = order[:1400], order[1400:]
    labels = loaded.target.astype(numpy.int32)
    return (images[train], labels[train]), (images[test], labels[test])


@functools.cache
def text():
    """The source and documentation text of the standard library, from the first file on."""
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    parts, size = [], 0
    for path in sorted(library.rglob("*.py")):
        if size >= TEXT_BYTES:
            break
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        parts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(parts[-1])
    return "".join(parts)[:TEXT_BYTES]


def _cut(written):
    """Words, runs of spaces and single signs."""
    return re.findall(r"[A-Za-z]+|[0-9]|\s+|[^\sA-Za-z0-9]", written)


@functools.cache
def _words():
    """The text in pieces, and the different pieces, the most frequent first."""
    cut = _cut(text())
    return cut, [word for word, _ in collections.Counter(cut).most_common()]


def _numbered(cut, vocabulary, first):
    numbers = {word: first + 1 + i for i, word in enumerate(_words()[1][: vocabulary - first - 1])}
    return numpy.array([numbers.get(word, first) for word in cut], numpy.int32)


@functools.cache
def tokens(vocabulary, first=0):
    """The text as token numbers from `first` to `vocabulary`; the rarest words share the first one."""
    return _numbered(_words()[0], vocabulary, first)


@functools.cache
def sentences(vocabulary):
    """Sentences of everyday English under the same numbers."""
    english = (pathlib.Path(__file__).parents[1] / "sentences.txt").read_text(encoding="utf-8")
    return _numbered(_cut(english), vocabulary, 0)


@functools.cache
def characters():
    """The text as bytes below 128."""
    return numpy.frombuffer(text().encode("ascii", errors="ignore"), numpy.uint8).astype(numpy.int32)


def windows(stream, count, length, random):
    """Random stretches of a stream, none of them from the part held out for testing."""
    starts = random.integers(0, len(stream) - HELD_OUT - length, count)
    return stream[starts[:, None] + numpy.arange(length)]


def held_out(stream, count, length):
    """Stretches of the part held out."""
    starts = len(stream) - HELD_OUT + numpy.arange(count) * length
    return stream[starts[:, None] + numpy.arange(length)]


def surface(random, count, width):
    """A smooth function of `width` variables with a little noise: inputs and values, in double precision."""
    x = random.normal(size=(count, width))
    y = numpy.sin(x[:, :4].sum(axis=1)) + 0.3 * x[:, 4] * x[:, 5] + 0.05 * random.normal(size=count)
    return x, y[:, None]
