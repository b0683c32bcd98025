#!/usr/bin/env python3
"""Signs a model with an old `model_signing` of PyPI: make.py VERSION OUT MODEL KEY [CERTIFICATE CHAIN...].

Needs that version and the packages of its time (sigstore_protobuf_specs 0.3.2, pyopenssl).
"""

import pathlib
import sys

version, out, model, key, *certificates = sys.argv[1:]
paths = [pathlib.Path(path) for path in certificates]

if version == "0.2.0":
    from model_signing import model as signing
    from model_signing.hashing import file, memory
    from model_signing.serialization import serialize_by_file
    from model_signing.signature import key as by_key
    from model_signing.signature import pki
    from model_signing.signing import in_toto, in_toto_signature

    signer = pki.PKISigner.from_path(key, *certificates[:1], certificates[1:]) if paths else by_key.ECKeySigner.from_path(key)
    serializer = serialize_by_file.ManifestSerializer(
        file_hasher_factory=lambda path: file.SimpleFileHasher(path, memory.SHA256()))
    payload = in_toto.DigestsIntotoPayload.from_manifest
    signed = signing.sign(pathlib.Path(model), in_toto_signature.IntotoSigner(signer), payload, serializer)
    signed.write(pathlib.Path(out))
else:
    from sigstore import oidc, sign

    # Newer packages lack what the default signer, which is not used here, asks of them.
    oidc.Issuer.production = sign.SigningContext.production = staticmethod(lambda: None)
    from model_signing import signing

    config = signing.Config()
    if paths:
        config.use_certificate_signer(
            private_key=pathlib.Path(key), signing_certificate=paths[0], certificate_chain=paths[1:])
    else:
        config.use_elliptic_key_signer(private_key=pathlib.Path(key))
    config.sign(pathlib.Path(model), pathlib.Path(out))
