"""Writes the golden files of this directory with real PyTorch (2.13) and NumPy.

Run it in an environment that has both: python make.py. The expected tensors, under the names that
tensorseal gives them, with shape, strides where they do not lie row-major, and bytes in the order of the
file, are in golden.json; the digests are SHA-256 of those bytes.
"""

import collections
import hashlib
import json
import pathlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
GOLDEN = {}
NAMES = {
    torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64",
    torch.bool: "BOOL", torch.complex64: "C64", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2", torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
}


def raw(tensor):
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def entry(dtype, shape, data, strides=None):
    found = {"dtype": dtype, "shape": list(shape), "sha256": hashlib.sha256(data).hexdigest()}
    return found if strides is None else {**found, "strides": list(strides)}


def of(tensor, stretch=None):
    """Of a tensor; of one that does not lie row-major, with the stretch of elements that it lies in."""
    if stretch is None:
        return entry(NAMES[tensor.dtype], tensor.shape, raw(tensor))
    return entry(NAMES[tensor.dtype], tensor.shape, raw(stretch), tensor.stride())


def save(name, value, expected, **how):
    torch.save(value, HERE / name, **how)
    GOLDEN[name] = expected


def some(dtype, *shape):
    numbers = torch.arange(1, 1 + int(np.prod(shape))).reshape(shape)
    if dtype == torch.bool:
        return numbers % 2 == 0
    return (numbers % 100).to(dtype)


def main():
    torch.manual_seed(1)
    dtypes = {f"layer.{str(dtype)[6:]}": some(dtype, 3, 5) for dtype in NAMES}
    save("dtypes.pt", dtypes, {name: of(tensor) for name, tensor in dtypes.items()})

    model = torch.nn.Sequential(collections.OrderedDict(
        embed=torch.nn.Embedding(11, 4), norm=torch.nn.BatchNorm1d(4),
        head=torch.nn.Linear(4, 11, bias=False),
    ))
    model.head.weight = model.embed.weight  # tied
    state = model.state_dict()
    save("state_dict.pt", state, {name: of(tensor) for name, tensor in state.items()})
    old = {name: of(tensor) for name, tensor in state.items()}
    save("legacy.pt", state, old, _use_new_zipfile_serialization=False)

    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    views = {
        "whole": base, "transposed": base.t(), "rows": base[1:3], "columns": base[:, 2:4],
        "one": base[2, 3], "none": base[:0], "parameter": torch.nn.Parameter(base[3]),
    }
    expected = {name: of(tensor) for name, tensor in views.items()}
    expected["transposed"] = of(views["transposed"], base)
    expected["columns"] = of(views["columns"], base.reshape(-1)[2:22])
    save("views.pt", views, expected)

    weight = torch.nn.Parameter(torch.randn(5, 3, dtype=torch.bfloat16))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    checkpoint = {
        "epoch": 3, "loss": 0.25, "args": {"lr": 1e-3, "names": ["a", "b"], "flag": None},
        "state_dict": collections.OrderedDict(weight=weight), "optimizer": optimizer.state_dict(),
        "history": [torch.tensor([1.0, 2.0]), (torch.tensor(7), 5)], "seed": torch.Size([2, 3]),
        "device": torch.device("cpu"), "dtype": torch.float16, "array": np.arange(3),
        "count": collections.defaultdict(int, a=1), "set": {1, 2}, "scalar": np.float64(0.5),
    }
    moments = optimizer.state_dict()["state"][0]
    save("checkpoint.pt", checkpoint, {
        "state_dict.weight": of(weight), "history.0": of(checkpoint["history"][0]),
        "history.1.0": of(checkpoint["history"][1][0]),
        **{f"optimizer.state.0.{key}": of(value) for key, value in moments.items()},
    })
    weight.note = "kept with it"
    torch.save({"w": weight}, HERE / "noted.pt")
    torch.save({"c": torch.tensor([1 + 2j, 3 - 1j]).conj()}, HERE / "conjugate.pt")
    for protocol in (3, 4, 5):
        save(f"protocol{protocol}.pt", {"a": some(torch.float32, 2, 2)},
             {"a": of(some(torch.float32, 2, 2))}, pickle_protocol=protocol)
    save("single.pt", some(torch.int16, 7), {"tensor": of(some(torch.int16, 7))})
    other = {"sparse": torch.eye(3).to_sparse(), "a": some(torch.float32, 2)}
    save("sparse.pt", other, {"a": of(other["a"])})
    quantised = torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8)
    save("quantised.pt", {"q": quantised, "a": some(torch.float32, 2)},
         {"a": of(some(torch.float32, 2))})

    nibbles = torch.arange(8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).reshape(2, 4)
    types = {
        "a": some(torch.float32, 2), "f4": nibbles, "row": nibbles[1],
        "scale": torch.arange(3, dtype=torch.uint8).view(torch.float8_e8m0fnu),
        # Named, and not read.
        "complex128": torch.ones(2, dtype=torch.complex128), "columns": nibbles[:, :2],
        **{name: torch.zeros(4, dtype=torch.uint8).view(getattr(torch, name))
           for name in ("complex32", "bits8", "bits4x2", "bits2x4", "bits1x8", "bits16", "quint8", "quint4x2")},
    }
    pairs = lambda tensor: entry("F4", (*tensor.shape[:-1], tensor.shape[-1] * 2), raw(tensor))
    save("types.pt", types, {
        "a": of(types["a"]), "f4": pairs(nibbles), "row": pairs(nibbles[1]),
        "scale": entry("F8_E8M0", (3,), bytes(range(3))),
    })
    old = {name: types[name] for name in ("complex128", "a", "quint8")} | {"z": some(torch.int16, 3)}
    save("legacy_types.pt", old, {"a": of(old["a"]), "z": of(old["z"])},
         _use_new_zipfile_serialization=False)

    # Written by make_torchao.py.
    half = of(torch.full((4,), 0.5, dtype=torch.bfloat16))
    GOLDEN["torchao.pt"] = {f"{name}.0.bias": half for name in ("int8", "floa", "intx")}

    class Double(torch.nn.Module):
        def forward(self, x):
            return x * 2

    torch.jit.script(Double()).save(HERE / "script.pt")

    arrays = {
        "plain": np.arange(6, dtype="<f4").reshape(2, 3), "fortran": np.asfortranarray(
            np.arange(6, dtype="<i2").reshape(2, 3)), "flag": np.array([True, False]),
        "scalar": np.array(5, "<i8"), "half": np.arange(3, dtype="<f2"), "none": np.zeros((0, 3)),
        "complex": np.arange(2).astype("<c8"),
    }
    np.savez(HERE / "arrays.npz", **arrays)
    np.savez_compressed(HERE / "compressed.npz", plain=arrays["plain"])
    numpy_names = {"f4": "F32", "i2": "I16", "b1": "BOOL", "i8": "I64", "f2": "F16", "f8": "F64",
                   "c8": "C64"}
    expected = {}
    for name, array in arrays.items():
        dtype = numpy_names[array.dtype.str[1:]]
        strides = [step // array.itemsize for step in array.strides] if name == "fortran" else None
        expected[name] = entry(dtype, array.shape, array.tobytes("A"), strides)
    GOLDEN["arrays.npz"] = expected
    np.save(HERE / "single.npy", arrays["plain"])
    GOLDEN["single.npy"] = {"single": expected["plain"]}
    (HERE / "golden.json").write_text(json.dumps(GOLDEN, indent=1, sort_keys=True) + "\n")


main()
