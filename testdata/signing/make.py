#!/usr/bin/env python3
"""Makes made.json: certificates, chains of them, and keys, by programs other than this one.

Certificates come from the `cryptography` package of PyPI, keys in many wrappings from the `openssl`
command, whose verdict on every chain is kept too. Needs both, and the unpacked ../oms/fixtures.tar.gz as
its argument. Every run makes new keys, so the file changes.
"""

import base64
import datetime
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID

FIXTURES = pathlib.Path(sys.argv[1])
HERE = pathlib.Path(__file__).parent
TIME = datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc)
START, END = datetime.datetime(2026, 1, 1), datetime.datetime(2046, 1, 1)
SERIAL = iter(range(1, 10**6))

certificates, chains = {}, []


def name(text, kind=x509.name._ASN1Type.UTF8String):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _type=kind)])


def usage(*true):
    flags = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    flags = flags.split() + "key_cert_sign crl_sign encipher_only decipher_only".split()
    return x509.KeyUsage(**{flag: flag in true for flag in flags})


CA = [(x509.BasicConstraints(True, None), True), (usage("key_cert_sign", "crl_sign"), True)]
LEAF = [(x509.BasicConstraints(False, None), True), (usage("digital_signature"), True)]
ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def ca(path_length):
    return [(x509.BasicConstraints(True, path_length), True), CA[1]]


class Made:
    """A certificate and its key."""

    def __init__(self, label, subject, key, issuer=None, extensions=CA, start=START, end=END,
                 hash=hashes.SHA256(), issuer_name=None, rsa_padding=None, edit=None):
        self.label, self.key = label, key
        self.subject = subject if isinstance(subject, x509.Name) else name(subject)
        issuer_name = issuer_name or (issuer.subject if issuer else self.subject)
        builder = x509.CertificateBuilder(issuer_name, self.subject, key.public_key(), next(SERIAL), start, end)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        signer = issuer.key if issuer else key
        if isinstance(signer, ed25519.Ed25519PrivateKey):
            hash = None
        made = builder.sign(signer, hash, rsa_padding=rsa_padding)
        self.der = made.public_bytes(serialization.Encoding.DER)
        if edit:
            self.der = edit(self.der)
        assert label not in certificates, label
        certificates[label] = base64.b64encode(self.der).decode()

    def pem(self):
        text = base64.encodebytes(self.der).decode()
        return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


def openssl_says(leaf, others, trusted):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for file, some in [("leaf", [leaf]), ("others", others), ("trusted", trusted)]:
            (folder / file).write_text("".join(one.pem() for one in some))
        command = ["openssl", "verify", "-attime", str(int(TIME.timestamp())), "-no-CApath", "-no-CAstore"]
        command += ["-CAfile", folder / "trusted"]
        command += ["-untrusted", folder / "others"] if others else []
        return subprocess.run([*command, folder / "leaf"], capture_output=True).returncode == 0


def chain(case, leaf, others, trusted):
    labels = [one.label for one in others]
    chains.append({
        "case": case,
        "leaf": leaf.label,
        "others": labels,
        "trusted": [one.label for one in trusted],
        "openssl": openssl_says(leaf, others, trusted),
    })


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def fixture_key(file):
    return serialization.load_pem_private_key((FIXTURES / "keys" / file).read_bytes(), None)


def sound_chains():
    root = Made("root", "Root", p256())
    middle = Made("middle", "Middle", ec.generate_private_key(ec.SECP384R1()), root, ca(0))
    for curve in ["p256", "p384", "p521"]:
        leaf = Made(f"leaf-{curve}", f"signer {curve}", fixture_key(f"{curve}.priv.pem"), middle, LEAF + [
            (x509.SubjectAlternativeName([
                x509.RFC822Name("signer@example.com"),
                x509.UniformResourceIdentifier("https://example.com/signer"),
                x509.DNSName("example.com"),
                x509.DirectoryName(name("other")),
            ]), False)])
        chain(f"sound-{curve}", leaf, [middle], [root])
    chain("root-in-bundle", leaf, [root, middle], [root])
    chain("operator-gives-all", leaf, [], [middle, root])
    chain("operator-gives-middle-only", leaf, [root], [middle])
    chain("other-root", leaf, [middle], [Made("other", "Other", p256())])
    chain("same-name-other-root", leaf, [middle], [Made("impostor", "Root", p256())])
    chain("two-roots-of-one-name", leaf, [middle], [Made("impostor-2", "Root", p256()), root])
    chain("missing-middle", leaf, [], [root])
    chain("no-root", leaf, [middle], [])
    own = Made("own", "Own", p256(), None, LEAF)
    chain("leaf-is-root", own, [], [own])
    chain("self-signed", own, [], [root])
    return root, middle


