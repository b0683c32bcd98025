"""Signatures, held to the Python client of OpenSSF Model Signing: what either signs the other must
verify, and what was changed neither may. Bundles are also read by the models of sigstore and in-toto.
Prints a line for each case."""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

import model_signing
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1 import statement_pb2
from sigstore_models.bundle.v1 import Bundle

import tensorseal

FIXTURES = tensorseal.ROOT / "testdata/oms/fixtures.tar.gz"

# Models of the fixtures: nested directories, odd names, an empty file, one file.
MODELS = ["basic", "nested", "names", "emptyfile", "single.safetensors"]
KEYS = ["p256", "p384", "p521", "p256-sec1"]


def ours(*arguments):
    command = [tensorseal.PROGRAM, *map(str, arguments), "--format", "json", "--no-progress"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
    return done.returncode == 0


def theirs(*arguments):
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def expect(what, got, wanted):
    if got != wanted:
        raise SystemExit(f"{what}: {'verified' if got else 'refused'}, which is wrong")
    print(f"{'verified' if got else 'refused '}  {what}")


def change(model):
    """Flips a bit in the middle of the largest file."""
    files = [model] if model.is_file() else [p for p in model.rglob("*") if p.is_file()]
    path = max(files, key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def well_formed(path):
    """The bundle and the statement in it, to the models that other programs read them with."""
    text = path.read_text()
    Bundle.from_json(text)
    payload = base64.b64decode(json.loads(text)["dsseEnvelope"]["payload"], validate=True)
    parsed = json_format.Parse(payload, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()


class Cases:
    def __init__(self, directory):
        self.directory = directory
        with tarfile.open(FIXTURES) as fixtures:
            fixtures.extractall(directory, filter="tar")

    def key(self, name):
        keys = self.directory / "keys"
        return keys / f"{name}.priv.pem", keys / f"{name}.pub.pem"

    def model(self, name):
        return self.directory / "models" / name

    def bundle(self, name):
        return self.directory / f"{name}.sig"

    def ours_with_key(self):
        # A model of one file is listed by its name, as the specification asks; the Python client lists it
        # as `.` and knows no other name.
        for name in MODELS[:-1]:
            private, public = self.key("p256")
            bundle, model = self.bundle(f"ours-{name}"), self.model(name)
            ours("sign", model, "--key", private, "-o", bundle, "--allow-malformed")
            well_formed(bundle)
            passed, said = theirs("verify", "key", model, "--signature", bundle, "--public_key", public)
            if not passed:
                print(said, file=sys.stderr)
            expect(f"ours, {name}", passed, True)
        for curve in KEYS:
            private, public = self.key(curve)
            bundle, model = self.bundle(f"ours-{curve}"), self.model("basic")
            ours("sign", model, "--key", private, "-o", bundle, "--allow-malformed")
            passed, _ = theirs("verify", "key", model, "--signature", bundle, "--public_key", public)
            expect(f"ours, {curve}", passed, True)

    def ours_with_certificate(self):
        pki, bundle = self.directory / "pki", self.bundle("ours-certificate")
        chain = ["--cert", pki / "leaf.crt.pem", "--chain", pki / "intermediate.crt.pem"]
        model = self.model("nested")
        ours("sign", model, "--key", pki / "leaf.key.pem", *chain, "-o", bundle)
        well_formed(bundle)
        root = ["--certificate_chain", pki / "root.crt.pem"]
        passed, said = theirs("verify", "certificate", model, "--signature", bundle, *root)
        if not passed:
            print(said, file=sys.stderr)
        expect("ours, certificate", passed, True)
        expect("ours, certificate, by us", ours("verify", model, "--signature", bundle, "--ca", root[1]), True)

    def ours_inside(self):
        """Signature and attestations in the directory: the other client must not trip over them."""
        model = self.directory / "inside"
        shutil.copytree(self.model("basic"), model)
        private, public = self.key("p256")
        subprocess.run([tensorseal.PROGRAM, "seal", model, "--quiet"], check=True)
        ours("sign", model, "--key", private, "--attest", "seal", "--attest", "audit")
        bundle = model / "model.sig"
        passed, said = theirs("verify", "key", model, "--signature", bundle, "--public_key", public)
        if not passed:
            print(said, file=sys.stderr)
        expect("ours, inside the model, with attestations", passed, True)
        for line in (model / "model.sig.attestations.jsonl").read_text().splitlines():
            one = self.bundle("attestation")
            one.write_text(line)
            well_formed(one)

    def ours_with_blake3(self):
        """Its program does not read BLAKE3; its library does, told so."""
        private, public = self.key("p384")
        bundle, model = self.bundle("ours-blake3"), self.model("nested")
        ours("sign", model, "--key", private, "-o", bundle, "--hash", "blake3")
        config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
        hashing = model_signing.hashing.Config().use_file_serialization(hashing_algorithm="blake3")
        config.set_hashing_config(hashing).verify(model, bundle)
        expect("ours, blake3, to its library", True, True)

    def theirs_with_key(self):
        for name in MODELS:
            private, public = self.key("p256")
            bundle, model = self.bundle(f"theirs-{name}"), self.model(name)
            done, said = theirs("sign", "key", model, "--signature", bundle, "--private_key", private)
            if not done:
                raise SystemExit(said)
            expect(f"theirs, {name}", ours("verify", model, "--signature", bundle, "--public-key", public), True)

    def theirs_with_certificate(self):
        pki, bundle, model = self.directory / "pki", self.bundle("theirs-certificate"), self.model("nested")
        signer = ["--private_key", pki / "leaf.key.pem", "--signing_certificate", pki / "leaf.crt.pem"]
        chain = ["--certificate_chain", pki / "intermediate.crt.pem"]
        done, said = theirs("sign", "certificate", model, "--signature", bundle, *signer, *chain)
        if not done:
            raise SystemExit(said)
        root = pki / "root.crt.pem"
        expect("theirs, certificate", ours("verify", model, "--signature", bundle, "--ca", root), True)

    def changed(self):
        """One bit, in a model that either signed: both refuse both."""
        private, public = self.key("p256")
        model = self.directory / "changed"
        shutil.copytree(self.model("nested"), model)
        bundles = [self.bundle("ours-changed"), self.bundle("theirs-changed")]
        ours("sign", model, "--key", private, "-o", bundles[0])
        theirs("sign", "key", model, "--signature", bundles[1], "--private_key", private)
        change(model)
        for bundle in bundles:
            passed, _ = theirs("verify", "key", model, "--signature", bundle, "--public_key", public)
            expect(f"{bundle.stem}, by them", passed, False)
            passed = ours("verify", model, "--signature", bundle, "--public-key", public)
            expect(f"{bundle.stem}, by us", passed, False)


def main():
    with tempfile.TemporaryDirectory() as directory:
        cases = Cases(pathlib.Path(directory))
        cases.ours_with_key()
        cases.ours_with_certificate()
        cases.ours_inside()
        cases.ours_with_blake3()
        cases.theirs_with_key()
        cases.theirs_with_certificate()
        cases.changed()


main()
