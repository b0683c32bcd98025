"""Buckets, as real servers give them: moto for versions, parts and what happens while an object is read;
s3s-fs, which gives no entity tags in lists and looks at no If-Match. A proxy between breaks connections.
Prints a line for each case."""

import contextlib
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("TENSORSEAL", str(ROOT / "target/release/tensorseal"))
SECRET = "hunter2hunter2"
PART = 5 << 20


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def server(command, port, name):
    """A server on a port of loopback, for as long as it is needed."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(900):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None:
                    break
                time.sleep(0.1)
            else:
                process.kill()
            if process.poll() is not None:
                log.seek(0)
                raise SystemExit(f"{name} did not start: {log.read().decode(errors='replace')[-2000:]}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


class Proxy(http.server.ThreadingHTTPServer):
    """Hands requests on to a server; `before` is called with the path of a read, and may do something,
    or give what is to be answered: a status, or the part of the body after which the connection breaks.
    `after` is called with the body of a read, and gives the one that is handed on."""

    daemon_threads = True

    def __init__(self, target):
        self.target, self.before, self.after, self.served = target, None, None, 0
        super().__init__(("127.0.0.1", 0), Handed)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handed(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        is_read = "Range" in self.headers
        answer = self.server.before(self.path) if is_read and self.server.before else None
        if isinstance(answer, int):
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            return self.end_headers()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        # What is signed is signed for this host.
        headers["Host"] = self.headers["Host"]
        target = self.server.target + self.path
        request = urllib.request.Request(target, headers=headers, method=self.command)
        try:
            given = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            given = error
        body = given.read()
        if is_read and self.server.after:
            body = self.server.after(body)
        self.send_response(given.status)
        for name, value in given.headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                self.send_header(name, value)
        length = given.headers["Content-Length"] if self.command == "HEAD" else len(body)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if answer is not None:
            self.wfile.write(body[: int(len(body) * answer)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        if is_read:
            self.server.served += len(body)
        return self.wfile.write(body)


def safetensors(rows, seed):
    """A file of one tensor of `rows` times 1024 floats, which look like weights."""
    import random

    values = random.Random(seed)
    data = b"".join(values.randbytes(1024) for _ in range(rows * 4))
    # Exponents of small numbers, whatever the rest.
    data = bytearray(data)
    data[3::4] = bytes((b & 0x80) | 0x3C for b in data[3::4])
    entry = {"dtype": "F32", "shape": [rows, 1024], "data_offsets": [0, len(data)]}
    header = json.dumps({"layer.weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(data)


class Bucket:
    """A bucket of a server, and what the program says of it."""

    def __init__(self, url, directory):
        self.directory, self.url = directory, url
        self.state = directory / "state.db"
        self.client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="key",
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )
        self.client.create_bucket(Bucket="models")

    def put(self, key, data, **more):
        self.client.put_object(Bucket="models", Key=key, Body=data, **more)

    def put_in_parts(self, key, data, **more):
        upload = {"Bucket": "models", "Key": key}
        upload["UploadId"] = self.client.create_multipart_upload(**upload, **more)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(data), PART), 1):
            body = data[start : start + PART]
            part = self.client.upload_part(PartNumber=number, Body=body, **upload, **more)
            given = {name: part[name] for name in ("ETag", "ChecksumSHA256") if name in part}
            parts.append({"PartNumber": number, **given})
        assert len(parts) > 1
        self.client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)

    def scan(self, url=None, state=None, source="s3://models/teams", settings=None):
        """The exit code and the report of a scan; `settings` in place of those of AWS."""
        command = [PROGRAM, "registry", "scan", source, "--state", str(state or self.state)]
        environment = settings or {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }
        environment["PATH"] = os.environ["PATH"]
        command += ["--format", "json", "--read-all"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        if SECRET in done.stdout + done.stderr:
            raise SystemExit("a secret was told")
        if done.returncode not in (0, 1, 3):
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
        if not done.stdout:
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: no report: {done.stderr}")
        return done.returncode, json.loads(done.stdout)


def model_of(report, name):
    found = [model for model in report["models"] if model["name"] == name]
    assert len(found) == 1, (name, report["models"])
    return found[0]


def expect(what, got, wanted):
    if got != wanted:
        raise SystemExit(f"{what}: {got}, not {wanted}")
    print(f"{wanted!s:<12} {what}")


def root_of(directory, files):
    """The root of a model that the program gives for the same files in a directory."""
    place = directory / "local"
    shutil.rmtree(place, ignore_errors=True)
    for path, data in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
    seal = directory / "local.seal.json"
    seal.unlink(missing_ok=True)
    subprocess.run([PROGRAM, "seal", place, "-o", seal, "--quiet"], check=True)
    return json.loads(seal.read_text())["model"]["root"]


def state_of(code, report, name):
    """The state of a model, and whether the scan says that something changed while it was read."""
    model = model_of(report, name)
    said = json.dumps(report)
    return model["state"], "changed while it was being read" in said, code


def every_server(bucket, label, big):
    """What holds of any server."""
    files = {"model.safetensors": big, "config.json": b"{}", "sub/other.safetensors": safetensors(3, 2)}
    for path, data in files.items():
        bucket.put(f"teams/a/{path}", data)
    bucket.put("teams/notes.txt", b"none")
    proxy = Proxy(bucket.url)
    code, report = bucket.scan(proxy.url)
    model = model_of(report, "a")
    expect(f"{label}: the first scan", model["state"], "new")
    expect(f"{label}: root as in a directory", model["root"] == root_of(bucket.directory, files), True)
    total = sum(map(len, files.values()))
    expect(f"{label}: bytes are asked for once", proxy.served <= 1.05 * total + 4096, True)
    _, report = bucket.scan()
    expect(f"{label}: the second scan", model_of(report, "a")["state"], "ok")

    # 503, and connections that break in the middle of a body.
    troubles = iter([503, 0.5, 503, 0.0, 0.9])
    proxy.before = lambda _: next(troubles, None)
    code, report = bucket.scan(proxy.url)
    expect(f"{label}: 503 and cut connections", (code, model_of(report, "a")["state"]), (0, "ok"))
    expect(f"{label}: all troubles were met", next(troubles, None), None)

    # Overwritten when the first range of it is asked for, and while it is read.
    for what, after, dtype in [("between list and read", 1, b"I32"), ("while it is read", 3, b"U32")]:
        reads = iter(range(1, 1000))
        # Of the same length: nothing but tag and time tells.
        other = big.replace(b"F32", dtype, 1)

        def overwrite(path):
            if "model.safetensors" in path and next(reads) == after:
                # Stores tell times in seconds.
                time.sleep(1.1)
                bucket.put("teams/a/model.safetensors", other)

        proxy.before = overwrite
        found = state_of(*bucket.scan(proxy.url), "a")
        expect(f"{label}: overwritten {what} is no finding", found[0] not in ("modified", "bit-rot"), True)
        expect(f"{label}: … and is said", found[1:], (True, 3))
        proxy.before = None
        _, report = bucket.scan()
        expect(f"{label}: the next scan finds it", model_of(report, "a")["state"], "modified")
        bucket.put("teams/a/model.safetensors", big)
        _, report = bucket.scan()
        expect(f"{label}: and what was accepted", model_of(report, "a")["state"], "ok")
    proxy.shutdown()
    for file in bucket.directory.glob("state*"):
        assert SECRET.encode() not in file.read_bytes()


def checksums(bucket):
    """A SHA-256 that the store keeps of an object is held against its bytes in the first scan."""
    bucket.put("summed/whole/model.safetensors", safetensors(50, 3), ChecksumAlgorithm="SHA256")
    big = safetensors(PART // 4096 + 100, 4)
    bucket.put_in_parts("summed/parts/model.safetensors", big, ChecksumAlgorithm="SHA256")

    def first_scan(url, state):
        _, report = bucket.scan(url, source="s3://models/summed", state=bucket.directory / state)
        found = {}
        for model in report["models"]:
            rules = [finding["rule"] for finding in model["findings"]]
            found[model["name"]] = model["state"], "registry/blob-differs" in rules
        return found

    good, bad = ("new", False), ("modified", True)
    expect("moto: checksums are right", first_scan(bucket.url, "right.db"), {"parts": good, "whole": good})
    # What is stored decays, and what is known of it stays.
    decayed = Proxy(bucket.url)
    decayed.after = lambda body: body[:-1] + bytes([body[-1] ^ 1])
    found = first_scan(decayed.url, "decayed.db")
    expect("moto: … what decayed is found, if it is not in parts", found, {"parts": good, "whole": bad})
    decayed.shutdown()


def google(bucket):
    """The client of Google, which speaks the same protocol (the XML API) to its own store: moto answers it
    where nothing is signed."""
    settings = {"GOOGLE_BASE_URL": bucket.url, "GOOGLE_SKIP_SIGNATURE": "true", "GOOGLE_ALLOW_HTTP": "true"}
    model = safetensors(50, 5)
    key, state = "public/a/model.safetensors", bucket.directory / "google.db"
    for data, wanted in [(model, "new"), (model[:-1] + bytes([model[-1] ^ 1]), "modified"), (model, "ok")]:
        bucket.put(key, data, ACL="public-read")
        _, report = bucket.scan(state=state, source="gs://models/public", settings=dict(settings))
        expect("moto: a model of gs://", model_of(report, "a")["state"], wanted)


def moto(directory):
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with server(command, port, "moto") as url:
        bucket = Bucket(url, directory)
        status = {"Status": "Enabled"}
        bucket.client.put_bucket_versioning(Bucket="models", VersioningConfiguration=status)
        big = safetensors(2 * PART // 4096 + 100, 1)
        every_server(bucket, "moto", big)
        bucket.put_in_parts("teams/parts/model.safetensors", big)
        bucket.put("teams/parts/sub/other.safetensors", safetensors(3, 2))
        _, report = bucket.scan()
        parts = model_of(report, "parts")
        expect("moto: an object of several parts", parts["state"], "new")
        expect("moto: … is what it is in one", parts["root"] == model_of(report, "a")["root"], True)
        checksums(bucket)
        google(bucket)
        # More keys than a page has.
        for number in range(1005):
            bucket.put(f"many/{number:05}/x.gguf" if number == 1003 else f"many/{number:05}/x.txt", b"x")
        _, report = bucket.scan(source="s3://models/many", state=directory / "many.db")
        expect("moto: a model behind a thousand prefixes", report["models"][0]["name"], "01003")


def s3s(directory, program):
    port = free_port()
    place = directory / "store"
    place.mkdir()
    command = [program, "--host", "127.0.0.1", "--port", str(port), place]
    command += ["--access-key", "key", "--secret-key", SECRET]
    with server(command, port, "s3s-fs") as url:
        bucket = Bucket(url, directory)
        bucket.put("teams/probe", b"x")
        found = bucket.client.list_objects_v2(Bucket="models")["Contents"][0]
        print(f"{'no tag' if 'ETag' not in found else 'tag':<12} s3s-fs: in lists")
        every_server(bucket, "s3s-fs", safetensors(2 * PART // 4096 + 100, 1))


def main():
    with tempfile.TemporaryDirectory(prefix="tensorseal-") as directory:
        place = pathlib.Path(directory)
        (place / "moto").mkdir()
        moto(place / "moto")
        program = shutil.which(os.environ.get("TENSORSEAL_S3S_FS", "s3s-fs"))
        if program is None:
            print("left out     s3s-fs: it is not here (scripts/test-slow builds it)")
            return
        (place / "s3s").mkdir()
        s3s(place / "s3s", program)


main()