def leaves(root, middle):
    def leaf(case, extensions, key=None, **more):
        made = Made(case, case, key or p256(), middle, extensions, **more)
        chain(case, made, [middle], [root])

    eku = lambda *some: (x509.ExtendedKeyUsage(some), False)
    leaf("leaf-ca-true", [(x509.BasicConstraints(True, None), True), LEAF[1]])
    leaf("leaf-no-constraints", [LEAF[1]])
    leaf("leaf-code-signing", [eku(Purpose.CODE_SIGNING)])
    leaf("leaf-other-purpose", [LEAF[1], eku(Purpose.SERVER_AUTH)])
    leaf("leaf-any-purpose", [LEAF[1], eku(Purpose.ANY_EXTENDED_KEY_USAGE)])
    leaf("leaf-both", [LEAF[1], eku(Purpose.SERVER_AUTH, Purpose.CODE_SIGNING)])
    leaf("leaf-no-usage", [])
    leaf("leaf-server-auth-only", [eku(Purpose.SERVER_AUTH)])
    leaf("leaf-encipherment", [(usage("key_encipherment"), True)])
    leaf("leaf-encipherment-code-signing", [(usage("key_encipherment"), True), eku(Purpose.CODE_SIGNING)])
    leaf("leaf-expired", LEAF, end=datetime.datetime(2026, 11, 30, 23, 59, 59))
    leaf("leaf-last-second", LEAF, end=datetime.datetime(2026, 12, 1))
    leaf("leaf-first-second", LEAF, start=datetime.datetime(2026, 12, 1))
    leaf("leaf-future", LEAF, start=datetime.datetime(2026, 12, 1, 0, 0, 1))
    leaf("leaf-no-expiry", LEAF, end=datetime.datetime(9999, 12, 31, 23, 59, 59))
    leaf("leaf-unknown-critical", LEAF + [(UNKNOWN, True)])
    leaf("leaf-unknown", LEAF + [(UNKNOWN, False)])
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\x05\x00")
    leaf("leaf-twice", LEAF + [(UNKNOWN, False), (other, False)],
         edit=lambda der: der.replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04"))
    leaf("leaf-rsa", LEAF, rsa.generate_private_key(65537, 2048))
    leaf("leaf-ed25519", LEAF, ed25519.Ed25519PrivateKey.generate())
    leaf("leaf-secp256k1", LEAF, ec.generate_private_key(ec.SECP256K1()))
    leaf("leaf-fulcio", LEAF + [(x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), b"https://issuer.example"), False)],
        end=datetime.datetime(2026, 1, 1, 0, 10))
    sha384 = ECDSA_SHA256[:-1] + b"\3"
    leaf("two-algorithms", LEAF, edit=lambda der: sha384.join(der.rsplit(ECDSA_SHA256, 1)))
    leaf("bit-flipped", LEAF, edit=lambda der: der.replace(b"bit-flipped", b"bit-Flipped"))


