"""A stub of the Hugging Face hub, as much of it as the official client asks for: it makes genuine caches."""

import hashlib
import http.server
import json
import threading
import urllib.parse

# Files of at least this length are large ones, kept outside of git.
LARGE = 1 << 16


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_of(files):
    digest = hashlib.sha1()
    for path, data in sorted(files.items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest()


class Hub:
    """Repositories by id, each a dict from path to bytes; `publish` makes the newest commit of `main`."""

    def __init__(self):
        self.commits = {}
        self.main = {}
        handler = type("Handler", (Handler,), {"hub": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server.server_address[1]

    def publish(self, repository, files):
        commit = commit_of(files)
        self.commits[repository, commit] = dict(files)
        self.main[repository] = commit
        return commit

    def files(self, repository, revision):
        commit = self.main.get(repository) if revision == "main" else revision
        return commit, self.commits.get((repository, commit))

    def stop(self):
        self.server.shutdown()


class Handler(http.server.BaseHTTPRequestHandler):
    hub = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self.api("/".join(parts[2:4]), parts[4:])
        if len(parts) > 4 and parts[2] == "resolve":
            return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self.answer(404)

    def api(self, repository, rest):
        revision = rest[1] if len(rest) > 1 else "main"
        commit, files = self.hub.files(repository, revision)
        if files is None:
            return self.answer(404, headers=[("X-Error-Code", "RepoNotFound")])
        if rest[:1] == ["tree"]:
            body = [entry(path, data) for path, data in sorted(files.items())]
        else:
            siblings = [{"rfilename": path} for path in sorted(files)]
            body = {"id": repository, "modelId": repository, "sha": commit, "siblings": siblings,
                    "private": False, "tags": [], "downloads": 0, "likes": 0}
        return self.answer(200, json.dumps(body).encode(), [("Content-Type", "application/json")])

    def resolve(self, repository, revision, path):
        commit, files = self.hub.files(repository, revision)
        if files is None or path not in files:
            return self.answer(404, headers=[("X-Error-Code", "EntryNotFound")])
        data = files[path]
        etag = hashlib.sha256(data).hexdigest() if len(data) >= LARGE else git_blob(data)
        headers = [("ETag", f'"{etag}"'), ("X-Repo-Commit", commit), ("Accept-Ranges", "bytes"),
                   ("Content-Length", str(len(data)))]
        if len(data) >= LARGE:
            headers += [("X-Linked-Etag", f'"{etag}"'), ("X-Linked-Size", str(len(data)))]
        return self.answer(200, data, headers)


def entry(path, data):
    found = {"type": "file", "path": path, "size": len(data), "oid": git_blob(data)}
    if len(data) >= LARGE:
        found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return found
