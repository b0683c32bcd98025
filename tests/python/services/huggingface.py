"""Genuine caches of the official Hugging Face client, scanned: a damaged blob, a partial snapshot, a
revision that was replaced. `hf cache verify` must agree on the damaged file. And what it downloads to a
directory, with its notes. Prints a line for each case."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
from safetensors.numpy import save

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import tensorseal
from hub import Hub


def generated(seed, shards=1):
    """A small model: weights that look like weights, a configuration, a script nobody loads."""
    random = numpy.random.default_rng(seed)
    files = {"config.json": json.dumps({"model_type": "test", "seed": seed}).encode(), "README.md": b"# A model\n"}
    names = {}
    for shard in range(shards):
        name = "model.safetensors" if shards == 1 else f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        tensors = {f"layer.{shard}.{part}.weight": random.normal(0, 0.02, (256, 512)).astype(numpy.float32)
                   for part in ("up", "down")}
        files[name] = save(tensors, {"format": "pt"})
        names.update({tensor: name for tensor in tensors})
    if shards > 1:
        total = 2 * shards * 256 * 512 * 4
        index = {"metadata": {"total_size": total}, "weight_map": names}
        files["model.safetensors.index.json"] = json.dumps(index).encode()
    return files


def scan(cache, state, *extra):
    command = [tensorseal.PROGRAM, "registry", "scan", cache, "--state", state, "--format", "json", "--no-progress"]
    done = subprocess.run([*map(str, command), *extra], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"exit {done.returncode}: {done.stdout}{done.stderr}")
    document = json.loads(done.stdout)
    return done.returncode, {model["name"]: model for model in document["models"]}


def expect(what, got, wanted):
    if got != wanted:
        raise SystemExit(f"{what}: {got!r}, not {wanted!r}")
    print(f"{what}: {got}")


def download(hub, cache, repository, *extra):
    hf(hub, cache, "download", repository, *extra)


def hf(hub, cache, *arguments, check=True):
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1",
                   "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": "", "NO_COLOR": "1"}
    program = pathlib.Path(sys.executable).with_name("hf")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env=environment)
    if check and done.returncode != 0:
        raise SystemExit(f"hf {arguments}: {done.stdout}{done.stderr}")
    return done


def rules(model):
    return sorted({finding["rule"] for finding in model["findings"] if finding["severity"] != "info"})


def flip(path, *places):
    """Flips a bit at each place; the times of the file stay as they were."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 0x40
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def rule_files(model, rule):
    return sorted(finding["file"] for finding in model["findings"] if finding["rule"] == rule)


def local_downloads(hub, directory):
    """`hf download --local-dir`: files of one directory and of another that holds two models, each with a note."""
    root, state = directory / "downloads", directory / "downloads.db"
    whole = {**generated(5), "onnx/deep er/config.json": b"{}\n", "onnx/deep er/weights.data": bytes(range(256)) * 512}
    parts = {f"{name}/{path}": data for name, seed in (("Q4", 6), ("Q8", 7)) for path, data in generated(seed).items()}
    hub.publish("org/whole", whole)
    hub.publish("org/parts", {**parts, "README.md": b"# Two models\n"})

    def get():
        for name in ("whole", "parts"):
            hf(hub, directory / "unused", "download", f"org/{name}", "--local-dir", root / name)

    get()
    notes = sorted(str(path.relative_to(root / "whole/.cache/huggingface/download"))
                   for path in (root / "whole/.cache/huggingface/download").rglob("*.metadata"))
    expect("a note of each file", notes, sorted(f"{path}.metadata" for path in whole))

    code, models = scan(root, state)
    expect("downloads to a directory", (code, {name: m["state"] for name, m in models.items()}),
           (0, {"whole": "new", "parts/Q4": "new", "parts/Q8": "new"}))
    get()
    code, models = scan(root, state)
    expect("again, after the client looked at the hub", (code, {m["state"] for m in models.values()}), (0, {"ok"}))

    flip(root / "whole/model.safetensors", 300_000)
    flip(root / "parts/Q8/model.safetensors", 300_000)
    code, models = scan(root, state)
    expect("a flipped bit in two of them", (code, {name: m["state"] for name, m in models.items()}),
           (1, {"whole": "modified", "parts/Q4": "ok", "parts/Q8": "modified"}))
    for name in ("whole", "parts/Q8"):
        expect("  by its note", rule_files(models[name], "registry/blob-differs"), ["model.safetensors"])
        [tensor] = [f["tensor"] for f in models[name]["findings"] if f["rule"] == "integrity/tensor-changed"]
        expect("  and by its tensor", tensor, "layer.0.down.weight")

    flip(root / "parts/Q4/config.json", 3)
    flip(root / "whole/onnx/deep er/weights.data", 70_000)
    code, models = scan(root, directory / "fresh.db")
    expect("by the notes alone, without any memory",
           {name: rule_files(m, "registry/blob-differs") for name, m in models.items()},
           {"whole": ["model.safetensors", "onnx/deep er/weights.data"], "parts/Q4": ["config.json"],
            "parts/Q8": ["model.safetensors"]})


