"""Every checkpoint: which network, in which variant, and how it came to be."""

import dataclasses
import pathlib

import numpy
from safetensors.numpy import load_file

from . import casts, changes, convolutions, decoders, initial, perceptrons, sequences, transformers
from .decoders import LLAMA


@dataclasses.dataclass
class Checkpoint:
    network: str
    variant: str
    tensors: dict
    story: str
    score: dict


def _variants(network, trained, variants, kept=None):
    """The trained network under each cast named."""
    tensors = trained.weights | (trained.buffers if kept is None else kept)
    for variant, change in variants.items():
        yield Checkpoint(network, variant, change(tensors), trained.story, trained.score)


PLAIN = {
    "f32": dict,
    "bf16": casts.to_bf16,
    "bf16-truncated": casts.to_bf16_truncated,
    "f16": casts.to_f16,
}


def llama():
    trained = decoders.llama()
    weights = trained.weights
    yield from _variants(
        "llama",
        trained,
        PLAIN
        | {
            "f32-from-bf16": casts.by_way_of_bf16,
            "f16-from-bf16": lambda t: casts.by_way_of_bf16(t, numpy.float16),
            "bf16-norms-f32": casts.bf16_with_norms_in_f32,
            "fp8-e4m3": casts.to_fp8_e4m3,
            "fp8-e5m2": casts.to_fp8_e5m2,
            "int8": casts.to_int8,
            "f32-from-int8": lambda t: casts.dequantised(t, 127),
            "f32-from-int4": lambda t: casts.dequantised(t, 7),
            "bf16-from-int8": lambda t: casts.to_bf16(casts.dequantised(t, 127)),
            "f32-from-blocks-of-8-bits": lambda t: casts.from_blocks(t, 127),
            "bf16-from-blocks-of-4-bits": lambda t: casts.to_bf16(casts.from_blocks(t, 7)),
            "bf16-from-int4": lambda t: casts.to_bf16(casts.dequantised(t, 7)),
        },
    )

    def after(variant, tensors, story, score=None):
        told = {"before": trained.score} | score if score else trained.score
        return Checkpoint("llama", variant, tensors, f"{trained.story}; {story}", told)

    yield after("pruned-50", changes.pruned(weights, 0.5), "half of each matrix pruned by magnitude")
    yield after("pruned-90", changes.pruned(weights, 0.9), "nine tenths of each matrix pruned by magnitude")
    yield after(
        "pruned-2-of-4", casts.to_bf16(changes.two_of_four(weights)), "two of each four weights pruned, bf16"
    )
    yield after(
        "pruned-parts",
        changes.without_parts(weights, LLAMA, 161),
        "a group of heads and a third of the hidden units of each layer zero",
    )
    yield after(
        "equalised", changes.equalised(weights, LLAMA), "norms and columns rescaled against each other"
    )
    tuned, score = changes.fine_tuned(weights)
    yield after("fine-tuned", tuned, "fine-tuned on English sentences", score)
    yield after("fine-tuned-bf16", casts.to_bf16(tuned), "fine-tuned on English sentences, bf16", score)
    yield after(
        "averaged-bf16",
        casts.to_bf16(changes.averaged(weights, tuned)),
        "mean with its fine-tuned self, bf16",
        score,
    )
    grown, score = changes.grown(weights, LLAMA, 162)
    yield after(
        "grown", grown, "gains of some channels 30 times as large, a few massive weights, trained on", score
    )
    yield after("grown-bf16", casts.to_bf16(grown), "as grown, bf16", score)
    merged, adapter, score = changes.lora(weights, LLAMA)
    yield after("lora-merged", merged, "LoRA of rank 8 on queries and values, merged", score)
    yield after(
        "lora-merged-bf16", casts.to_bf16(merged), "LoRA of rank 8 on queries and values, merged, bf16", score
    )
    yield after("lora-adapter", adapter, "the LoRA factors alone", score)
    moments = {f"{n}.exp_avg": numpy.asarray(t) for n, t in trained.state.mu.items()}
    moments |= {f"{n}.exp_avg_sq": numpy.asarray(t) for n, t in trained.state.nu.items()}
    yield after("optimiser", moments, "first and second moments of Adam")


def mixture():
    yield from _variants(
        "mixture",
        decoders.mixture(),
        PLAIN | {"fp8-e4m3": casts.to_fp8_e4m3, "f32-from-int4": lambda t: casts.dequantised(t, 7)},
    )


def gpt2():
    trained = transformers.gpt2()
    yield from _variants("gpt2", trained, PLAIN)
    twice = trained.weights | {"lm_head.weight": trained.weights["wte.weight"].copy()}
    yield Checkpoint(
        "gpt2", "tied-stored-twice", twice, f"{trained.story}; the tied matrix stored twice", trained.score
    )
    yield Checkpoint(
        "gpt2",
        "masks",
        trained.weights | _masks(),
        f"{trained.story}; masks of -inf and of the lowest number",
        trained.score,
    )


