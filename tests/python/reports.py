"""Are the written reports what their standards say? Asks the tools that CI systems read them with."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1 import statement_pb2
from junitparser import Failure, JUnitXml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sarif_schema(out):
    """Writes the schema of SARIF 2.1.0, from the crate that the Rust tests use."""
    said = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.removeprefix("host: ") for line in said.splitlines() if line.startswith("host: "))
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)["packages"]
    manifest = next(p["manifest_path"] for p in packages if p["name"] == "serde-sarif")
    text = (pathlib.Path(manifest).parent / "src/schema.json").read_text()
    # The published pattern of languages has a bracket that closes nothing: no regular expression to a
    # strict reader.
    out.write_text(text.replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}?$"))
    return out


def check_schema(paths, schema):
    checker = pathlib.Path(sys.executable).parent / "check-jsonschema"
    subprocess.run([checker, "--schemafile", schema, *paths], check=True)


def check_cyclonedx(paths):
    assert paths
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for path in paths:
        text = path.read_text()
        assert (error := validator.validate_str(text)) is None, (path, error)
        broken = text.replace('"machine-learning-model"', '"weights"')
        assert validator.validate_str(broken) is not None, "the validator validates"


def check_statements(directory):
    """Statements of verdicts are in-toto's, and say what their specifications ask for."""
    for verdict, name in [("PASSED", "gate-passed"), ("FAILED", "gate-failed")]:
        predicates = {}
        for kind in ["vsa", "svr"]:
            text = (directory / f"{name}.{kind}.json").read_text()
            statement = Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement()))
            statement.validate()
            predicates[statement.pb.predicate_type] = json_format.MessageToDict(statement.pb.predicate)
        summary = predicates["https://slsa.dev/verification_summary/v1"]
        assert summary["verificationResult"] == verdict
        assert summary["timeVerified"] == "2026-12-01T08:00:00Z"
        assert ":" in summary["verifier"]["id"] and ":" in summary["resourceUri"]
        assert ":" in summary["policy"]["uri"] and len(summary["policy"]["digest"]["sha256"]) == 64
        assert all("sha256" in item["digest"] for item in summary["inputAttestations"])
        levels = summary["verifiedLevels"]
        assert levels and not any(level.startswith("SLSA_") for level in levels)
        result = predicates["https://in-toto.io/attestation/svr/v0.2"]
        assert result["timeCreated"] == summary["timeVerified"]
        assert [policy["uri"] for policy in result["verifier"]["policies"]] == [summary["policy"]["uri"]]
        assert result["properties"] == (levels if verdict == "PASSED" else [])


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
        check_schema(sorted(out.glob("*.sarif")), sarif_schema(out / "sarif.schema"))
        check_schema(sorted(out.glob("gate-??????.json")), ROOT / "docs/schema/tensorseal.report.2.schema.json")
        check_junit(sorted(out.glob("*.xml")))
        check_cyclonedx(sorted([*out.glob("gate-*.cdx.json"), out / "hostile.cdx.json"]))
        check_statements(out)
        sizes = {path.name: path.stat().st_size for path in sorted(out.glob("*.html"))}
        assert max(sizes.values()) < 3_000_000, sizes
        print(f"SARIF, JUnit XML, CycloneDX and statements are read by others; pages in bytes: {sizes}")


if __name__ == "__main__":
    main()
