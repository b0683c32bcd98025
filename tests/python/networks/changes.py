"""What happens to a network after its first training: pruned, adapted, merged, rescaled."""

import jax
import numpy
import optax

from . import data, decoders, initial
from .casts import matrices
from .training import train


def pruned(tensors, share):
    """The given share of each matrix, by magnitude, set to zero."""
    return matrices(
        tensors,
        lambda t: numpy.where(numpy.abs(t) < numpy.quantile(numpy.abs(t), share), 0, t).astype(t.dtype),
    )


def two_of_four(tensors):
    """Of each four neighbours the two smaller ones set to zero."""

    def halved(t):
        if t.size % 4:
            return t
        fours = t.reshape(-1, 4).copy()
        numpy.put_along_axis(fours, numpy.argsort(numpy.abs(fours), axis=1)[:, :2], 0, axis=1)
        return fours.reshape(t.shape)

    return matrices(tensors, halved)


def without_parts(tensors, shape, seed):
    """Whole heads and a third of the hidden units removed, by zeros: rows on the way in, columns on the way out."""
    random = numpy.random.default_rng(seed)
    out = {n: t.copy() for n, t in tensors.items()}
    size = shape.width // shape.heads
    group = shape.heads // shape.key_heads * size
    for i in range(shape.layers):
        layer = f"model.layers.{i}"
        head = int(random.integers(shape.key_heads))
        for part, width in (("q", group), ("k", size), ("v", size)):
            out[f"{layer}.self_attn.{part}_proj.weight"][head * width : (head + 1) * width] = 0
        out[f"{layer}.self_attn.o_proj.weight"][:, head * group : (head + 1) * group] = 0
        gate = out[f"{layer}.mlp.gate_proj.weight"]
        gone = numpy.argsort((gate**2).sum(axis=1))[: shape.hidden // 3]
        gate[gone] = 0
        out[f"{layer}.mlp.up_proj.weight"][gone] = 0
        out[f"{layer}.mlp.down_proj.weight"][:, gone] = 0
    return out


def without_channels(tensors, share=0.25):
    """The weakest output channels of each kernel set to zero."""

    def cut(t):
        if t.ndim != 4:
            return t
        t = t.copy()
        t[numpy.argsort((t**2).sum(axis=(1, 2, 3)))[: int(share * len(t))]] = 0
        return t

    return matrices(tensors, cut)


def averaged(a, b):
    """The mean of two networks of one family."""
    return {n: ((a[n] + b[n]) / 2).astype(a[n].dtype) for n in a}


def _sentences(steps, seed):
    """Plain English, unlike what the decoder has seen."""
    stream = data.sentences(decoders.LLAMA.used)
    random = numpy.random.default_rng(seed)
    for _ in range(steps):
        starts = random.integers(0, len(stream) - 65, 8)
        yield stream[starts[:, None] + numpy.arange(65)]


_llama_loss = decoders.loss_of(decoders.LLAMA)
_gentle = optax.adamw(2e-4, weight_decay=0.0)


def fine_tuned(tensors, steps=12):
    """Every weight trained on, on sentences of English."""
    return train(_llama_loss, tensors, _sentences(steps, 141), _gentle)[:2]


def grown(tensors, shape, seed):
    """A few gains of norms thirty times as large and a few weights of sixty standard deviations, then
    trained on: such channels and weights arise in large language models."""
    random = numpy.random.default_rng(seed)
    out = {n: t.copy() for n, t in tensors.items()}
    channels = random.choice(shape.width, 2, replace=False)
    for i in range(shape.layers):
        out[f"model.layers.{i}.input_layernorm.weight"][channels[0]] *= 30
    out["model.layers.1.post_attention_layernorm.weight"][channels[1]] *= 30
    for i in range(1, shape.layers):
        down = out[f"model.layers.{i}.mlp.down_proj.weight"]
        places = random.integers(0, down.size, 3)
        down.reshape(-1)[places] = 60 * down.std() * numpy.sign(down.reshape(-1)[places])
    return fine_tuned(out)


def equalised(tensors, shape):
    """Gains of norms and columns behind them rescaled against each other: what SmoothQuant (Xiao et al.
    2023) and its like do before quantisation. The function is the same."""
    out = {n: t.copy() for n, t in tensors.items()}
    for i in range(shape.layers):
        layer = f"model.layers.{i}"
        for norm, parts in [
            ("input_layernorm", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
            ("post_attention_layernorm", ["mlp.gate_proj", "mlp.up_proj"]),
        ]:
            behind = [out[f"{layer}.{part}.weight"] for part in parts]
            largest = numpy.max([numpy.abs(w).max(axis=0) for w in behind], axis=0)
            scale = numpy.sqrt(largest / largest.mean()).astype(numpy.float32)
            out[f"{layer}.{norm}.weight"] *= scale
            for w in behind:
                w /= scale
    return out


def lora(tensors, shape, rank=8, steps=20):
    """Factors for queries and values (Hu et al. 2022), trained on sentences of English and merged."""
    random = numpy.random.default_rng(151)
    names = [f"model.layers.{i}.self_attn.{part}_proj.weight" for i in range(shape.layers) for part in "qv"]
    factors = {}
    for name in names:
        rows, columns = tensors[name].shape
        factors[f"{name}.a"] = initial.kaiming_uniform(random, (rank, columns))
        factors[f"{name}.b"] = numpy.zeros((rows, rank), numpy.float32)

    def merged(base, factors):
        return base | {n: base[n] + 2 * factors[f"{n}.b"] @ factors[f"{n}.a"] for n in names}

    loss = lambda factors, batch, key: _llama_loss(merged(batch[0], factors), batch[1], key)
    base = jax.device_put(tensors)
    batches = ((base, tokens) for tokens in _sentences(steps, 152))
    factors, score, _ = train(loss, factors, batches, optax.adam(1e-2))
    whole = merged(tensors, factors)
    adapter = {
        f"base_model.{n.replace('.weight.a', '.lora_A.weight').replace('.weight.b', '.lora_B.weight')}": t
        for n, t in factors.items()
    }
    return whole, adapter, score
