"""Scans of registries against seals and sha256sum of the same bytes, and a scan that has nothing to read."""

import hashlib
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess

from measure import in_turn, parse, run

MODELS, FILES = 500, 10


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache(place, model):
    """A cache of the hub with one repository: its blobs are the files of the model, linked."""
    shutil.rmtree(place, ignore_errors=True)
    repository, commit = place / "models--org--net", "1" * 40
    snapshot = repository / "snapshots" / commit
    for directory in (snapshot, repository / "blobs", repository / "refs"):
        directory.mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    for path in model.glob("*.safetensors"):
        blob = repository / "blobs" / sha256(path)
        os.link(path, blob)
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    return place


def many(place):
    """Many small models of many files."""
    shutil.rmtree(place, ignore_errors=True)
    for number in range(MODELS):
        directory = place / f"model-{number}"
        directory.mkdir(parents=True)
        for shard in range(FILES):
            data = struct.pack("<256f", *[(number * FILES + shard + i) / 1e4 for i in range(256)])
            entry = {"dtype": "F32", "shape": [16, 16], "data_offsets": [0, len(data)]}
            header = json.dumps({f"w{shard}": entry}).encode()
            (directory / f"{shard}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    return place


def main():
    options = parse(__doc__)
    work = options.work
    weights = options.model / "model.safetensors"
    size = weights.stat().st_size
    directory = work / "registry"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "model").mkdir(parents=True)
    os.link(weights, directory / "model" / weights.name)
    hub = cache(work / "hub", options.model)
    cpu = ["--device", "cpu", "--threads", options.threads, "--no-progress", "--quiet"]
    state = {name: work / f"{name}.db" for name in ("first", "again", "hub", "many")}

    def scan(source, name, *more):
        return [options.tensorseal, "registry", "scan", str(source), "--state", str(state[name]), *more, *cpu]

    def forget(*names):
        for path in (path for name in names for path in work.glob(f"{name}.db*")):
            path.unlink()

    forget(*state)
    subprocess.run(scan(directory, "again"), check=True)
    commands = {
        "sha256sum": ["sha256sum", str(weights)],
        "tensorseal seal --digest-only": [options.tensorseal, "seal", str(options.model), "--digest-only", "-o", str(work / "digest.json"), *cpu],
        "tensorseal seal": [options.tensorseal, "seal", str(options.model), "-o", str(work / "full.json"), *cpu],
        "registry scan, known content": scan(directory, "again", "--read-all"),
        "registry scan, first": scan(directory, "first"),
        "registry scan, first, SHA-256 claimed": scan(hub, "hub"),
    }
    in_turn(commands, size, options, "tensorseal seal", before=lambda: forget("first", "hub"))

    small = many(work / "many")
    first, _ = run(scan(small, "many"))
    unchanged = [run(scan(small, "many")) for _ in range(options.rounds)]
    print(f"\n{MODELS} models of {FILES} files: first {first:.2f} s; unchanged", end=" ")
    print(f"{statistics.median(s for s, _ in unchanged):.2f} s, {max(m for _, m in unchanged):.0f} MiB")


if __name__ == "__main__":
    main()
