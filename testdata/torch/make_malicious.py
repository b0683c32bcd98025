"""Writes malicious.json: pickles that make a file called tensorseal-canary when they are loaded.

Each is loaded here once, in an empty directory, to prove that it works; nothing of tensorseal may ever do
so. Values are hexadecimal.
"""

import collections
import json
import os
import pathlib
import pickle
import pickletools
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
TOUCH = "touch tensorseal-canary"
CODE = "open('tensorseal-canary', 'w').close()"


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def main():
    found = {}
    for protocol in range(6):
        found[f"os-system-{protocol}"] = pickle.dumps(Call(os.system, TOUCH), protocol)
        found[f"eval-{protocol}"] = pickle.dumps(Call(eval, CODE), protocol)
        found[f"exec-{protocol}"] = pickle.dumps(Call(exec, CODE), protocol)
        nested = {"model": collections.OrderedDict(a=[1, {"b": (2, Call(os.system, TOUCH))}])}
        found[f"nested-{protocol}"] = pickle.dumps(nested, protocol)
        found[f"popen-{protocol}"] = pickle.dumps(
            Call(subprocess.call, ["touch", "tensorseal-canary"]), protocol)
    found["import-chain"] = (
        b"\x80\x04" + text("builtins") + text("getattr") + b"\x93"
        + text("builtins") + text("__import__") + b"\x93" + text("os") + b"\x85R"
        + text("system") + b"\x86R" + text(TOUCH) + b"\x85R.")
    found["inst"] = b"(S'" + TOUCH.encode() + b"'\nios\nsystem\n."
    found["obj"] = b"(cos\nsystem\nS'" + TOUCH.encode() + b"'\no."
    found["dotted-name"] = (
        b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + text(TOUCH) + b"\x85R.")
    found["memo"] = (
        b"\x80\x04" + text("system") + b"\x94" + text("os") + b"\x94" + b"00" + b"h\x01h\x00\x93"
        + text(TOUCH) + b"\x85R.")
    found["memo-put-twice"] = (
        b"\x80\x04" + text("collections") + b"q\x07" + text("os") + b"q\x07" + b"00h\x07"
        + text("system") + b"\x93" + text(TOUCH) + b"\x85R.")
    found["dup-and-pop"] = (
        b"\x80\x04" + text("os") + text("OrderedDict") + b"20" + b"0" + text("system") + b"2" + b"0"
        + b"\x93" + text(TOUCH) + b"\x85R.")
    found["escaped-name"] = b"\x80\x04Vo\\u0073\n" + text("system") + b"\x93" + text(TOUCH) + b"\x85R."
    found["thrown-away"] = b"\x80\x02cos\nsystem\n(" + b"V" + TOUCH.encode() + b"\ntR0}."
    found["state"] = (
        b"\x80\x02cos\nsystem\n(V" + TOUCH.encode() + b"\ntR0c__builtin__\nset\n].")
    for name, data in found.items():
        with tempfile.TemporaryDirectory() as place:
            file = pathlib.Path(place, "x")
            file.write_bytes(data)
            subprocess.run([sys.executable, "-c", "import pickle; pickle.load(open('x', 'rb'))"],
                           cwd=place, check=False, stderr=subprocess.DEVNULL)
            assert pathlib.Path(place, "tensorseal-canary").exists(), name
    # Loaders that load twice run the second.
    found["second-pickle"] = pickle.dumps({"a": 1}, 2) + found["os-system-2"]
    found["broken-behind"] = found["os-system-2"][:-1] + b"\xff"
    texts = {name: data.hex() for name, data in sorted(found.items())}
    (HERE / "malicious.json").write_text(json.dumps(texts, indent=1) + "\n")


main()