def issuers(root):
    def middle(case, extensions=CA, under=(root,), below=(), top=root, leaf_name=None, **more):
        """A chain of root, one middle certificate with something of its own, and a leaf."""
        made = Made(f"{case}-middle", f"{case} Middle", more.pop("key", None) or p256(), under[-1], extensions, **more)
        leaf = Made(case, case, p256(), made, LEAF, issuer_name=leaf_name)
        chain(case, leaf, [made, *under[1:], *below], [top])

    middle("issuer-expired", end=datetime.datetime(2026, 2, 1))
    middle("issuer-future", start=datetime.datetime(2027, 1, 1))
    middle("issuer-no-ca", [LEAF[0], CA[1]])
    middle("issuer-no-constraints", [CA[1]])
    middle("issuer-no-cert-sign", [CA[0], (usage("digital_signature"), True)])
    middle("issuer-no-usage", [CA[0]])
    middle("issuer-unknown-critical", CA + [(UNKNOWN, True)])
    constraint = x509.NameConstraints([x509.DNSName("example.com")], None)
    middle("issuer-name-constraints", CA + [(constraint, True)])
    middle("issuer-name-constraints-not-critical", CA + [(constraint, False)])
    middle("issuer-name-spelled-otherwise",
           leaf_name=name("ISSUER-Name-Spelled-Otherwise  middle", x509.name._ASN1Type.PrintableString))
    short = Made("short", "Short", p256(), None, ca(0))
    middle("root-path-length", under=(short,), top=short)
    first = Made("first", "First", p256(), root, ca(0))
    middle("path-length", under=(root, first))
    one = Made("one", "One", p256(), root, ca(1))
    middle("path-length-kept", under=(root, one))
    old = Made("rolled-old", "Rolled", p256(), root, ca(0))
    new = Made("rolled-new", "Rolled", p256(), old, ca(0))
    chain("self-issued-does-not-count", Made("rolled", "of rolled", p256(), new, LEAF), [new, old], [root])
    stale = Made("stale", "Stale", p256(), None, CA, end=datetime.datetime(2026, 2, 1))
    chain("root-expired", Made("root-expired", "root expired", p256(), stale, LEAF), [], [stale])
    odd = Made("odd", "Odd", p256(), None, CA + [(UNKNOWN, True)])
    chain("root-unknown-critical", Made("root-unknown-critical", "x", p256(), odd, LEAF), [], [odd])


def algorithms():
    def by(case, key, **more):
        root = Made(f"{case}-root", f"{case} Root", key, None, CA,
                    **({} if isinstance(key, ed25519.Ed25519PrivateKey) else {"hash": hashes.SHA256()}))
        chain(case, Made(case, case, p256(), root, LEAF, **more), [], [root])

    big = rsa.generate_private_key(65537, 2048)
    for hash in [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]:
        by(f"rsa-{hash.name}", big, hash=hash)
        salt = padding.PSS(padding.MGF1(hash), hash.digest_size)
        by(f"pss-{hash.name}", big, hash=hash, rsa_padding=salt)
        for curve in [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]:
            by(f"{curve.name}-{hash.name}", ec.generate_private_key(curve), hash=hash)
    by("pss-other-mask", big, rsa_padding=padding.PSS(padding.MGF1(hashes.SHA384()), 32))
    # Programs of today refuse to sign so: the algorithm is exchanged afterwards, and the signature is wrong too.
    by("rsa-sha1", big, edit=rsa_algorithm(5))
    by("rsa-md5", big, edit=rsa_algorithm(4))
    by("ecdsa-sha224", p256(), edit=lambda der: der.replace(ECDSA_SHA256, ECDSA_SHA256[:-1] + b"\1"))
    by("rsa-1024", rsa.generate_private_key(65537, 1024))
    by("ed25519", ed25519.Ed25519PrivateKey.generate())
    by("secp256k1", ec.generate_private_key(ec.SECP256K1()))
    aged = Made("aged", "Aged", big, None, CA, edit=rsa_algorithm(5))
    chain("root-signed-with-sha1", Made("aged-leaf", "aged leaf", p256(), aged, LEAF), [], [aged])


def rsa_algorithm(last):
    """Exchanges sha256WithRSAEncryption for another algorithm of PKCS #1."""
    sha256 = bytes.fromhex("06092a864886f70d01010b")
    return lambda der: der.replace(sha256, sha256[:-1] + bytes([last]))


