"""Models of a real OCI registry (docker-registry), as the tools that push them lay them out: ModelPack,
KitOps, Docker, ORAS. Its log tells what was fetched. Prints a line for each case."""

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import urllib.parse
import urllib.request

import gguf
import numpy
from safetensors.numpy import save

import service

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
PASSWORD = "hunter2hunter2"
# `me` with that password, by bcrypt.
ACCOUNT = "me:$2b$05$Gh.2/e8UCJ1S41IniOJWCOlucUyYPihiZxZ6lznF5/S4cBfur16VO\n"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """docker-registry on a port of loopback."""

    def __init__(self, directory, with_password=False):
        self.directory, self.port = directory, service.free_port()
        directory.mkdir()
        self.log = directory / "log"
        self.with_password = with_password

    def serve(self):
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "storage")}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "for the tests"},
        }
        if self.with_password:
            accounts = self.directory / "htpasswd"
            accounts.write_text(ACCOUNT)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(accounts)}}
        path = self.directory / "config.yml"
        # JSON is YAML.
        path.write_text(json.dumps(config))
        return service.server(["docker-registry", "serve", str(path)], self.port, self.log)

    def request(self, method, path, data=None, **headers):
        url = urllib.parse.urljoin(f"http://127.0.0.1:{self.port}/v2/", path)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.with_password:
            pair = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        return urllib.request.urlopen(request)

    def push_blob(self, data):
        place = self.request("POST", "models/m/blobs/uploads/", b"").headers["Location"]
        separator = "&" if "?" in place else "?"
        put = f"{place}{separator}digest={digest(data)}"
        self.request("PUT", put, data, Content_Type="application/octet-stream")

    def push(self, tag, layers):
        """Pushes layers of (media type, annotations, bytes), and gives the digest of the manifest."""
        described = []
        for media_type, annotations, data in layers:
            self.push_blob(data)
            described.append(
                {"mediaType": media_type, "digest": digest(data), "size": len(data), "annotations": annotations}
            )
        self.push_blob(b"{}")
        config = {"mediaType": EMPTY, "digest": digest(b"{}"), "size": 2}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described}
        return self.push_manifest(tag, MANIFEST, manifest)

    def push_manifest(self, tag, media_type, manifest):
        text = json.dumps(manifest).encode()
        self.request("PUT", f"models/m/manifests/{tag}", text, Content_Type=media_type)
        return digest(text)

    def blob_file(self, data):
        hexadecimal = digest(data).removeprefix("sha256:")
        return self.directory / "storage/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"

    def served(self, data):
        """Bytes of a blob that were given so far."""
        line = re.compile(r'"GET /v2/models/m/blobs/(\S+) HTTP/1.1" 20[06] (\d+)')
        log = line.findall(self.log.read_text(errors="replace"))
        return sum(int(size) for name, size in log if name == digest(data))


def weights(seed, rows=64):
    """A matrix of plain weights, 4 KiB a row."""
    values = numpy.random.default_rng(seed).normal(0, 0.02, (rows, 1024))
    return values.astype(numpy.float32)


