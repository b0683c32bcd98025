"""Versions of registered models on a real MLflow server. Prints a line for each case."""

import os
import pathlib
import sys

import numpy
from mlflow import MlflowClient
from safetensors.numpy import save_file

import service

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def weights(seed):
    values = numpy.random.default_rng(seed).normal(0, 0.02, (64, 256))
    return values.astype(numpy.float32)


def model_directory(path, seed):
    (path / "data").mkdir(parents=True)
    save_file({"layer.weight": weights(seed)}, path / "data/model.safetensors")
    (path / "MLmodel").write_text("flavors: {}\n")
    (path / "empty").touch()
    return path


class Cases:
    def __init__(self, directory, port):
        self.directory = directory
        self.uri = f"mlflow://127.0.0.1:{port}"
        self.client = MlflowClient(f"http://127.0.0.1:{port}")
        self.state = directory / "state.db"

    def scans(self, path="", state=None):
        return service.Scans(self.uri + path, state or self.state)

    def register(self):
        """One version from the artifacts of a run, two from logged models, with a name that has a space."""
        client = self.client
        client.create_registered_model("plain")
        client.create_registered_model("two words")
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, model_directory(self.directory / "run", 1), "model")
        client.create_model_version("plain", f"{run.info.artifact_uri}/model", run.info.run_id)
        for seed in [2, 3]:
            logged = client.create_logged_model("0")
            client.log_model_artifacts(logged.model_id, model_directory(self.directory / f"logged{seed}", seed))
            client.create_model_version("two words", f"models:/{logged.model_id}", model_id=logged.model_id)

    def first(self):
        models, run = self.scans().models(0)
        names = ["plain/versions/1", "two words/versions/1", "two words/versions/2"]
        service.expect("each version is a model", sorted(models), names)
        service.expect("none was seen before", {model["state"] for model in models.values()}, {"new"})
        service.expect("with all of its files", {model["files"] for model in models.values()}, {3})
        service.expect("each with its own content", len({model["root"] for model in models.values()}), 3)
        models, run = self.scans().models(0)
        service.expect("without marks all are read again", run["deep_checked"], 3)
        service.expect("all as accepted", {model["state"] for model in models.values()}, {"ok"})

    def overwritten(self):
        """In place, as only the server's disk shows: the version is the same, and the length."""
        files = sorted((self.directory / "artifacts").rglob("model.safetensors"))
        expected = (self.directory / "logged3/data/model.safetensors").read_bytes()
        (file,) = [file for file in files if file.read_bytes() == expected]
        data = bytearray(expected)
        data[-2] ^= 4
        file.write_bytes(data)
        models, _ = self.scans().models(1)
        states = {name: model["state"] for name, model in models.items()}
        service.expect("a version overwritten in place", states, {
            "plain/versions/1": "ok",
            "two words/versions/1": "ok",
            "two words/versions/2": "modified",
        })
        found = service.rules(models["two words/versions/2"])
        service.expect("and what of it", {"registry/modified", "integrity/tensor-changed"} <= set(found), True)
        file.write_bytes(expected)
        models, _ = self.scans().models(0)
        service.expect("put back", models["two words/versions/2"]["state"], "ok")

    def parts(self):
        models, _ = self.scans("/two%20words", self.directory / "a.db").models(0)
        service.expect("one model", sorted(models), ["two words/versions/1", "two words/versions/2"])
        models, _ = self.scans("/plain/1", self.directory / "b.db").models(0)
        service.expect("one version", list(models), ["plain/versions/1"])
        code, _ = self.scans("/plain/7", self.directory / "c.db")()
        service.expect("one that is not there", code, 3)

    def deleted(self):
        self.client.delete_model_version("two words", "1")
        models, _ = self.scans()("--read-all")[1]["models"], None
        states = {model["name"]: model["state"] for model in models}
        service.expect("a version that was deleted", states["two words/versions/1"], "missing")


def main():
    with service.workspace() as directory:
        port = service.free_port()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
        command += ["--artifacts-destination", str(directory / "artifacts")]
        os.environ.update(QUIET)
        with service.server(command, port, directory / "log", cwd=directory):
            cases = Cases(pathlib.Path(directory), port)
            cases.register()
            cases.first()
            cases.overwritten()
            cases.parts()
            cases.deleted()


main()
