"""Files that llama.cpp's own quantiser makes: a mark outlives it, every weight is paired with the one it
was made from, and nothing is said of sound files. Slow: `scripts/test-slow` builds llama.cpp."""

import json
import pathlib
import subprocess
import sys
import tempfile

import gguf

import llama
import tensorseal

SHAPE = llama.Shape(width=512, inner=1536, heads=8, key_value_heads=4, layers=4, vocabulary=2048)

# Kinds of llama_model_quantize, and how much of z must be left of a mark.
KINDS = {
    "Q8_0": 0.85, "Q6_K": 0.85, "Q5_0": 0.85, "Q5_1": 0.85, "Q5_K_M": 0.85, "Q4_0": 0.85, "Q4_1": 0.85,
    "Q4_K_M": 0.85, "Q4_K_S": 0.85, "IQ4_NL": 0.85, "IQ4_XS": 0.85, "Q3_K_M": 0.7, "IQ3_S": 0.7,
    "Q2_K": 0.5,
}

# Types that the file quantiser wants statistics of activations for: made matrix by matrix.
TYPES = ["IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4",
         "Q1_0"]


def report(*arguments):
    command = [tensorseal.PROGRAM, *map(str, arguments), "--format", "json", "--no-progress"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout)


def check(directory, source, marked, key, plain, name, path, least):
    failed = []
    _, detected = report("watermark", "detect", path, "--key", key)
    z = detected["watermark"]["z"]
    ratio = z / plain
    _, compared = report("compare", marked, path)
    classes = compared["comparison"]["classes"]
    relative = max(w["relative"] or 0 for w in compared["comparison"]["weights"])
    code, audited = report("audit", path)
    loud = [f for f in audited["findings"] if f["severity"] not in ("info", "low")]
    if ratio < least:
        failed.append(f"z {z:.1f} is {ratio:.2f} of the plain one, less than {least}")
    if set(classes) - {"identical", "same-values", "requantised"}:
        failed.append(f"not all weights are paired and close: {classes}")
    if code != 0 or loud:
        failed.append(f"an alarm about a sound file: {loud}")
    print(f"{name:8} z {z:6.1f} ({ratio:.3f})  relative error {relative:.4f}  {classes}  "
          f"{'; '.join(failed) or 'ok'}", flush=True)
    return failed


def main():
    failed = []
    with tempfile.TemporaryDirectory() as made:
        made = pathlib.Path(made)
        tensors = llama.hugging_face(SHAPE)
        source, marked, key = made / "plain.safetensors", made / "marked.safetensors", made / "key"
        llama.write_safetensors(tensors, source)
        tensorseal.keygen(key)
        tensorseal.embed(source, key, marked, "--payload", tensorseal.PAYLOAD)
        _, detected = report("watermark", "detect", marked, "--key", key)
        plain = detected["watermark"]["z"]
        print(f"safetensors: z {plain:.1f}")
        tensors = tensorseal.weights(marked)
        full = made / "f32.gguf"
        llama.write_gguf(tensors, SHAPE, full)
        failed += check(made, source, marked, key, plain, "F32", full, 0.999)
        for kind, least in KINDS.items():
            path = made / "quantised.gguf"
            llama.quantise(full, path, kind)
            failed += check(made, source, marked, key, plain, kind, path, least)
        for kind in TYPES:
            path = made / "quantised.gguf"
            encode = llama.encoder(int(gguf.GGMLQuantizationType[kind]))
            llama.write_gguf(tensors, SHAPE, path, lambda _, values: encode(values))
            failed += check(made, source, marked, key, plain, kind, path, 0.6)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