def packed(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def gguf_file(directory):
    path = directory / "made.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("token_embd.weight", weights(5, 256))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def path(name):
    return {"org.cncf.model.filepath": name}


class Cases:
    def __init__(self, directory, registry):
        self.directory, self.registry = directory, registry
        self.state = directory / "state.db"
        # More than one window, and a small tensor to damage: finding a flipped bit takes time.
        self.raw = save({"embed.weight": weights(1, 6144), "layer.weight": weights(6, 16)})
        self.archive = gzip.compress(packed({"config.json": b"{}", "second.safetensors": save({"a": weights(2)})}))

    def scans(self, reference="", state=None, **environment):
        uri = f"oci://127.0.0.1:{self.registry.port}/models/m{reference}"
        return service.Scans(uri, state or self.state, **environment)

    def push(self):
        weight = "application/vnd.cncf.model.weight.v1"
        title = {"org.opencontainers.image.title": "model.safetensors"}
        self.registry.push("pack", [
            (f"{weight}.raw", path("model.safetensors"), self.raw),
            (f"{weight}.tar+gzip", path("rest"), self.archive),
        ])
        self.registry.push("docker", [
            ("application/vnd.docker.ai.gguf.v3", {}, gguf_file(self.directory)),
            ("application/vnd.docker.ai.license", {}, b"do as you like\n"),
        ])
        kit = packed({"./model/model.safetensors": save({"k": weights(3)})})
        self.registry.push("kit", [("application/vnd.kitops.modelkit.model.v1.tar", {}, kit)])
        self.oras = self.registry.push("oras", [("application/octet-stream", title, save({"o": weights(4)}))])

    def first(self):
        models, run = self.scans().models(0)
        names = [f"models/m:{tag}" for tag in ["docker", "kit", "oras", "pack"]]
        service.expect("all tags are models", sorted(models), names)
        service.expect("none was seen before", {model["state"] for model in models.values()}, {"new"})
        service.expect("every one is read", run["deep_checked"], 4)
        roots = {model["root"] for model in models.values()}
        service.expect("each with its own content", len(roots), 4)
        size = len(self.raw)
        service.expect("a layer that is a file is fetched once", size <= self.registry.served(self.raw) < 1.1 * size, True)
        service.expect("an archive as well", self.registry.served(self.archive) < 1.1 * len(self.archive), True)
        service.expect("none is signed", any(model["signed"] for model in models.values()), False)

    def unchanged(self):
        before = self.registry.served(self.raw)
        models, run = self.scans().models(0)
        service.expect("nothing is read again", (run["deep_checked"], self.registry.served(self.raw)), (0, before))
        models, run = self.scans().models(0, "--read-all")
        service.expect("unless it is asked for", run["deep_checked"], 4)
        service.expect("all as accepted", {model["state"] for model in models.values()}, {"ok"})

    def signed(self):
        """A registry without the API for referrers: the tag that stands for them."""
        bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
        self.registry.push_blob(b"{}")
        empty = {"mediaType": EMPTY, "digest": digest(b"{}"), "size": 2}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": bundle, "config": empty, "layers": [empty]}
        text = json.dumps(manifest).encode()
        refers = self.registry.push_manifest(digest(text), MANIFEST, manifest)
        entry = {"mediaType": MANIFEST, "artifactType": bundle, "digest": refers, "size": len(text)}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        self.registry.push_manifest(self.oras.replace(":", "-"), INDEX, index)
        models, _ = self.scans().models(0)
        service.expect("a signature is noticed", [name for name, m in models.items() if m["signed"]], ["models/m:oras"])
        service.expect("and is no model", len(models), 4)

    def damaged(self):
        blob, data = self.registry.blob_file(self.raw), bytearray(self.raw)
        data[-1000] ^= 4
        blob.write_bytes(data)
        models, _ = self.scans().models(1, "--read-all")
        model = models["models/m:pack"]
        service.expect("a flipped bit in the store", model["state"], "bit-rot")
        found = service.rules(model)
        service.expect("the blob is not what it is addressed by", "registry/blob-differs" in found, True)
        tensors = {finding.get("tensor") for finding in model["findings"]}
        service.expect("the tensor is named", "layer.weight" in tensors, True)
        service.expect("the others are as they were", models["models/m:kit"]["state"], "ok")
        blob.write_bytes(self.raw)

        blob, data = self.registry.blob_file(self.archive), bytearray(self.archive)
        data[-20] ^= 4
        blob.write_bytes(data)
        models, _ = self.scans().models(1, "--read-all")
        service.expect("a damaged archive", "registry/blob-differs" in service.rules(models["models/m:pack"]), True)
        blob.write_bytes(data[:-100])
        models, _ = self.scans().models(1, "--read-all")
        service.expect("one that is cut off", "registry/blob-differs" in service.rules(models["models/m:pack"]), True)
        blob.write_bytes(self.archive)
        models, _ = self.scans().models(0, "--read-all")
        service.expect("and all is well again", models["models/m:pack"]["state"], "ok")

    def replaced(self):
        old = self.registry.push("kit", [("application/octet-stream", path("model.safetensors"), save({"k": weights(9)}))])
        models, _ = self.scans().models(1)
        model = models["models/m:kit"]
        service.expect("a tag that was moved", (model["state"], model["version"]), ("replaced", old))
        one, _ = self.scans(f"@{old}", self.directory / "one.db").models(0)
        service.expect("one manifest by its digest", list(one), [f"models/m@{old}"])
        other, run = self.scans(":nosuch", self.directory / "no.db")("--read-all")
        service.expect("a tag that is not there", other, 3)

    def hostile(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, kind in [("../../escaped", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)]:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, "/etc/passwd"
                archive.addfile(member)
        state = self.directory / "hostile.db"
        self.registry.push("hostile", [("application/vnd.cncf.model.weight.v1.tar", path("x"), out.getvalue())])
        models, _ = self.scans(":hostile", state).models(1)
        found = service.rules(models["models/m:hostile"])
        service.expect("an archive that leads out", found, ["format/unsafe-path", "registry/archive-refused"])
        service.expect("nothing is written there", list(self.directory.parent.glob("escaped")), [])

    def gone(self):
        self.registry.blob_file(self.raw).unlink()
        code, report = self.scans(":pack", self.directory / "gone.db")()
        (model,) = report["models"]
        service.expect("a layer that is gone", (code, model["state"]), (3, "incomplete"))


def with_password(directory):
    registry = Registry(directory / "private", with_password=True)
    with registry.serve():
        registry.push("m", [("application/octet-stream", path("model.safetensors"), save({"a": weights(1, 64)}))])
        uri, state = f"oci://127.0.0.1:{registry.port}/models/m", directory / "private.db"
        account = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        configs = {
            "none": {},
            "helper": {"credsStore": "desktop"},
            "wrong": {"auths": {f"127.0.0.1:{registry.port}": {"auth": base64.b64encode(b"me:no").decode()}}},
            "right": {"auths": {f"127.0.0.1:{registry.port}": {"auth": account}}},
        }
        for name, config in configs.items():
            place = directory / f"docker-{name}"
            place.mkdir()
            (place / "config.json").write_text(json.dumps(config))
            code, report = service.Scans(uri, state, DOCKER_CONFIG=str(place))()
            service.expect(f"credentials: {name}", code, 0 if name == "right" else 3)
            text = json.dumps(report)
            if name == "helper":
                service.expect("a program is named, and not run", "docker-credential-desktop" in text, True)
            service.expect("no password is told", PASSWORD in text or account in text, False)
        kept = b"".join(file.read_bytes() for file in directory.glob("private.db*"))
        service.expect("or kept", PASSWORD.encode() in kept or account.encode() in kept, False)


def main():
    with service.workspace() as directory:
        registry = Registry(directory / "registry")
        with registry.serve():
            cases = Cases(directory, registry)
            cases.push()
            cases.first()
            cases.unchanged()
            cases.signed()
            cases.damaged()
            cases.replaced()
            cases.hostile()
            cases.gone()
        with_password(directory)


main()
