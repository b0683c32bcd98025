"""Are the written reports what their standards say? Asks the tools that CI systems read them with."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from junitparser import Failure, JUnitXml
from sarif import loader

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sarif_schema():
    """The schema of SARIF 2.1.0, from the crate that the Rust tests use."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)["packages"]
    manifest = next(p["manifest_path"] for p in packages if p["name"] == "serde-sarif")
    return pathlib.Path(manifest).parent / "src/schema.json"


def check_sarif(paths):
    checker = pathlib.Path(sys.executable).parent / "check-jsonschema"
    subprocess.run([checker, "--schemafile", sarif_schema(), *paths], check=True)
    for path in paths:
        runs = json.loads(path.read_text())["runs"]
        wanted = sum(result["kind"] == "fail" for run in runs for result in run["results"])
        read = loader.load_sarif_file(str(path))
        counts = read.get_result_count_by_severity()
        assert sum(counts[level] for level in ("error", "warning", "note")) == wanted, (path, counts)


def check_junit(paths):
    for path in paths:
        read = JUnitXml.fromfile(str(path))
        cases = [case for suite in read for case in suite]
        failures = sum(isinstance(r, Failure) for case in cases for r in case.result)
        assert (len(cases), failures) == (read.tests, read.failures), path
        assert any(case.name == "completed" for case in cases), path


def main():
    example = os.environ.get("REPORT_PAGES", str(ROOT / "target/debug/examples/report_pages"))
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory)
        subprocess.run([example, directory], check=True)
        check_sarif(sorted(out.glob("*.sarif")))
        check_junit(sorted(out.glob("*.xml")))
        sizes = {path.name: path.stat().st_size for path in sorted(out.glob("*.html"))}
        assert max(sizes.values()) < 3_000_000, sizes
        print(f"SARIF and JUnit XML are read by others; pages in bytes: {sizes}")


if __name__ == "__main__":
    main()