def hostile(root):
    a_key, b_key = p256(), p256()
    b_stub = Made("b-stub", "B", b_key)
    a = Made("a", "A", a_key, b_stub)
    b = Made("b", "B", b_key, a)
    leaf = Made("of-a", "of A", p256(), a, LEAF)
    chain("circle", leaf, [a, b], [root])
    deep, above = [], root
    for depth in range(9):
        above = Made(f"deep-{depth}", f"Deep {depth}", p256(), above)
        deep.append(above)
        if depth in (6, 7):
            leaf = Made(f"below-{depth}", f"below {depth}", p256(), above, LEAF)
            chain("deepest" if depth == 6 else "too-deep", leaf, deep[::-1], [root])
    true = Made("true-one", "Many", p256(), root)
    many = [Made(f"many-{at}", "Many", p256()) for at in range(70)]
    leaf = Made("of-many", "of many", p256(), true, LEAF)
    chain("many-of-one-name", leaf, [*many, true], [root])
    chain("first-of-many", leaf, [*many[:50], true], [root])


def shell(command, stdin=b""):
    return subprocess.run(["openssl", *command.split()], input=stdin, capture_output=True, check=True).stdout.decode()


def keys():
    p256 = (FIXTURES / "keys/p256.priv.pem").read_bytes()
    public = (FIXTURES / "keys/p256.pub.pem").read_bytes()
    made = {
        "ecparam": shell("ecparam -name prime256v1 -genkey"),
        "ecparam-explicit": shell("ecparam -name prime256v1 -genkey -param_enc explicit"),
        "sec1": shell("ec", p256),
        "sec1-encrypted": shell("ec -aes128 -passout pass:hunter2", p256),
        "compressed.pub": shell("ec -pubin -pubout -conv_form compressed", public),
        "explicit.pub": shell("ec -pubin -pubout -param_enc explicit", public),
        "dsa": shell("genpkey -paramfile /dev/stdin", shell("dsaparam 1024").encode()),
        "x25519": shell("genpkey -algorithm X25519"),
        "p224": shell("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-224"),
        "rsa-pkcs1": shell("genrsa -traditional 1024"),
    }
    for label, options in {
        "scrypt": "-scrypt",
        "pbkdf2-sha512": "-v2 aes-128-cbc -v2prf hmacWithSHA512",
        "pbkdf2-sha1": "-v2 aes-256-cbc -v2prf hmacWithSHA1",
        "pbkdf2-costly": "-v2 aes-256-cbc -iter 10000001",
        "3des": "-v2 des3",
        "pbes1": "-v1 PBE-SHA1-3DES",
    }.items():
        made[label] = shell(f"pkcs8 -topk8 {options} -passout pass:hunter2", p256)
    return made


def fingerprint(pem):
    key = serialization.load_pem_public_key(pem)
    text = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(text).hexdigest()


def rfc6979():
    """The keys of RFC 6979, appendices A.2.5 to A.2.7; the signatures over `sample` are made anew."""
    made = []
    for curve, hash, secret in [
        (ec.SECP256R1(), hashes.SHA256(), "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"),
        (ec.SECP384R1(), hashes.SHA384(), "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D8"
                                          "96D5724E4C70A825F872C9EA60D2EDF5"),
        (ec.SECP521R1(), hashes.SHA512(), "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75"
                                          "CAA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538"),
    ]:
        key = ec.derive_private_key(int(secret, 16), curve)
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        signature = key.sign(b"sample", ec.ECDSA(hash, deterministic_signing=True))
        r, s = utils.decode_dss_signature(signature)
        made.append({"key": pem.decode(), "der": signature.hex(), "r": f"{r:x}", "s": f"{s:x}"})
    return made


root, middle = sound_chains()
leaves(root, middle)
issuers(root)
algorithms()
hostile(root)
fingerprints = {file.name: fingerprint(file.read_bytes())
                for file in sorted((FIXTURES / "keys").glob("p*.pub.pem"))}
document = {"time": int(TIME.timestamp()), "certificates": certificates, "chains": chains, "keys": keys(),
            "fingerprints": fingerprints, "rfc6979": rfc6979()}
(HERE / "made.json").write_text(json.dumps(document, indent=1) + "\n")
