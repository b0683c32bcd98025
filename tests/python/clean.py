"""No false alarms: trains networks of `networks.py`, audits every checkpoint, and prints what was
said of each. A finding of medium severity or more fails. `clean.py [DIRECTORY]` takes checkpoints
that are there already."""

import collections
import json
import os
import pathlib
import subprocess
import sys

import tensorseal

# Trained and looked at unless TENSORSEAL_EVERY_NETWORK is set: they take a minute, all take four.
FEW = ["untrained", "all-MiniLM-L6-v2", "autoencoder", "regression", "word-vectors", "decayed"]

SEVERITIES = ["info", "low", "medium", "high", "critical"]


def audit(path):
    """The exit code and the findings."""
    command = [tensorseal.PROGRAM, "audit", str(path), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout)["findings"]


def check(directory):
    """Audits what the manifest lists; gives the alarms."""
    entries = json.loads((directory / "manifest.json").read_text())
    alarms, tensors = [], 0
    print(f"| checkpoint | tensors | {' | '.join(SEVERITIES)} | rules |")
    print(f"|---|---|{'---|' * len(SEVERITIES)}---|")
    for entry in entries:
        code, findings = audit(directory / entry["file"])
        counts = collections.Counter(finding["severity"] for finding in findings)
        rules = collections.Counter(f"{finding['rule']} ({finding['severity']})" for finding in findings)
        told = ", ".join(f"{count} {rule}" for rule, count in sorted(rules.items()))
        shown = " | ".join(str(counts[severity] or "-") for severity in SEVERITIES)
        print(
            f"| {entry['network']} {entry['variant']} | {entry['tensors']} | {shown} | {told} |", flush=True
        )
        loud = [f for f in findings if SEVERITIES.index(f["severity"]) >= SEVERITIES.index("medium")]
        alarms += [(entry["file"], finding) for finding in loud]
        assert code == bool(loud), (entry["file"], code, loud)
        tensors += entry["tensors"]
    print(f"\n{len(entries)} clean checkpoints, {tensors} tensors, {len(alarms)} alarms", flush=True)
    return alarms


def main():
    with tensorseal.workspace() as scratch:
        directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else scratch)
        if len(sys.argv) < 2:
            networks = [] if "TENSORSEAL_EVERY_NETWORK" in os.environ else FEW
            made = [sys.executable, pathlib.Path(__file__).with_name("networks.py"), directory]
            subprocess.run([*made, *networks], check=True)
        alarms = check(directory)
    for file, finding in alarms:
        where = finding.get("tensor", "")
        print(
            f"{file}: {finding['severity']} {finding['rule']} {where}: {finding['message']}", file=sys.stderr
        )
    raise SystemExit(1 if alarms else 0)


if __name__ == "__main__":
    main()
