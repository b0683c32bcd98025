"""Are published chat templates quiet? Audits a model with each of those that two packages ship, as a file and
in `tokenizer_config.json`, and prints how many are more than plain Jinja."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
TENSORSEAL = os.environ.get("TENSORSEAL", str(HERE.parents[1] / "target/debug/tensorseal"))
LEAST = 40


def templates(directory):
    """The text of every template, by package and name."""
    wanted = ["--requirement", HERE / "requirements-templates.txt", "--dest", directory]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", *wanted], check=True)
    found = {}
    for wheel in sorted(pathlib.Path(directory).glob("*.whl")):
        with zipfile.ZipFile(wheel) as package:
            for name in package.namelist():
                if name.endswith(".jinja"):
                    found[f"{wheel.name}/{name}"] = package.read(name).decode()
    return found


def audit(model):
    """The exit code, and the rules of the area `content`."""
    command = [TENSORSEAL, "audit", model, "--format", "json", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, [f for f in findings if f["rule"].startswith("content/")]


def write(model, template):
    """Places of a template in a model: both are looked at."""
    (model / "chat_template.jinja").write_text(template)
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))


def main():
    more, calls = [], {}
    with tempfile.TemporaryDirectory(prefix="tensorseal-") as scratch:
        scratch = pathlib.Path(scratch)
        model = scratch / "model"
        model.mkdir()
        save_file({"weight": numpy.zeros((2, 2), numpy.float32)}, model / "model.safetensors")
        # A template that is not sound is found, so that silence means something.
        write(model, "{{ messages._private }}")
        code, findings = audit(model)
        assert code == 1 and [f["rule"] for f in findings] == ["content/template-escape"] * 2, findings
        published = templates(scratch / "packages")
        for name, template in published.items():
            write(model, template)
            code, findings = audit(model)
            rules = {f["rule"] for f in findings}
            assert code == 0 and "content/template-escape" not in rules, (name, findings)
            if "content/template-unparsed" in rules:
                more.append(name)
            for finding in findings:
                if finding["rule"] == "content/template-unknown":
                    calls[name] = finding["message"]
    assert len(published) >= LEAST, len(published)
    print(f"{len(published)} published templates are quiet; {len(more)} of them are not plain Jinja")
    for name in more:
        print(f"  {name}")
    print(f"{len(calls)} call what no loader is known to offer")
    for message in sorted(set(calls.values())):
        print(f"  {message}")


if __name__ == "__main__":
    main()
