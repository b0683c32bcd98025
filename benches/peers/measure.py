"""Runs each program in turn, several rounds, and prints medians and ratios as a table."""

import argparse
import os
import pathlib
import statistics
import subprocess
import time


def parse(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tensorseal", required=True)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="2")
    return parser.parse_args()


def run(command):
    """Wall seconds of a command and its largest private memory in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    status = f"/proc/{process.pid}/status"
    while process.poll() is None:
        try:
            with open(status) as lines:
                for line in lines:
                    if line.startswith("RssAnon:"):
                        peak = max(peak, int(line.split()[1]))
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.002)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"{command}: {process.stderr.read().decode()}")
    return seconds, peak / 1024


def in_turn(commands, size, options, reference, before=lambda: None):
    """Runs commands over so many bytes in turn, and prints them as a table, with the speed against one of them."""
    times = {name: [] for name in commands}
    memory = dict.fromkeys(commands, 0)
    for turn in range(options.rounds + 1):
        for name, command in commands.items():
            before()
            seconds, peak = run(command)
            if turn > 0:  # the first turn warms the page cache
                times[name].append(seconds)
                memory[name] = max(memory[name], peak)
    print(f"{size} bytes, {options.rounds} rounds, {options.threads} threads, {os.cpu_count()} cores\n")
    print(f"| program | median s | GB/s | speed against {reference} | private memory MiB |")
    print("|---|---|---|---|---|")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        ratio = statistics.median(b / s for b, s in zip(times[reference], seconds))
        print(f"| {name} | {median:.3f} | {size / median / 1e9:.2f} | {ratio:.2f} | {memory[name]:.0f} |")


def main():
    options = parse(__doc__)
    weights = options.model / "model.safetensors"
    size = weights.stat().st_size
    work, threads = options.work, options.threads
    key, public = work / "key.pem", work / "public.pem"
    if not key.exists():
        subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key], check=True)
        subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-out", public], check=True, stderr=subprocess.DEVNULL)
    signing = [str(work / "venv/bin/model_signing")]
    bundle = work / "model.sig"
    base = [options.tensorseal]
    cpu = ["--device", "cpu", "--threads", threads, "--no-progress", "--quiet"]
    seal = str(work / "seal.json")
    subprocess.run([*signing, "sign", "key", str(options.model), "--private_key", str(key), "--signature", str(bundle)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*base, "seal", str(options.model), "-o", seal, *cpu], check=True)
    commands = {
        "b3sum": ["b3sum", "--num-threads", threads, str(weights)],
        "tensorseal seal --digest-only": [*base, "seal", str(options.model), "--digest-only", "-o", str(work / "digest.json"), *cpu],
        "tensorseal seal": [*base, "seal", str(options.model), "-o", str(work / "full.json"), *cpu],
        "tensorseal verify": [*base, "verify", str(options.model), "--seal", seal, *cpu],
        "model_signing verify": [*signing, "verify", "key", str(options.model), "--public_key", str(public), "--signature", str(bundle)],
    }
    in_turn(commands, size, options, "b3sum")


if __name__ == "__main__":
    main()
