"""Are the files of contrib/, and the workflows of the project, what the programs that read them expect?"""

import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRIB = ROOT / "contrib"
BIN = pathlib.Path(sys.executable).parent
TENSORSEAL = os.environ.get("TENSORSEAL", str(ROOT / "target/debug/tensorseal"))


def check_workflows():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
    workflows = [*sorted(CONTRIB.glob("github/*.yml")), *sorted(ROOT.glob(".github/workflows/*.yml"))]
    subprocess.run([*command, *workflows], check=True)


def check_manifests():
    """Every resource is one of Kubernetes, without a member that it does not know."""
    manifests = sorted(CONTRIB.glob("kubernetes/*.yaml"))
    subprocess.run([BIN / "kubernetes-validate", "--strict", "--no-warn", *manifests], check=True)
    for path in manifests:
        for resource in yaml.safe_load_all(path.read_text()):
            for name, policy in resource.get("data", {}).items():
                if name.endswith(".toml"):
                    check_policy(name, policy, resource["data"])


def check_policy(name, policy, files):
    """The policy is read; what stands for the key is refused as what it is."""
    with tempfile.TemporaryDirectory() as directory:
        for file, text in files.items():
            pathlib.Path(directory, file).write_text(text)
        command = [TENSORSEAL, "gate", directory, "--policy", f"{directory}/{name}"]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 2 and "signature.keys[0]" in ran.stderr, ran.stderr


def main():
    check_workflows()
    check_manifests()
    print("The files of contrib are read by others")


if __name__ == "__main__":
    main()
