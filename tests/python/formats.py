"""One model in every format: writes the real checkpoint with the tools that people write them with, and
holds the program to it. Each copy must be listed, sealed, verified and audited in silence, each weight
must be found again by its name and be as close as its type allows, and the same bytes must have the same
digest in every container. Prints a line for each format."""

import collections
import json
import math
import pathlib
import struct
import subprocess
import zipfile

import gguf
import ml_dtypes
import numpy
from gguf import GGMLQuantizationType as Type

import tensorseal

ORIGINAL = tensorseal.MODEL / "model.safetensors"
LAYERS = 6

# Those that the package can write; its K and IQ types it can only read, and MXFP4 is in later releases.
BLOCKS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"]

# The converter leaves these out. Here they keep their names, so that every weight is in every copy.
LEFT_OUT = ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"]

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage"}
STORAGES |= {"int64": "LongStorage"}

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}


def cast(tensors, dtype):
    return {name: t.astype(dtype) if t.dtype == numpy.float32 else t for name, t in tensors.items()}


def write_sharded(tensors, directory, shards=3):
    directory.mkdir()
    names, places = sorted(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        tensorseal.save({name: tensors[name] for name in part}, directory / file)
        places |= {name: file for name in part}
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": places}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    return directory


def write_npz(tensors, path):
    numpy.savez(path, **tensors)
    return path


def pickled(value):
    """Opcodes of protocol 2: text, numbers, tuples, and bytes that are opcodes already."""
    match value:
        case bytes():
            return value
        case bool():
            return b"\x88" if value else b"\x89"
        case str():
            text = value.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        case int():
            return b"J" + struct.pack("<i", value)
        case tuple():
            return b"(" + b"".join(map(pickled, value)) + b"t"
    raise TypeError(value)


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def write_torch(tensors, path):
    """What `torch.save` writes of a state dict, each tensor with a storage of its own."""
    empty = named("collections", "OrderedDict") + b")R"
    entries = b""
    for number, (name, tensor) in enumerate(tensors.items()):
        storage = named("torch", STORAGES[tensor.dtype.name])
        storage = pickled(("storage", storage, str(number), "cpu", tensor.size)) + b"Q"
        strides = tuple(math.prod(tensor.shape[at + 1 :]) for at in range(tensor.ndim))
        arguments = (storage, 0, tensor.shape, strides, False, empty)
        entries += pickled(name) + named("torch._utils", "_rebuild_tensor_v2") + pickled(arguments) + b"R"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + empty + b"(" + entries + b"u.")
        archive.writestr("archive/byteorder", "little")
        for number, tensor in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{number}", tensor.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def gguf_names(names):
    """What llama.cpp's converter calls them, by its own tables."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, LAYERS)
    found = {}
    for name in names:
        given = None if name in LEFT_OUT else table.get_name(name, try_suffixes=(".weight", ".bias"))
        assert given or name in LEFT_OUT, name
        found[name] = given or name
    return found


def write_gguf(tensors, path, type):
    """Matrices of this type, or of half precision where their rows are no whole blocks; vectors as they
    are, as converters leave them."""
    names = gguf_names(tensors)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(384)
    for name, tensor in tensors.items():
        if tensor.ndim < 2 or tensor.dtype != numpy.float32:
            writer.add_tensor(names[name], tensor)
            continue
        whole = tensor.shape[-1] % gguf.GGML_QUANT_SIZES[type][0] == 0
        stored = type if whole else Type.F16
        writer.add_tensor(names[name], gguf.quants.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantises(type, example):
    try:
        gguf.quants.quantize(example, type)
    except NotImplementedError:
        return False
    return True


def copies(tensors, directory):
    """Name and path of each, written one after the other."""
    half, brain = cast(tensors, numpy.float16), cast(tensors, ml_dtypes.bfloat16)
    # The safetensors files come first: they have the digests that others are held to.
    yield "safetensors F32", ORIGINAL
    yield "safetensors F16", tensorseal.save(half, directory / "half.safetensors")
    yield "safetensors BF16", tensorseal.save(brain, directory / "brain.safetensors")
    yield "sharded F32", write_sharded(tensors, directory / "sharded")
    yield "npz F32", write_npz(tensors, directory / "model.npz")
    yield "npz F16", write_npz(half, directory / "half.npz")
    yield "torch F32", write_torch(tensors, directory / "pytorch_model.bin")
    yield "torch F16", write_torch(half, directory / "half.pt")
    yield "torch BF16", write_torch(brain, directory / "brain.pt")
    example = next(t for t in tensors.values() if t.ndim == 2 and t.shape[-1] % 256 == 0)
    for name in ["F32", "F16", "BF16", *BLOCKS]:
        type = getattr(Type, name, None)
        if type is None or not quantises(type, example):
            print(f"| GGUF {name} | not written by this release of the package |")
            continue
        yield f"GGUF {name}", write_gguf(tensors, directory / f"{name}.gguf", type)


def run(verb, *arguments, measured=True):
    """The exit code and the JSON report."""
    command = [tensorseal.PROGRAM, verb, *map(str, arguments), "--format", "json"]
    command += ["--device", "cpu", "--no-progress"] if measured else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout)


class Checker:
    def __init__(self, tensors, directory):
        self.tensors, self.seal = tensors, directory / "seal.json"
        # Tensors are known by the names of the original, whatever a copy calls them.
        self.originals = {given: name for name, given in gguf_names(tensors).items()}
        self.digests, self.errors, self.failures = {}, collections.defaultdict(float), []

    def check(self, name, path):
        """All that is asked of one copy; prints its line."""
        before = len(self.failures)

        def expect(holds, *told):
            if not holds:
                self.failures.append(f"{name}: {' '.join(map(str, told))}")

        code, report = run("inspect", path, measured=False)
        expect(code == 0, "inspect", report["findings"])
        format, found = report["model"]["format"], report["model"]["tensors"]
        expect(found == len(self.tensors), found, "tensors")

        self.seal.unlink(missing_ok=True)
        code, report = run("seal", path, "-o", self.seal)
        expect(code == 0, "seal", report["findings"])
        same = self.same_digests(json.loads(self.seal.read_text())["tensors"], expect)

        code, report = run("verify", path, "--seal", self.seal)
        expect(code == 0 and report["verdict"] == "pass", "verify", report["findings"])

        code, report = run("audit", path)
        loud = [f for f in report["findings"] if f["severity"] not in ("info", "low")]
        expect(code == 0 and not loud, "audit", loud)
        remarks = collections.Counter(f["rule"] for f in report["findings"] if f["severity"] == "low")

        comparison = run("compare", ORIGINAL, path)[1]["comparison"]
        self.compared(comparison, expect)
        classes = ", ".join(f"{count} {of}" for of, count in comparison["classes"].items())
        remarks = ", ".join(f"{count} {rule}" for rule, count in sorted(remarks.items()))
        relative = comparison["relative"] or 0
        state = "ok" if len(self.failures) == before else "FAILED"
        cells = [name, format, same, comparison["relation"], classes, f"{relative:.6f}", remarks, state]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)

    def same_digests(self, sealed, expect):
        """Holds tensors to those of the first copy with the same type; gives how many there were."""
        same = 0
        for tensor in sealed:
            name = self.originals.get(tensor["name"], tensor["name"])
            expect(name in self.tensors, "a tensor of the name", name)
            key = name, tensor["dtype"]
            if tensor["dtype"] in DTYPES.values():
                known = self.digests.setdefault(key, tensor["blake3"])
                expect(known == tensor["blake3"], "digest of", *key)
                same += known == tensor["blake3"]
        return same

    def compared(self, comparison, expect):
        rows = comparison["weights"]
        expect(len(rows) == len(self.tensors), len(rows), "weights, not", len(self.tensors))
        for row in rows:
            close = row["class"] in ("identical", "same-values", "requantised")
            told = [row["name"], row["class"], row["stored_as"], row["relative"]]
            expect(close and all(row["tensors"]), *told)
            if row["relative"]:
                pair = row["stored_as"][1]
                self.errors[pair] = max(self.errors[pair], row["relative"])


def main():
    tensors = tensorseal.weights(ORIGINAL)
    with tensorseal.workspace() as scratch:
        directory = pathlib.Path(scratch)
        checker = Checker(tensors, directory)
        print("| copy | read as | same digest | relation | weights | error of all | low remarks | |")
        print("|---|---|---|---|---|---|---|---|")
        for name, path in copies(tensors, directory):
            checker.check(name, path)
            if path.is_file() and path != ORIGINAL:
                path.unlink()
    print("\n| stored as | largest relative error of a weight |\n|---|---|")
    for type, error in sorted(checker.errors.items(), key=lambda both: both[1]):
        print(f"| {type} | {error:.6f} |")
    for failure in checker.failures:
        print(failure)
    raise SystemExit(1 if checker.failures else 0)


if __name__ == "__main__":
    main()
