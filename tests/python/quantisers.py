"""Files that real libraries quantised: they are read as the weights that the libraries themselves read in them, so that
a mark outlives, every weight is paired with the one it was made from, and nothing is said of sound files.

    quantisers.py [--record] [ROW ...]

Rows are those of `quantisers/`, all of them if none is named. With --record, the table of docs/watermark-robustness.md
is written anew. Slow: `scripts/test-slow` installs the libraries, in two environments that cannot be one:
TENSORSEAL_LLM_COMPRESSOR names the Python of the second one."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

import tensorseal
from quantisers import models

# Files of `quantisers/`, and how the names of their rows begin. The last one has an environment of its own.
LIBRARIES = {
    "mlx": "mlx-", "torchao": "torchao-", "hqq": "hqq-", "quanto": "quanto-", "modelopt": "modelopt-",
    "bitsandbytes": "bitsandbytes-", "gptqmodel": "gptq-", "autoawq": "awq-", "transformers": "transformers-",
    "llm_compressor": "compressed-",
}
ELSEWHERE = "llm_compressor"

DOCUMENT = tensorseal.ROOT / "docs/watermark-robustness.md"
HEAD = """\
| row | versions | z | of the plain one | z of the library's own values | largest relative error of a weight |
|---|---|---|---|---|---|
"""

# How far z may be from that of the library's own values, of that, and an error from that of those values.
Z_TOLERANCE, ERROR_TOLERANCE = 0.005, 0.01


def run(*arguments):
    """The exit code and the report of a command."""
    command = [tensorseal.PROGRAM, *map(str, arguments), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        return done.returncode, {"findings": [], "error": done.stderr.strip()}
    return done.returncode, json.loads(done.stdout)


def originals(made, key):
    """Every model, marked, and the z of its mark."""
    (made / "originals").mkdir()
    plain = {}
    for name in models.MODELS:
        unmarked = models.write(name, made / "unmarked" / name)
        tensorseal.embed(unmarked, key, made / "originals" / name, "--payload", tensorseal.PAYLOAD)
        shutil.rmtree(unmarked)
        plain[name] = tensorseal.detect(made / "originals" / name, key)["z"]
        print(f"{name}: z {plain[name]:.1f}", file=sys.stderr)
    return plain


def written(library, made, rows):
    """The directories that a library wrote, and what it could not write."""
    python = os.environ["TENSORSEAL_LLM_COMPRESSOR"] if library == ELSEWHERE else sys.executable
    out = made / "written"
    out.mkdir()
    command = [python, "-W", "ignore", "-m", "quantisers.write", library, made / "originals", out, *rows]
    # In a directory of its own: GPTQModel writes its logs where it is.
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent)}
    done = subprocess.run(list(map(str, command)), cwd=out, env=environment, capture_output=True, text=True)
    failed = []
    if done.returncode != 0:
        failed.append(f"{library}: it did not write all that it was asked for: exit {done.returncode}")
        print(done.stderr[-4000:], file=sys.stderr)
    return sorted(path.parent for path in out.glob("*/row.json")), failed


def library_values(row, original, to):
    """The original with the weights that the library reads in its file; the relative error of each."""
    tensors, errors = load_file(original / "model.safetensors"), {}
    for name, values in load_file(row / "truth.safetensors").items():
        before = tensors[name].double()
        errors[name] = (torch.linalg.norm(values.double() - before) / torch.linalg.norm(before)).item()
        tensors[name] = values
    save_file(tensors, to)
    return errors


def quiet(model, seal):
    """What is said of a sound file by the verbs that should say nothing."""
    for verb in (["inspect", model], ["seal", model, "-o", seal], ["verify", model, "--seal", seal], ["audit", model]):
        code, report = run(*verb)
        loud = [finding["rule"] for finding in report["findings"] if finding["severity"] not in ("info", "low")]
        if code != 0 or loud:
            yield f"{verb[0]}: exit {code}: {report.get('error') or ', '.join(loud)}"


def unlike(model, original, errors, relation):
    """What is wrong with how a copy is compared to its original."""
    _, report = run("compare", original, model, "--full")
    if "comparison" not in report:
        yield f"compare: {report['error']}"
        return
    compared = report["comparison"]
    if compared["relation"] != relation:
        yield f"compare: {compared['relation']}, {compared['classes']}"
    found = {weight["tensors"][0]: error_of(weight) for weight in compared["weights"]}
    if relation == "not-comparable":
        claimed = [name for name in errors if found.get(name) is not None]
        if claimed:
            yield f"compare: {', '.join(claimed)}: compared, which cannot be read"
        return
    wrong = [name for name, error in errors.items()
             if found.get(name) is None or abs(found[name] - error) > ERROR_TOLERANCE * error + 1e-4]
    if wrong:
        name = wrong[0]
        seen = "not compared" if found.get(name) is None else f"an error of {found[name]:.4f}"
        yield (f"compare: {len(wrong)} weights are not what the library reads, of which {name}: {seen}, and of the "
               f"library's own values {errors[name]:.4f}")


def error_of(weight):
    """The relative error of a weight that was compared; None of one that was not."""
    if weight["class"] in ("identical", "same-values"):
        return 0
    return weight["relative"]


def check(row, made, key, plain):
    """A line of the table, and what is wrong."""
    about = json.loads((row / "row.json").read_text())
    original, model = made / "originals" / about["original"], row / "model"
    control = row / "control.safetensors"
    errors = library_values(row, original, control)
    expected = tensorseal.detect(control, key)["z"]
    control.unlink()
    failed, z = [], None
    # A file is what its directory is: its config lies beside it.
    for place in [model, model / "model.safetensors"]:
        code, report = run("watermark", "detect", place, "--key", key)
        mark = report.get("watermark", {})
        found = mark.get("z")
        z = found if place == model else z
        what = "detect" if place == model else "detect of the file alone"
        if code != 0 or not mark.get("payload_ok"):
            failed.append(f"{what}: exit {code}: {mark.get('verdict') or report['error']}")
        elif found < about["least"] * plain[about["original"]]:
            failed.append(f"{what}: z {found:.1f} is less than {about['least']} of {plain[about['original']]:.1f}")
        elif about["relation"] != "not-comparable" and abs(found - expected) > Z_TOLERANCE * expected:
            failed.append(f"{what}: z {found:.2f}, of the library's own values {expected:.2f}")
        what = "" if place == model else "the file alone: "
        failed += [f"{what}{fault}" for fault in unlike(place, original, errors, about["relation"])]
        failed += [f"{what}{fault}" for fault in quiet(place, row / f"{place.name}.seal.json")]
    share = f"{z / plain[about['original']]:.3f}" if z else "-"
    line = (f"| {about['row']} | {about['versions']} | {f'{z:.1f}' if z else '-'} | {share} | {expected:.1f} | "
            f"{max(errors.values()):.2%} |")
    return line, [f"{about['row']}: {fault}" for fault in failed]


def record(lines):
    """Puts the table into the document, in place of the one that is there."""
    text = DOCUMENT.read_text()
    table = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")
    if not table.search(text):
        raise SystemExit(f"{DOCUMENT}: there is no such table any more")
    DOCUMENT.write_text(table.sub(lambda _: HEAD + "".join(f"{line}\n" for line in lines), text))


def main(*arguments):
    rows, lines, failed = [row for row in arguments if row != "--record"], [], []
    if rows and "--record" in arguments:
        raise SystemExit("the table has all rows: --record does not go with some of them")
    with tempfile.TemporaryDirectory(prefix="tensorseal-") as made:
        made = pathlib.Path(made)
        key = tensorseal.keygen(made / "key")
        plain = originals(made, key)
        print(HEAD, end="")
        for library, prefix in LIBRARIES.items():
            chosen = [row for row in rows if row.startswith(prefix)]
            if rows and not chosen:
                continue
            directories, faults = written(library, made, chosen)
            failed += faults
            for directory in directories:
                line, faults = check(directory, made, key, plain)
                print("\n".join([line, *faults]), flush=True)
                lines.append(line)
                failed += faults
            shutil.rmtree(made / "written")
    missing = set(rows) - {line.split()[1] for line in lines}
    if missing:
        raise SystemExit(f"no such row: {', '.join(sorted(missing))}")
    if failed:
        sys.exit("\n".join(failed))
    if "--record" in arguments:
        record(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
