"""Does a pickle mean to us what it means to PyTorch? Writes files as `torch.save` does, and such as it never
does: with metadata, states, keys that equal others, views with all kinds of strides. Each that
`torch.load(weights_only=True)` loads must be listed with the names, types, shapes and values that it has there,
or be refused by a finding of high severity; and none is refused that `torch.save` wrote. Tensors of types and
kinds that are not read are named, each, and the others of their file are read.

    python tests/python/pickles.py [files] [seed]

Files are loaded in a child process with a time limit: one that ends it by a signal is counted, and not kept.
"""

import collections
import hashlib
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("TENSORSEAL", str(ROOT / "target/release/tensorseal"))
# Files that are loaded by one child, and the seconds that it has.
BATCH, SECONDS = 100, 120
LEAST_FILES, LEAST_LOADED, LEAST_UNREAD = 1000, 200, 20

NAMES = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "bool": "BOOL", "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
    "float4_e2m1fn_x2": "F4",
}
# Those that are named and not read. PyTorch makes no tensors of its integers of up to seven bits.
UNREAD = (
    "complex32", "complex128", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2", "quint8", "qint8", "qint32",
    "quint4x2", "quint2x4",
)
UNREAD_RULES = ("format/torch-dtype", "format/torch-tensor-kind")
STORAGES = {
    "FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8,
    "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
    "ComplexFloatStorage": 8,
}
WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4}
WIDTHS |= {"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
WIDTHS |= {"F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1, "F8_E8M0": 1}


# What is written: operations of pickles.


class Writer:
    """The operations of one pickle, by a source of chance."""

    def __init__(self, chance, legacy):
        self.chance, self.legacy = chance, legacy
        self.memo = 0
        self.storages = []
        self.kept = []

    def integer(self, value):
        ways = [b"J" + struct.pack("<i", value), b"\x8a\x02" + struct.pack("<h", value)]
        if 0 <= value < 256:
            ways.append(b"K" + bytes([value]))
        if 0 <= value < 1 << 16:
            ways.append(b"M" + struct.pack("<H", value))
        return self.chance.choice(ways)

    def text(self, value):
        raw = value.encode("utf-8", "surrogatepass")
        if raw.isascii() and self.chance.random() < 0.1:
            return b"U" + bytes([len(raw)]) + raw
        return b"X" + struct.pack("<I", len(raw)) + raw

    def value(self, value):
        match value:
            case bytes():
                return value
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                return self.integer(value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                return self.text(value)
            case tuple():
                return self.tuple(*value)
        raise TypeError(value)

    def tuple(self, *items):
        items = list(map(self.value, items))
        if not items:
            return b")"
        if len(items) <= 3 and self.chance.random() < 0.7:
            return b"".join(items) + bytes([0x84 + len(items)])
        return b"(" + b"".join(items) + b"t"

    def named(self, module, name):
        return f"c{module}\n{name}\n".encode()

    def call(self, module, name, *arguments, how=b"R"):
        return self.named(module, name) + self.tuple(*arguments) + how

    def list(self, *items):
        items = list(map(self.value, items))
        if self.chance.random() < 0.5:
            return b"]" + b"".join(item + b"a" for item in items)
        return b"](" + b"".join(items) + b"e"

    def filled(self, dictionary, pairs):
        pairs = [self.value(key) + self.value(value) for key, value in pairs]
        if self.chance.random() < 0.5:
            return dictionary + b"".join(pair + b"s" for pair in pairs)
        return dictionary + b"(" + b"".join(pairs) + b"u"

    def dict(self, *pairs):
        return self.filled(b"}", pairs)

    def ordered(self, *pairs):
        if self.chance.random() < 0.2:
            return self.call("collections", "OrderedDict", self.list(*map(lambda pair: self.tuple(*pair), pairs)))
        return self.filled(self.call("collections", "OrderedDict"), pairs)

    def remembered(self, value):
        """Keeps a value in the memo; gives it and what takes it again."""
        at, self.memo = self.memo, self.memo + 1
        if at < 256 and self.chance.random() < 0.8:
            return value + b"q" + bytes([at]), b"h" + bytes([at])
        return value + b"r" + struct.pack("<I", at), b"j" + struct.pack("<I", at)

    def storage(self, name=None, elements=None):
        """A storage of its own: its number."""
        name = name or self.chance.choice(list(STORAGES))
        elements = self.chance.randrange(1, 40) if elements is None else elements
        width = STORAGES.get(name, 1)
        data = self.chance.randbytes(elements * width)
        if name == "BoolStorage":
            data = bytes(byte & 1 for byte in data)
        self.storages.append((name, elements, data))
        return len(self.storages) - 1

    def refer(self, number, name=None, elements=None, key=None, location="cpu", view=None):
        known, count, _ = self.storages[number]
        name, elements = name or known, count if elements is None else elements
        module = "torch.storage" if name == "UntypedStorage" else "torch"
        key = str(number) if key is None else key
        parts = ["storage", self.named(module, name), key, location, elements]
        if self.legacy:
            parts.append(self.tuple(*view) if view else None)
        return self.tuple(*parts) + b"Q"

    def layout(self, elements):
        """An offset, a shape and strides that fit; mostly those of a whole."""
        chance = self.chance
        if chance.random() < 0.5:
            rows = chance.choice([n for n in range(1, elements + 1) if elements % n == 0] or [1])
            shape, strides = (rows, elements // rows), (elements // rows, 1)
            if chance.random() < 0.4:
                shape, strides = shape[::-1], strides[::-1]
            return (0, (elements,), (1,)) if chance.random() < 0.3 else (0, shape, strides)
        while True:
            least = 0 if chance.random() < 0.1 else 1
            shape = tuple(chance.randrange(least, 5) for _ in range(chance.randrange(4)))
            strides = tuple(chance.choice([0, 1, 1, 2, 3, 4, 5, 6]) for _ in shape)
            last = sum((size - 1) * stride for size, stride in zip(shape, strides) if size)
            if last < elements:
                return chance.randrange(elements - last), shape, strides

    def tensor(self, number=None, function="_rebuild_tensor_v2", metadata=(), hooks=None, dtype=None, view=None):
        number = self.storage() if number is None else number
        elements = self.storages[number][1]
        offset, shape, strides = self.layout(elements)
        hooks = self.call("collections", "OrderedDict") if hooks is None else hooks
        arguments = [self.refer(number, view=view), offset, shape, strides, False, hooks]
        if function == "_rebuild_tensor":
            arguments = arguments[:4]
        if function == "_rebuild_tensor_v3":
            arguments.append(dtype)
        return self.call("torch._utils", function, *arguments, *metadata)

    def parameter(self, tensor, *state):
        name = "_rebuild_parameter_with_state" if state else "_rebuild_parameter"
        return self.call("torch._utils", name, tensor, True, self.call("collections", "OrderedDict"), *state)


def features(writer):
    """Everything that makes a difference, each as the pairs of a dictionary."""
    w, chance = writer, writer.chance
    empty = w.call("collections", "OrderedDict")
    float_storage = lambda: w.storage("FloatStorage")
    state = lambda: w.tuple(w.refer(number := float_storage()), 0, (w.storages[number][1],), (1,))

    def metadata(name="ComplexFloatStorage"):
        flags = chance.choice([(), (("neg", True),), (("conj", True),), (("neg", False),), (("x", 1),)])
        return [("m", w.tensor(w.storage(name), metadata=(w.dict(*flags),)))]

    def keys(*pairs):
        return [("k", w.dict(*pairs)), ("after", w.tensor())]

    def twice():
        first, again = w.remembered(w.tensor())
        return [("first", first), ("again", again), ("list", w.list(again, again))]

    def odd():
        key = chance.choice([
            None, True, False, 1.0, 2.5, (1, 2), w.call("__builtin__", "complex", 1.0, 0.0),
            w.call("_codecs", "encode", "a", "latin1"), w.call("torch", "Size", (1, 2)),
            w.call("torch", "device", "cpu"), w.named("torch", "float32"), "\ud800",
        ])
        return keys((key, w.tensor()), (chance.choice([1, "a", "1"]), w.tensor()))

    def overriding():
        same = [["a", "a"], [1, 1], [1, True], [True, 1], [0, 0.0], [1.0, 1], [1, "1"], [0, False]]
        same = chance.choice(same)
        return keys(*((key, chance.choice([w.tensor(), None])) for key in same))

    def computed():
        key = chance.choice([
            w.call("__builtin__", "complex", 1.0, 0.0), w.call("_codecs", "encode", "a", "latin1"),
        ])
        return keys((1, w.tensor()), ("a", w.tensor()), (key, None))

    def ambiguous():
        return [("a", w.dict(("b", w.tensor()))), ("a.b", w.tensor())]

    def shared():
        number = w.storage()
        return [(f"s{n}", w.tensor(number)) for n in range(3)]

    def typed():
        number = w.storage(chance.choice(["UntypedStorage", "FloatStorage"]), 16)
        name = chance.choice(["float16", "uint16", "float8_e4m3fn", "int32", "uint8"])
        offset, shape, strides = 0, (4,), (1,)
        arguments = w.refer(number), offset, shape, strides, False, empty, w.named("torch", name)
        return [("t", w.call("torch._utils", "_rebuild_tensor_v3", *arguments))]

    def untyped():
        return [("u", w.tensor(w.storage("UntypedStorage", 12)))]

    def by_type():
        number = float_storage()
        inner = w.tuple(w.refer(number), 0, (w.storages[number][1],), (1,), False, empty)
        of = chance.choice([w.named("torch", "Tensor"), w.named("torch.nn.parameter", "Parameter")])
        function = w.named("torch._utils", "_rebuild_tensor_v2")
        given = chance.choice([w.dict(), w.dict(("note", 1)), w.tuple(None, None), w.dict(("data", w.tensor()))])
        return [("b", w.call("torch._tensor", "_rebuild_from_type_v2", function, of, inner, given))]

    def converted():
        tensor, name = w.tensor(float_storage()), chance.choice(["float32", "float64", "int64"])
        function = "_rebuild_device_tensor_from_cpu_tensor"
        return [("c", w.call("torch._utils", function, tensor, w.named("torch", name), "cpu", False))]

    def stated():
        data = w.dict(("data", w.tensor(float_storage())))
        given = chance.choice([w.dict(), None, w.tuple(None, None), w.dict(("note", 1)), data])
        return [("p", w.parameter(w.tensor(float_storage()), given))]

    def built():
        tensor = w.tensor(float_storage())
        how = chance.randrange(4)
        if how == 0:
            return [("x", tensor + state() + b"b")]
        if how == 1:
            return [("x", w.call("torch", "Tensor", how=b"\x81") + state() + b"b")]
        parameter = w.parameter(tensor)
        if how == 2:
            return [("x", parameter + w.tuple(False, None, empty) + b"b")]
        return [("x", parameter + w.tuple(w.tensor(float_storage()), 0, empty, False, None) + b"b")]

    def classes():
        how = chance.choice([b"R", b"\x81"])
        return [("x", w.call("torch.nn.parameter", "Parameter", w.tensor(float_storage()), how=how))]

    def noted():
        versions = w.dict(("", w.dict(("version", 1))))
        notes = [("_metadata", versions)], [("_metadata", w.tensor())], [("items", 1)], []
        what = w.dict(*chance.choice(notes))
        return [("n", w.ordered(("a", w.tensor())) + what + b"b")]

    def collections_():
        a = w.tensor()
        return chance.choice([
            lambda: [("o", w.call("collections", "OrderedDict", w.list(w.tuple("a", a), w.tuple("b", a))))],
            lambda: [("o", w.call("collections", "OrderedDict", w.list(w.tuple("a", a)), how=b"\x81"))],
            lambda: [("o", w.call("collections", "OrderedDict", w.dict(("a", a))))],
            lambda: [("o", w.call("collections", "Counter", w.dict(("a", a))))],
            lambda: [("o", w.call("collections", "OrderedDict", w.list("ab", "cd"))), ("a", a)],
            lambda: [("o", w.call("__builtin__", "set", w.list(a)))],
            lambda: [("o", w.call("__builtin__", "set", w.list(1, 2))), ("a", a)],
            lambda: [("o", w.call("torch", "Size", (1, 2))), ("a", a)],
        ])()

    def later():
        first, again = w.remembered(w.dict(("a", w.tensor())))
        return [("d", first), ("e", w.filled(again, [("b", w.tensor()), ("a", w.tensor())])), ("l", w.list(again))]

    def copied():
        first, again = w.remembered(w.list(w.tuple("a", w.tensor())))
        copy = w.call("collections", "OrderedDict", again)
        return [("l", first), ("o", copy), ("m", again + w.tuple("b", w.tensor()) + b"a")]

    def conflict():
        number = w.storage("FloatStorage", 8)
        other = chance.choice(["IntStorage", "FloatStorage", "HalfStorage"])
        refer = w.refer(number, other, chance.choice([8, 4, 16]))
        arguments = refer, 0, (4,), (1,), False, empty
        first = w.call("torch._utils", "_rebuild_tensor_v2", *arguments)
        pair = [("f", first), ("s", w.tensor(number))]
        return pair if chance.random() < 0.5 else [("f", w.list(refer)), ("s", w.tensor(number))]

    def elsewhere():
        number = float_storage()
        arguments = w.refer(number, location=chance.choice(["meta", "cpu"])), 0, (1,), (1,), False, empty
        return [("e", w.call("torch._utils", "_rebuild_tensor_v2", *arguments))]

    def past():
        number = float_storage()
        offset, stride = chance.choice([0, 1]), chance.choice([1, 2])
        arguments = w.refer(number), offset, (w.storages[number][1],), (stride,), False, empty
        return [("p", w.call("torch._utils", "_rebuild_tensor_v2", *arguments))]

    def hooks():
        return [("h", w.tensor(hooks=chance.choice([w.ordered(("a", 1)), None, w.ordered(("a", w.tensor()))])))]

    def numbers():
        number = w.storage("IntStorage", 6)
        refer = w.refer(number, key=chance.choice(["0", str(number), number, f"{number} "]))
        return [("i", w.call("torch._utils", "_rebuild_tensor_v2", refer, 0, (6,), (1,), False, empty))]

    def views():
        """Parts of storages, of the form that has them."""
        number = w.storage("FloatStorage", 12)
        if not w.legacy:
            return [("v", w.tensor(number))]
        def part(key, offset, count):
            refer = w.refer(number, view=(key, offset, count))
            arguments = refer, 0, (chance.choice([1, count]),), (1,), False, empty
            return w.call("torch._utils", "_rebuild_tensor_v2", *arguments)
        others = ("p", 2, 4), ("q", 2, 4), ("p", 4, 4), ("p", 2, 6), (str(number), 2, 4), ("0", 1, 3)
        again = chance.choice(others)
        return [("v", part("p", 2, 4)), ("w", part(*again)), ("x", w.tensor(number))]

    def popped():
        return [("a", w.tensor() + b"0" + w.tensor()), ("b", w.tensor() + b"0" + w.value(1))]

    def inner():
        parts = w.dict(("x", w.tensor())), w.tuple(w.tensor(), 1.5, None, "s"), w.ordered((3, w.tensor()))
        return [("in", w.list(*parts))]

    def unread():
        meta = w.named("torch", "float32"), (2,), (1,), False
        wide = w.named("torch", "complex128")
        return chance.choice([
            lambda: [("c", w.tensor(w.storage("ComplexFloatStorage"), "_rebuild_tensor"))],
            lambda: [("m", w.call("torch._utils", "_rebuild_meta_tensor_no_storage", *meta))],
            lambda: [("d", w.tensor(w.storage("FloatStorage", 8), "_rebuild_tensor_v3", dtype=wide))],
        ])()

    return [
        metadata, lambda: metadata("FloatStorage"), twice, odd, odd, overriding, overriding, computed, ambiguous,
        shared, typed, untyped, by_type, converted, stated, built, built, classes, noted, collections_,
        collections_, later, copied, conflict, elsewhere, past, hooks, numbers, views, views, popped, inner,
        unread,
    ]


def written(chance, path):
    """A file with one or two of the features among plain tensors."""
    legacy = chance.random() < 0.3
    w = Writer(chance, legacy)
    pairs = [(f"t{n}", w.tensor()) for n in range(chance.randrange(3))]
    for feature in chance.sample(features(w), chance.choice([1, 1, 2])):
        pairs += feature()
    for n in range(chance.randrange(2)):
        function = chance.choice(["_rebuild_tensor", "_rebuild_tensor_v2"])
        pairs.append((f"z{n}", w.parameter(w.tensor(function=function))))
    value = chance.choice([w.dict, w.ordered])(*pairs)
    if chance.random() < 0.05:
        value = w.list(value)
    start = chance.choice([b"\x80\x02"] * 8 + [b"", b"\x80\x04"])
    write = write_legacy if legacy else write_zip
    write(w, start + value + b".", path)


def write_zip(w, pickle, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", "little")
        for number, (_, _, data) in enumerate(w.storages):
            archive.writestr(f"archive/data/{number}", data)
        archive.writestr("archive/version", "3\n")


def write_legacy(w, pickle, path):
    notes = w.dict(("protocol_version", 1001), ("little_endian", True))
    listed = w.list(*(str(number) for number in range(len(w.storages))))
    front = [b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", b"M\xe9\x03", notes]
    parts = [b"\x80\x02" + part + b"." for part in front] + [pickle, b"\x80\x02" + listed + b"."]
    storages = (struct.pack("<Q", elements) + data for _, elements, data in w.storages)
    path.write_bytes(b"".join(parts) + b"".join(storages))


def saved(chance, path):
    """What `torch.save` writes of models, optimizers and data around them."""
    import torch

    torch.manual_seed(chance.randrange(1 << 30))
    # Of raw bytes: PyTorch converts nothing to them.
    raw = [getattr(torch, name) for name in ("float4_e2m1fn_x2", "float8_e8m0fnu", *UNREAD)]
    dtypes = [getattr(torch, name) for name in NAMES if getattr(torch, name) not in raw]

    def tensor():
        shape = [chance.randrange(0 if chance.random() < 0.03 else 1, 5) for _ in range(chance.randrange(4))]
        if chance.random() < 0.2:
            kind = chance.choice(raw)
            wide = [*shape[:-1], shape[-1] * kind.itemsize] if shape else [kind.itemsize]
            made = torch.randint(0, 256, wide, dtype=torch.uint8).view(kind)
            return made[..., 1:] if chance.random() < 0.2 and made.shape[-1] > 1 else made
        made = (torch.randn(shape) * 9).to(torch.float32)
        kind = chance.choice(dtypes)
        made = made.abs().to(kind) if "uint" in str(kind) else made.to(kind)
        how = chance.randrange(8)
        if how == 0 and made.dim() > 1:
            made = made.transpose(0, 1)
        if how == 1 and made.dim() > 0:
            made = made[..., 1:]
        if how == 2 and made.dim() > 0:
            made = made[::2]
        if how == 3:
            made = made.unsqueeze(0).expand(3, *made.shape)
        if how == 4 and made.is_floating_point():
            made = torch.nn.Parameter(made)
        return made

    def module():
        made = torch.nn.Sequential(
            torch.nn.Linear(chance.randrange(1, 5), 3), torch.nn.BatchNorm1d(3), torch.nn.Conv1d(3, 2, 1)
        )
        if chance.random() < 0.3:
            made[0].weight = made[2].weight
        if chance.random() < 0.3:
            made = made.to(memory_format=torch.contiguous_format).half()
        return made

    def optimizer():
        made = torch.nn.Linear(3, 2)
        steps = chance.choice([torch.optim.Adam, torch.optim.SGD])(made.parameters(), lr=0.1)
        made(torch.ones(1, 3)).sum().backward()
        steps.step()
        return {"model": made.state_dict(), "optimizer": steps.state_dict(), "epoch": 3}

    def value(depth):
        kinds = [tensor] * 4 + [lambda: 1.5, lambda: None, lambda: "text", lambda: 7, lambda: True]
        kinds += [lambda: torch.Size([1, 2]), lambda: {1, 2}, lambda: b"bytes", lambda: 1 << 70, lambda: 1 + 2j]
        kinds += [lambda: torch.float16, lambda: torch.device("cpu"), lambda: collections.Counter("aab")]
        if depth:
            inner = lambda: [value(depth - 1) for _ in range(chance.randrange(4))]
            kinds += [inner, lambda: tuple(inner())] * 2
            kinds += [lambda: {f"k{n}": each for n, each in enumerate(inner())}] * 2
            kinds += [lambda: dict(enumerate(inner()))]
            kinds += [lambda: {b"bytes": 1, torch.device("cpu"): 2, 1 + 2j: 3, (1, 2): 4, "w": tensor()}]
            kinds += [lambda: collections.OrderedDict((f"o{n}", each) for n, each in enumerate(inner()))]
        return chance.choice(kinds)()

    made = chance.choice([
        lambda: module().state_dict(), optimizer, lambda: {f"v{n}": value(2) for n in range(4)},
        lambda: [value(1), tensor()], tensor,
    ])()
    torch.save(made, path, _use_new_zipfile_serialization=chance.random() < 0.7)


# What PyTorch loads: in a child.


def flat(loaded):
    """The tensors of an object by the names that lead to them, and the names of those that are not read; what has
    no name makes it unlistable."""
    import torch

    found, unread, unlistable = {}, [], []

    def holds(value):
        if isinstance(value, torch.Tensor):
            return True
        if isinstance(value, dict):
            return any(holds(key) or holds(each) for key, each in dict.items(value))
        return isinstance(value, (list, tuple, set, frozenset)) and any(map(holds, value))

    def visit(name, value):
        if isinstance(value, torch.Tensor):
            if name in found or name in unread:
                unlistable.append(f"two tensors are called {name}")
            described = of(value)
            if described is None:
                unread.append(name)
            else:
                found[name] = described
            if getattr(value, "__dict__", None) and holds(list(value.__dict__.values())):
                unlistable.append(f"attributes of {name}")
        elif isinstance(value, dict):
            if holds(list(getattr(value, "__dict__", {}).values())):
                unlistable.append(f"attributes of {name}")
            for key, each in dict.items(value):
                if type(key) in (str, int):
                    visit(f"{name}.{key}" if name is not None else str(key), each)
                elif holds(key) or holds(each):
                    unlistable.append(f"key {key!r}")
        elif isinstance(value, (list, tuple)):
            for at, each in enumerate(value):
                visit(f"{name}.{at}" if name is not None else str(at), each)
        elif holds(value):
            unlistable.append(f"in {name}")

    def of(tensor):
        kind = NAMES.get(str(tensor.dtype).removeprefix("torch."))
        if kind is None or tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
            return None
        if kind == "F4":
            # Two elements a byte, and in the order of the dimensions or not at all.
            if tensor.dim() == 0 or not tensor.is_contiguous():
                return None
            shape = [*tensor.shape[:-1], tensor.shape[-1] * 2]
            raw = bytes(tensor.view(torch.uint8).reshape(-1).tolist())
            return [kind, shape, hashlib.sha256(raw).hexdigest()]
        bits = tensor.detach()
        if kind == "F8_E8M0":
            bits = bits.view(torch.uint8)
        plain = torch.empty(bits.shape, dtype=bits.dtype).copy_(bits)
        raw = bytes(plain.reshape(-1).view(torch.uint8).tolist()) if plain.numel() else b""
        return [kind, list(tensor.shape), hashlib.sha256(raw).hexdigest()]

    if isinstance(loaded, torch.Tensor):
        visit("tensor", loaded)
    else:
        visit(None, loaded)
    return found, unread, unlistable


def child(paths):
    import warnings

    import torch

    warnings.simplefilter("ignore")
    for path in paths:
        print(json.dumps({"path": path}), flush=True)
        try:
            loaded = torch.load(path, weights_only=True)
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}), flush=True)
            continue
        found, unread, unlistable = flat(loaded)
        print(json.dumps({"found": found, "unread": unread, "unlistable": unlistable}), flush=True)


def loaded(paths):
    """What was loaded of each file, by path; and how many ended their process."""
    results, ended, waiting = {}, 0, [str(path) for path in paths]
    while waiting:
        batch = waiting[:BATCH]
        command = [sys.executable, __file__, "--child", *batch]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            output, failed = done.stdout, done.returncode
        except subprocess.TimeoutExpired as expired:
            output, failed = (expired.stdout or b"").decode(), -1
        path = None
        for line in output.splitlines():
            said = json.loads(line)
            if "path" in said:
                path = said["path"]
            else:
                results[path] = said
        if failed > 0:
            raise SystemExit(f"{path}: {done.stderr}")
        if failed and path is None:
            raise SystemExit("cannot load anything")
        tried = batch if not failed else batch[: batch.index(path) + 1]
        if failed and path not in results:
            ended += 1
            results[path] = {"error": "its process ended"}
        waiting = waiting[len(tried) :]
    return results, ended


# What tensorseal says.


def tensorseal(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in (0, 1, 3, 4):
        raise SystemExit(f"{arguments}: exit {done.returncode}: {done.stderr}")
    return done


def logical(data, tensor):
    """The elements of a tensor in the order of its dimensions, one after another."""
    if tensor["dtype"] == "F4":
        return data[tensor["offset"] :][: tensor["bytes"]]
    width, shape = WIDTHS[tensor["dtype"]], tensor["shape"]
    if 0 in shape:
        return b""
    strides = tensor.get("strides")
    if strides is None:
        strides = [1] * len(shape)
        for at in reversed(range(len(shape) - 1)):
            strides[at] = strides[at + 1] * shape[at + 1]
    places = [0]
    for size, stride in zip(shape, strides):
        places = [place + step * stride for place in places for step in range(size)]
    start = tensor["offset"]
    return b"".join(data[start + place * width :][:width] for place in places)


def told(path, seal):
    """The findings of high severity, or the tensors and the root of a file; and the names of what is not read."""
    import blake3

    inspected = tensorseal("inspect", path, "--format", "json", "--quiet")
    report = json.loads(inspected.stdout)
    if inspected.returncode == 3:
        audited = tensorseal("audit", path, "--format", "json", "--quiet", "--device", "cpu")
        audited = json.loads(audited.stdout)
        high = [f for f in audited["findings"] if f["severity"] in ("high", "critical")]
        high = [f for f in high if f["rule"].startswith("format/")]
        assert high, f"{path}: refused by nothing high: {audited}"
        return high, {}, None, []
    assert all(f["severity"] in ("info", "low") for f in report["findings"]), report
    unread = [f["tensor"] for f in report["findings"] if f["rule"] in UNREAD_RULES]
    data, tensors = path.read_bytes(), report.get("tensors", [])
    digest = lambda tensor: hashlib.sha256(logical(data, tensor)).hexdigest()
    listed = {tensor["name"]: [tensor["dtype"], tensor["shape"], digest(tensor)] for tensor in tensors}
    if not listed:
        return [], {}, None, unread
    tensorseal("seal", path, "-o", seal, "--digest-only", "--quiet")
    sealed = json.loads(seal.read_text())
    seal.unlink()
    places = ("name", "dtype", "shape", "strides", "offset", "bytes")
    of = lambda tensors: sorted(([t.get(place) for place in places] for t in tensors), key=str)
    assert of(sealed["tensors"]) == of(tensors), path
    for tensor in sealed["tensors"]:
        raw = data[tensor["offset"] :][: tensor["bytes"]]
        assert blake3.blake3(raw).hexdigest() == tensor["blake3"].removeprefix("blake3:"), (path, tensor)
    return [], listed, sealed["model"]["root"], unread


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    counts, failures, roots = collections.Counter(), [], {}
    with tempfile.TemporaryDirectory(prefix="tensorseal-") as scratch:
        directory = pathlib.Path(scratch)
        paths = []
        for number in range(count):
            # A chance of its own each: one file can be made again alone.
            chance = random.Random(f"{seed}/{number}")
            plain = number % 4 == 0
            path = directory / f"{number}-{'saved' if plain else 'made'}.pt"
            (saved if plain else written)(chance, path)
            paths.append(path)
        results, ended = loaded(paths)
        counts["ended the process"] = ended
        for path in paths:
            result = results[str(path)]
            plain = path.stem.endswith("saved")
            high, listed, root, unread = told(path, directory / "seal.json")
            counts["written by torch.save" if plain else "made"] += 1
            if "error" in result:
                counts["not loaded by torch"] += 1
                counts["not loaded, listed"] += not high
                # Some types it writes in the old form and does not read.
                counts["written by torch.save, not loaded by torch"] += plain
                continue
            counts["loaded"] += 1
            if high:
                counts["loaded, refused"] += 1
                for rule in {finding["rule"] for finding in high}:
                    counts[f"refused by {rule}"] += 1
                if plain:
                    failures.append(f"{path.name}: refused: {[f['message'] for f in high]}")
                continue
            counts["loaded, listed alike"] += 1
            counts["loaded, with tensors that are named and not read"] += bool(unread)
            found = {name: tensor for name, tensor in result["found"].items() if name not in unread}
            missing = set(result["unread"]) - set(unread)
            needless = set(unread) - set(result["unread"]) if plain else set()
            if missing or needless:
                failures.append(f"{path.name}: not named: {missing}, named and could be read: {needless}")
            elif result["unlistable"]:
                failures.append(f"{path.name}: listed, though {result['unlistable']}")
            elif listed != found:
                names = sorted(listed.keys() | found.keys())
                pairs = [(name, listed.get(name), found.get(name)) for name in names]
                pairs = [pair for pair in pairs if pair[1] != pair[2]]
                failures.append(f"{path.name}: listed otherwise than loaded: {pairs}")
            elif root is not None and roots.setdefault(root, found) != found:
                failures.append(f"{path.name}: one root for two different models")
        if failures and "TENSORSEAL_KEEP" in os.environ:
            kept = pathlib.Path(os.environ["TENSORSEAL_KEEP"])
            for failure in failures:
                name = failure.split(":")[0]
                (kept / name).write_bytes((directory / name).read_bytes())
    for what, number in sorted(counts.items()):
        print(f"{number:6} {what}")
    for failure in failures:
        print(failure)
    unread = counts["loaded, with tensors that are named and not read"]
    if count >= LEAST_FILES and (counts["loaded"] < LEAST_LOADED or unread < LEAST_UNREAD):
        failures.append("too few were loaded")
        print(failures[-1])
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