def main():
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        cache, state = directory / "hub", directory / "state.db"
        hub = Hub()
        real = {path.name: path.read_bytes() for path in tensorseal.MODEL.iterdir() if path.is_file()}
        hub.publish("org/real", {name: data for name, data in real.items() if not name.startswith(".")})
        hub.publish("org/sharded", generated(1, shards=3))
        hub.publish("org/moved", generated(2))
        download(hub, cache, "org/real")
        download(hub, cache, "org/sharded")
        download(hub, cache, "org/moved")

        code, models = scan(cache, state)
        expect("a whole cache, first scan", (code, {m["state"] for m in models.values()}), (0, {"new"}))
        code, models = scan(cache, state)
        expect("again", (code, {m["state"] for m in models.values()}), (0, {"ok"}))

        # Two bits of the largest blob, the times of the file as they were.
        blob = max((cache / "models--org--real/blobs").iterdir(), key=lambda path: path.stat().st_size)
        times = blob.stat()
        data = bytearray(blob.read_bytes())
        data[60_000_000] ^= 0x40
        data[70_000_001] ^= 0x02
        blob.write_bytes(data)
        os.utime(blob, ns=(times.st_atime_ns, times.st_mtime_ns))
        # A part of another model, in another cache directory's place: only two of its three shards.
        hub.publish("org/part", generated(3, shards=3))
        download(hub, cache, "org/part", "--include", "config.json", "*00001-of-00003*", "*.index.json")
        # A new commit of the third.
        hub.publish("org/moved", generated(4))
        download(hub, cache, "org/moved")

        code, models = scan(cache, state)
        expect("exit code", code, 1)
        damaged = models["org/real"]
        expect("two flipped bits", damaged["state"], "modified")
        assert "timestamp reset" in damaged["detail"], damaged["detail"]
        expect("  by its own name, and tensor by tensor", rules(damaged)[:2],
               ["integrity/tensor-changed", "registry/blob-differs"])
        tensors = [f["message"] for f in damaged["findings"] if f["rule"] == "integrity/tensor-changed"]
        assert len(tensors) == 2 and all("single bit flip: " in text for text in tensors), tensors
        expect("a partial snapshot", models["org/part"]["state"], "incomplete")
        expect("  is not malformed", rules(models["org/part"]), ["registry/incomplete"])
        expect("a replaced revision", models["org/moved"]["state"], "replaced")
        expect("the untouched one", models["org/sharded"]["state"], "ok")

        theirs = hf(hub, cache, "cache", "verify", "org/real", "--cache-dir", cache, check=False)
        text = theirs.stdout + theirs.stderr
        expect("hf cache verify", (theirs.returncode != 0, "model.safetensors" in text), (True, True))
        ours = [f["file"] for f in damaged["findings"] if f["rule"] == "registry/blob-differs"]
        expect("  agrees on the file", ours, ["model.safetensors"])
        theirs = hf(hub, cache, "cache", "verify", "org/sharded", "--cache-dir", cache, check=False)
        expect("  and on a sound one", theirs.returncode, 0)
        local_downloads(hub, directory)
        hub.stop()


main()
