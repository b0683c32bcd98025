"""Signatures: tensorseal, openssl and the Python client of OpenSSF Model Signing over the same bytes, in
turn, in one run. One model of one file and one of four; prints medians and ratios as a table."""

import os
import shutil
import statistics
import subprocess

from measure import parse, run


def models(source, work):
    """The weights of a model alone, and cut into four files: what is hashed does not matter."""
    one, four = work / "one", work / "four"
    if not four.exists():
        one.mkdir(exist_ok=True)
        if not (one / "weights.bin").exists():
            os.link(source, one / "weights.bin")
        part = work / "four.tmp"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        size = source.stat().st_size
        with open(source, "rb") as file:
            for index in range(4):
                with open(part / f"weights-{index}.bin", "wb") as out:
                    left = size // 4
                    while left > 0:
                        left -= out.write(file.read(min(left, 1 << 24)))
        part.rename(four)
    return one, four


def commands(options, model, key, public):
    """By name: the command, and the name of what it is compared with."""
    files = sorted(map(str, model.iterdir()))
    python = str(options.work / "venv/bin/model_signing")
    theirs, ours, blake3 = (str(options.work / f"{model.name}-{kind}.sig") for kind in ("theirs", "ours", "blake3"))
    subprocess.run([python, "sign", "key", str(model), "--private_key", key, "--signature", theirs], check=True, stdout=subprocess.DEVNULL)
    base = [options.tensorseal]
    verify = [*base, "verify", str(model), "--public-key", public, "--quiet", "--no-progress", "--device", "cpu"]
    sign = [*base, "sign", str(model), "--key", key, "--quiet", "--no-progress", "--device", "cpu"]
    subprocess.run([*sign, "-o", ours], check=True)
    subprocess.run([*sign, "-o", blake3, "--hash", "blake3"], check=True)
    return {
        "openssl dgst -sha256": ["openssl", "dgst", "-sha256", *files],
        "verify --signature, 1 thread": [*verify, "--signature", ours, "--threads", "1"],
        "verify --signature": [*verify, "--signature", ours],
        "verify --signature, blake3": [*verify, "--signature", blake3],
        "model_signing verify": [python, "verify", "key", str(model), "--public_key", public, "--signature", theirs],
        "sign": [*sign, "-o", ours],
        "sign --hash blake3": [*sign, "-o", blake3, "--hash", "blake3"],
        "model_signing sign": [python, "sign", "key", str(model), "--private_key", key, "--signature", theirs],
    }


def main():
    options = parse(__doc__)
    key, public = str(options.work / "key.pem"), str(options.work / "public.pem")
    for model in models(options.model / "model.safetensors", options.work):
        size = sum(path.stat().st_size for path in model.iterdir())
        tried = commands(options, model, key, public)
        times = {name: [] for name in tried}
        for turn in range(options.rounds + 1):
            for name, command in tried.items():
                seconds, _ = run(command)
                if turn > 0:  # the first turn warms the page cache
                    times[name].append(seconds)
        print(f"\n{model.name}: {len(list(model.iterdir()))} files, {size} bytes, {options.rounds} rounds, {os.cpu_count()} cores\n")
        print("| program | median s | GB/s | speed against openssl | against model_signing |")
        print("|---|---|---|---|---|")
        for name, seconds in times.items():
            median = statistics.median(seconds)
            peer = "model_signing sign" if "sign" in name.split() else "model_signing verify"
            ratios = [
                statistics.median(theirs / mine for theirs, mine in zip(times[other], seconds))
                for other in ("openssl dgst -sha256", peer)
            ]
            print(f"| {name} | {median:.3f} | {size / median / 1e9:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