def _masks():
    """Causal masks to be added to scores: of minus infinity, of the lowest finite number, and in half precision."""
    above = numpy.triu(numpy.ones((256, 256), bool), 1)
    low = numpy.finfo(numpy.float32).min
    return {
        "attn_mask": numpy.where(above, -numpy.inf, 0).astype(numpy.float32),
        "h.0.attn.causal_mask": numpy.where(above, low, 0).astype(numpy.float32),
        "h.1.attn.causal_mask": numpy.where(above, numpy.finfo(numpy.float16).min, 0).astype(numpy.float16),
        "h.2.attn.causal_mask": numpy.where(above, -numpy.inf, 0).astype(casts.BF16),
    }


def bert():
    yield from _variants(
        "bert",
        transformers.bert(),
        PLAIN | {"f32-from-bf16": casts.by_way_of_bf16, "f32-from-int8": lambda t: casts.dequantised(t, 127)},
    )


def vit():
    yield from _variants("vit", transformers.vit(), PLAIN | {"pruned-50": lambda t: changes.pruned(t, 0.5)})


def resnet():
    yield from _variants(
        "resnet", convolutions.resnet(), PLAIN | {"pruned-channels": changes.without_channels}
    )


def unet():
    yield from _variants("unet", convolutions.unet(), PLAIN)


def wide():
    trained = perceptrons.wide()
    more = {
        "pruned-50": lambda t: changes.pruned(t, 0.5),
        "pruned-90": lambda t: changes.pruned(t, 0.9),
        "pruned-90-bf16": lambda t: casts.to_bf16(changes.pruned(t, 0.9)),
        "f64": casts.to_f64,
        "int8": casts.to_int8,
    }
    yield from _variants("wide", trained, PLAIN | more)


def autoencoder():
    yield from _variants("autoencoder", perceptrons.autoencoder(), PLAIN)


def decayed():
    yield from _variants("decayed", perceptrons.decayed(), PLAIN)


def regression():
    trained = perceptrons.regression()
    single = lambda t: {n: w.astype(numpy.float32) for n, w in t.items()}
    yield from _variants(
        "regression", trained, {"f64": dict, "f32": single, "bf16": lambda t: casts.to_bf16(single(t))}
    )


def lstm():
    yield from _variants(
        "lstm", sequences.lstm(), PLAIN | {"f32-from-int8": lambda t: casts.dequantised(t, 127)}
    )


def word_vectors():
    yield from _variants("word-vectors", sequences.word_vectors(), PLAIN)


def untrained():
    """Weights as they are drawn, before any training."""
    story, score = "untrained", {}
    shapes = {
        f"layers.{i}.{name}.weight": shape
        for i in range(3)
        for name, shape in [("in_proj", (1536, 512)), ("out_proj", (512, 512)), ("fc", (2048, 512))]
    }
    for draw in (initial.xavier_uniform, initial.kaiming_uniform, initial.kaiming_normal, initial.orthogonal):
        random = numpy.random.default_rng(171)
        tensors = {n: draw(random, s) for n, s in shapes.items()}
        tensors |= {n.replace("weight", "bias"): numpy.zeros(s[0], numpy.float32) for n, s in shapes.items()}
        tensors |= {
            f"layers.{i}.norm.{part}": numpy.full(512, value, numpy.float32)
            for i in range(3)
            for part, value in (("weight", 1), ("bias", 0))
        }
        name = draw.__name__.replace("_", "-")
        yield Checkpoint("untrained", name, tensors, story, score)
        yield Checkpoint("untrained", f"{name}-bf16", casts.to_bf16(tensors), story, score)
    tensors = decoders.start(LLAMA, 172)
    yield Checkpoint("untrained", "normal", tensors, story, score)
    yield Checkpoint("untrained", "normal-bf16", casts.to_bf16(tensors), story, score)
    constant = {n: numpy.full(s, i % 2, numpy.float32) for i, (n, s) in enumerate(shapes.items())}
    yield Checkpoint("untrained", "zeros-and-ones", constant, story, score)


def published(directory):
    """Casts of the real encoder in the directory of test data."""
    files = sorted(pathlib.Path(directory).rglob("model.safetensors"))
    if not files:
        return
    tensors = load_file(files[0])
    variants = PLAIN | {
        "f32-from-bf16": casts.by_way_of_bf16,
        "f32-from-int8": lambda t: casts.dequantised(t, 127),
    }
    for variant, change in variants.items():
        yield Checkpoint("all-MiniLM-L6-v2", variant, change(tensors), "the published encoder", {})


FAMILIES = [
    llama,
    mixture,
    gpt2,
    bert,
    vit,
    resnet,
    unet,
    wide,
    autoencoder,
    decayed,
    regression,
    lstm,
    word_vectors,
    untrained,
]
