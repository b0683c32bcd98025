"""What happens to a mark when weights are cast, quantised, pruned, disturbed, merged, rescaled, cut and
marked again: the table of docs/watermark-robustness.md, measured on the real all-MiniLM-L6-v2.

Casts are those of ml_dtypes, quantisations those of the gguf package of llama.cpp."""

import sys

import gguf
import ml_dtypes
import numpy

import tensorseal

TARGETS = [60, 30]


def each(change):
    """An attack on every tensor that carries."""
    def attack(tensors):
        return {n: change(t) if tensorseal.carries(n, t) else t for n, t in tensors.items()}
    return attack


def cast(dtype):
    """Through a narrower type and back: rounded to nearest, even at ties."""
    return each(lambda t: t.astype(dtype).astype(numpy.float32))


def quantised(name):
    kind = gguf.GGMLQuantizationType[name]
    return each(lambda t: gguf.quants.dequantize(gguf.quants.quantize(t, kind), kind).reshape(t.shape))


def pruned(share):
    """The weights of smallest magnitude become zero."""
    return each(lambda t: numpy.where(abs(t) < numpy.quantile(abs(t[::7]), share), numpy.float32(0), t))


def rms(t):
    return numpy.sqrt(numpy.mean(numpy.square(t, dtype=numpy.float64)))


def noise_like(t, random):
    return (random.standard_normal(t.shape, dtype=numpy.float32) * rms(t)).astype(numpy.float32)


def noisy(share):
    random = numpy.random.default_rng(7)
    return each(lambda t: t + numpy.float32(share) * noise_like(t, random))


def merged(share, other):
    """`share` of the marked model, the rest of another one of the same shapes."""
    def attack(tensors):
        mixed = {}
        for n, t in tensors.items():
            mixed[n] = (share * t + (1 - share) * other[n]).astype(t.dtype) if tensorseal.carries(n, t) else t
        return mixed
    return attack


def rescaled_rows(t, random=numpy.random.default_rng(3)):
    return t * numpy.exp(0.5 * random.standard_normal((len(t), 1))).astype(numpy.float32)


def rescaled_tensor(t, random=numpy.random.default_rng(4)):
    return t * numpy.float32(numpy.exp(random.standard_normal()))


def permuted_rows(t, random=numpy.random.default_rng(5)):
    return t[random.permutation(len(t))]


def cut_vocabulary(tensors):
    name = "embeddings.word_embeddings.weight"
    return tensors | {name: tensors[name][:20000]}


def renamed(tensors):
    return {f"module.bert.{n}": t for n, t in tensors.items()}


def attacks(plain):
    random = numpy.random.default_rng(6)
    unrelated = {n: noise_like(t, random) if tensorseal.carries(n, t) else t for n, t in plain.items()}
    yield "none", lambda t: t
    for name, dtype in [("bf16", ml_dtypes.bfloat16), ("f16", numpy.float16),
                        ("f8 e4m3", ml_dtypes.float8_e4m3fn), ("f8 e5m2", ml_dtypes.float8_e5m2)]:
        yield f"cast to {name}", cast(dtype)
    for name in ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]:
        yield f"quantised to {name}", quantised(name)
    for share in [0.3, 0.5, 0.7]:
        yield f"{share:.0%} pruned by magnitude", pruned(share)
    for share in [0.05, 0.2, 0.5, 1.0]:
        yield f"noise of {share:.0%} of the RMS", noisy(share)
    for share in [0.75, 0.5, 0.25]:
        yield f"merged, {share:.0%} marked, the rest unmarked", merged(share, plain)
    for share in [0.75, 0.5, 0.25]:
        yield f"merged, {share:.0%} marked, the rest unrelated", merged(share, unrelated)
    yield "every tensor rescaled", each(rescaled_tensor)
    yield "every row rescaled", each(rescaled_rows)
    yield "vocabulary cut from 30,522 to 20,000", cut_vocabulary
    yield "prefixes renamed", renamed
    yield "rows of every tensor permuted", each(permuted_rows)


def cells(found):
    z = "-" if found["z"] is None else f"{found['z']:.1f}"
    payload = "yes" if found["payload_ok"] else "no"
    return f"{found['verdict']} | {z} | {found['z_pilot']:.1f} | {found['log10_p']:.0f} | {payload}"


def main():
    original = tensorseal.MODEL / "model.safetensors"
    plain = tensorseal.weights(original)
    with tensorseal.workspace() as directory:
        file = f"{directory}/attacked.safetensors"
        key = tensorseal.keygen(f"{directory}/key")
        marked = {}
        for target in TARGETS:
            out = f"{directory}/marked-{target}.safetensors"
            mark = tensorseal.embed(original, key, out, "--payload", tensorseal.PAYLOAD, "--target-z", target)
            print(f"target {target}: alpha {mark['alpha']:.6f}, SNR {mark['snr_db']:.2f} dB, "
                  f"{mark['elements']} elements", file=sys.stderr)
            marked[target] = tensorseal.weights(out)
        print("| what was done | target | verdict | z | pilot z | log10 p | payload read | z against the original |")
        print("|---|---|---|---|---|---|---|---|")

        def row(what, target, informed=True):
            found = tensorseal.detect(file, key)
            against = tensorseal.detect(file, key, "--original", original) if informed else None
            best = "-" if against is None or against["mode"] == "blind" else f"{against['z'] or against['z_pilot']:.0f}"
            print(f"| {what} | {target} | {cells(found)} | {best} |", flush=True)

        for what, attack in attacks(plain):
            for target in TARGETS:
                tensorseal.save(attack(marked[target]), file)
                row(what, target)
        for target in TARGETS:
            tensorseal.save(marked[target], file)
            other = tensorseal.keygen(f"{directory}/other-{target}")
            over = f"{directory}/over-{target}.safetensors"
            tensorseal.embed(file, other, over, "--payload", "fedcba9876543210", "--target-z", 60)
            tensorseal.save(tensorseal.weights(over), file)
            row("another mark of target 60 over it", target)
            found = tensorseal.detect(file, other)
            print(f"| … and that other mark | 60 | {cells(found)} | - |", flush=True)
        tensorseal.save(plain, file)
        row("never marked", "-", informed=False)


if __name__ == "__main__":
    main()
