"""Decoders of text with rotary positions and gated layers: dense and as a mixture of experts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy
import optax

from . import data, initial
from .training import Trained, attention, cross_entropy, linear, train


@dataclasses.dataclass(frozen=True)
class Shape:
    vocabulary: int
    used: int
    width: int
    layers: int
    heads: int
    key_heads: int
    hidden: int
    experts: int = 0


LLAMA = Shape(vocabulary=6144, used=6000, width=256, layers=4, heads=8, key_heads=4, hidden=688)
MIXTURE = Shape(vocabulary=2048, used=2048, width=160, layers=3, heads=4, key_heads=4, hidden=320, experts=4)


def start(shape, seed):
    """Normal weights of deviation 0.02. Rows that no token uses are reserved: all alike."""
    random = numpy.random.default_rng(seed)
    size = shape.width // shape.heads

    def matrix(name, outputs, inputs):
        return {f"{name}.weight": initial.normal(random, (outputs, inputs))}

    p = matrix("model.embed_tokens", shape.vocabulary, shape.width)
    embedding = p["model.embed_tokens.weight"]
    embedding[shape.used :] = embedding[: shape.used].mean(axis=0)
    for i in range(shape.layers):
        layer = f"model.layers.{i}"
        for part, outputs in [("q", shape.heads), ("k", shape.key_heads), ("v", shape.key_heads)]:
            p |= matrix(f"{layer}.self_attn.{part}_proj", outputs * size, shape.width)
        p |= matrix(f"{layer}.self_attn.o_proj", shape.width, shape.width)
        if shape.experts:
            moe = f"{layer}.block_sparse_moe"
            p |= matrix(f"{moe}.gate", shape.experts, shape.width)
            for e in range(shape.experts):
                p |= matrix(f"{moe}.experts.{e}.w1", shape.hidden, shape.width)
                p |= matrix(f"{moe}.experts.{e}.w2", shape.width, shape.hidden)
                p |= matrix(f"{moe}.experts.{e}.w3", shape.hidden, shape.width)
        else:
            p |= matrix(f"{layer}.mlp.gate_proj", shape.hidden, shape.width)
            p |= matrix(f"{layer}.mlp.up_proj", shape.hidden, shape.width)
            p |= matrix(f"{layer}.mlp.down_proj", shape.width, shape.hidden)
        p |= initial.norm(shape.width, f"{layer}.input_layernorm", bias=False)
        p |= initial.norm(shape.width, f"{layer}.post_attention_layernorm", bias=False)
    p |= initial.norm(shape.width, "model.norm", bias=False)
    return p | matrix("lm_head", shape.vocabulary, shape.width)


def frequencies(shape):
    """Rotary frequencies, Su et al. 2021."""
    size = shape.width // shape.heads
    return (10000.0 ** -(numpy.arange(0, size, 2) / size)).astype(numpy.float32)


def buffers(shape):
    """What older releases stored beside the weights."""
    every = {
        f"model.layers.{i}.self_attn.rotary_emb.inv_freq": frequencies(shape) for i in range(shape.layers)
    }
    return every


def _rms_norm(p, name, x):
    return x * jax.lax.rsqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * p[f"{name}.weight"]


def _rotated(x, shape):
    batch, length, _ = x.shape
    angles = jnp.arange(length)[:, None] * frequencies(shape)
    cosine, sine = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    a, b = jnp.split(x.reshape(batch, length, -1, shape.width // shape.heads), 2, axis=-1)
    return jnp.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1).reshape(x.shape)


def _experts(p, moe, x, shape):
    """The two best of the experts, weighted by the gate."""
    gate = linear(p, f"{moe}.gate", x)
    second = jax.lax.top_k(gate, 2)[0][..., 1:]
    weight = jax.nn.softmax(jnp.where(gate >= second, gate, -1e9))
    total = 0
    for e in range(shape.experts):
        part = f"{moe}.experts.{e}"
        hidden = jax.nn.silu(linear(p, f"{part}.w1", x)) * linear(p, f"{part}.w3", x)
        total += weight[..., e : e + 1] * linear(p, f"{part}.w2", hidden)
    return total


def scores(p, tokens, shape):
    """Scores of the next token at each place."""
    length = tokens.shape[1]
    mask = jnp.tril(jnp.ones((length, length), bool))
    x = p["model.embed_tokens.weight"][tokens]
    for i in range(shape.layers):
        layer = f"model.layers.{i}"
        h = _rms_norm(p, f"{layer}.input_layernorm", x)
        q, k, v = (linear(p, f"{layer}.self_attn.{part}_proj", h) for part in "qkv")
        mixed = attention(_rotated(q, shape), _rotated(k, shape), v, shape.heads, mask)
        x = x + linear(p, f"{layer}.self_attn.o_proj", mixed)
        h = _rms_norm(p, f"{layer}.post_attention_layernorm", x)
        if shape.experts:
            x = x + _experts(p, f"{layer}.block_sparse_moe", h, shape)
        else:
            hidden = jax.nn.silu(linear(p, f"{layer}.mlp.gate_proj", h)) * linear(
                p, f"{layer}.mlp.up_proj", h
            )
            x = x + linear(p, f"{layer}.mlp.down_proj", hidden)
    return linear(p, "lm_head", _rms_norm(p, "model.norm", x))


def loss_of(shape):
    def loss(p, tokens, _key=None):
        return cross_entropy(scores(p, tokens[:, :-1], shape), tokens[:, 1:])

    return loss


def tested(p, shape, stream):
    """The loss on text that was held out."""
    value = jax.jit(loss_of(shape))(p, data.held_out(stream, 32, 64))
    return {
        "held_out_loss": round(float(value), 4),
        "uniform_loss": round(float(numpy.log(shape.vocabulary)), 4),
    }


def batches(stream, steps, count, seed):
    random = numpy.random.default_rng(seed)
    return (data.windows(stream, count, 65, random) for _ in range(steps))


def llama(steps=45):
    """Dense, AdamW with decay of 0.1."""
    stream = data.tokens(LLAMA.used)
    rate = optax.warmup_cosine_decay_schedule(0, 3e-3, 10, steps, 3e-4)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.1))
    p, score, state = train(loss_of(LLAMA), start(LLAMA, 11), batches(stream, steps, 12, 12), optimiser)
    moments = next(s for s in jax.tree.leaves(state, is_leaf=_has_moments) if _has_moments(s))
    story = "llama-like decoder on program text, AdamW, weight decay 0.1, cosine schedule"
    return Trained(p, buffers(LLAMA), story, score | tested(p, LLAMA, stream), moments)


def _has_moments(value):
    return isinstance(value, optax.ScaleByAdamState)


def mixture(steps=40):
    """A mixture of four experts, Adafactor."""
    stream = data.tokens(MIXTURE.used)
    optimiser = optax.adafactor(1e-2, min_dim_size_to_factor=64)
    p, score, _ = train(loss_of(MIXTURE), start(MIXTURE, 21), batches(stream, steps, 12, 22), optimiser)
    story = "mixture of four experts on program text, Adafactor"
    return Trained(p, {}, story, score | tested(p, MIXTURE, stream))
