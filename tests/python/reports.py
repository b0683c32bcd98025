"""Are the written reports what their standards say? Asks the tools that CI systems read them with."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from junitparser import Failure, JUnitXml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sarif_schema(out):
    """Writes the schema of SARIF 2.1.0, from the crate that the Rust tests use."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)["packages"]
    manifest = next(p["manifest_path"] for p in packages if p["name"] == "serde-sarif")
    text = (pathlib.Path(manifest).parent / "src/schema.json").read_text()
    # The published pattern of languages has a bracket that closes nothing: no regular expression to a
    # strict reader.
    out.write_text(text.replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}?$"))
    return out


def check_sarif(paths, schema):
    checker = pathlib.Path(sys.executable).parent / "check-jsonschema"
    subprocess.run([checker, "--schemafile", schema, *paths], check=True)


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
        check_sarif(sorted(out.glob("*.sarif")), sarif_schema(out / "schema.json"))
        check_junit(sorted(out.glob("*.xml")))
        sizes = {path.name: path.stat().st_size for path in sorted(out.glob("*.html"))}
        assert max(sizes.values()) < 3_000_000, sizes
        print(f"SARIF and JUnit XML are read by others; pages in bytes: {sizes}")


if __name__ == "__main__":
    main()
