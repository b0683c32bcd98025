"""Servers that are started for a check and stopped again, and the program that scans them."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("TENSORSEAL", str(ROOT / "target/release/tensorseal"))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def server(command, port, log, patience=90, **more):
    """A server on a port of loopback, for as long as it is needed; what it says goes to `log`."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **more)
        try:
            until = time.monotonic() + patience
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{command[0]} did not start: {log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait()


class Scans:
    """Scans of one source with one state."""

    def __init__(self, source, state, **environment):
        self.source, self.state = source, state
        self.environment = {**os.environ, **environment}

    def __call__(self, *arguments):
        """The exit code, and the report."""
        command = [PROGRAM, "registry", "scan", self.source, "--state", str(self.state), "--format", "json"]
        command += ["--no-progress", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        if not done.stdout.startswith("{"):
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
        return done.returncode, json.loads(done.stdout)

    def models(self, code, *arguments):
        """The models, by name, of a scan that ends with this exit code."""
        got, report = self(*arguments)
        if got != code:
            raise SystemExit(f"{self.source} {arguments}: exit {got}, not {code}: {json.dumps(report, indent=1)}")
        return {model["name"]: model for model in report["models"]}, report["run"]


def rules(model, least=("medium", "high", "critical")):
    """The rules of the findings of a model that fail it."""
    return sorted({found["rule"] for found in model["findings"] if found["severity"] in least})


def expect(what, got, wanted):
    if got != wanted:
        raise SystemExit(f"{what}: {got!r}, not {wanted!r}")
    print(f"ok  {what}")


@contextlib.contextmanager
def workspace():
    with tempfile.TemporaryDirectory(prefix="tensorseal-") as directory:
        yield pathlib.Path(directory)
