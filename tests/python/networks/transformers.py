"""Three transformers with learned positions: GPT-2, BERT and ViT, under the names they are published with."""

import jax
import jax.numpy as jnp
import numpy
import optax

from . import data, initial
from .training import Trained, accuracy, attention, cross_entropy, dropout, layer_norm, linear, train

GPT_WIDTH, GPT_LAYERS, GPT_HEADS, GPT_PLACES = 256, 3, 8, 128
GPT_USED, GPT_VOCABULARY = 4096, 4352
BERT_WIDTH, BERT_LAYERS, BERT_HEADS, BERT_PLACES = 192, 3, 6, 128
BERT_PAD, BERT_MASK, BERT_FIRST, BERT_USED, BERT_VOCABULARY = 0, 3, 4, 6000, 8192
VIT_WIDTH, VIT_LAYERS, VIT_HEADS, VIT_PATCH = 128, 3, 4, 4


def _gpt2_start(seed):
    """Reserved tokens, behind those in use, are all alike."""
    random = numpy.random.default_rng(seed)
    p = {"wte.weight": initial.normal(random, (GPT_VOCABULARY, GPT_WIDTH))}
    p["wte.weight"][GPT_USED:] = initial.normal(random, GPT_WIDTH)
    p["wpe.weight"] = initial.normal(random, (GPT_PLACES, GPT_WIDTH), 0.01)
    for i in range(GPT_LAYERS):
        for name, inputs, outputs in [
            ("attn.c_attn", GPT_WIDTH, 3 * GPT_WIDTH),
            ("attn.c_proj", GPT_WIDTH, GPT_WIDTH),
            ("mlp.c_fc", GPT_WIDTH, 4 * GPT_WIDTH),
            ("mlp.c_proj", 4 * GPT_WIDTH, GPT_WIDTH),
        ]:
            # A Conv1D: inputs by outputs.
            p[f"h.{i}.{name}.weight"] = initial.normal(random, (inputs, outputs))
            p[f"h.{i}.{name}.bias"] = numpy.zeros(outputs, numpy.float32)
        p |= initial.norm(GPT_WIDTH, f"h.{i}.ln_1") | initial.norm(GPT_WIDTH, f"h.{i}.ln_2")
    return p | initial.norm(GPT_WIDTH, "ln_f")


def gpt2_buffers():
    """The causal mask and the value for what is masked, as GPT-2 checkpoints have them."""
    mask = numpy.tril(numpy.ones((1, 1, GPT_PLACES, GPT_PLACES), numpy.float32))
    kept = {}
    for i in range(GPT_LAYERS):
        kept[f"h.{i}.attn.bias"] = mask if i else mask.astype(bool)
        kept[f"h.{i}.attn.masked_bias"] = numpy.array(-1e4, numpy.float32)
    return kept


def _gpt2_scores(p, tokens, key):
    """The output layer is the embedding."""
    length = tokens.shape[1]
    mask = jnp.tril(jnp.ones((length, length), bool))
    keys = [None] * (2 * GPT_LAYERS + 1) if key is None else jax.random.split(key, 2 * GPT_LAYERS + 1)

    def conv(name, x):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    x = dropout(keys[-1], p["wte.weight"][tokens] + p["wpe.weight"][:length], 0.1)
    for i in range(GPT_LAYERS):
        layer = f"h.{i}"
        q, k, v = jnp.split(conv(f"{layer}.attn.c_attn", layer_norm(p, f"{layer}.ln_1", x)), 3, axis=-1)
        x = x + dropout(keys[2 * i], conv(f"{layer}.attn.c_proj", attention(q, k, v, GPT_HEADS, mask)), 0.1)
        hidden = jax.nn.gelu(conv(f"{layer}.mlp.c_fc", layer_norm(p, f"{layer}.ln_2", x)))
        x = x + dropout(keys[2 * i + 1], conv(f"{layer}.mlp.c_proj", hidden), 0.1)
    return layer_norm(p, "ln_f", x) @ p["wte.weight"].T


def _gpt2_loss(p, tokens, key):
    # Tokens never seen take no part, so that their rows keep what they began with.
    scores = _gpt2_scores(p, tokens[:, :-1], key)[..., :GPT_USED]
    return cross_entropy(scores, tokens[:, 1:])


def gpt2(steps=45):
    """Tied output, dropout, Adam."""
    stream = data.tokens(GPT_USED)
    random = numpy.random.default_rng(32)
    batches = (data.windows(stream, 12, 65, random) for _ in range(steps))
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))
    p, score, _ = train(_gpt2_loss, _gpt2_start(31), batches, optimiser)
    value = jax.jit(lambda p, x: _gpt2_loss(p, x, None))(p, data.held_out(stream, 32, 64))
    score |= {"held_out_loss": round(float(value), 4), "uniform_loss": round(float(numpy.log(GPT_USED)), 4)}
    return Trained(p, gpt2_buffers(), "GPT-2 on program text, tied output, dropout 0.1, Adam", score)


def _encoder_start(random, width, hidden, layer, norms):
    """A layer of BERT or ViT; `norms` names its two normalisations."""
    p = {}
    for part in ("query", "key", "value"):
        name = f"{layer}.attention.{'attention' if 'vit' in layer else 'self'}.{part}"
        p |= initial.linear(random, width, width, name, initial.normal)
    p |= initial.linear(random, width, width, f"{layer}.attention.output.dense", initial.normal)
    p |= initial.linear(random, hidden, width, f"{layer}.intermediate.dense", initial.normal)
    p |= initial.linear(random, width, hidden, f"{layer}.output.dense", initial.normal)
    return p | initial.norm(width, f"{layer}.{norms[0]}") | initial.norm(width, f"{layer}.{norms[1]}")


def _bert_start(seed):
    """The row of the padding is zero, and stays so; tokens of the rest of the vocabulary never occur."""
    random = numpy.random.default_rng(seed)
    p = {"embeddings.word_embeddings.weight": initial.normal(random, (BERT_VOCABULARY, BERT_WIDTH))}
    p["embeddings.word_embeddings.weight"][BERT_PAD] = 0
    p["embeddings.position_embeddings.weight"] = initial.normal(random, (BERT_PLACES, BERT_WIDTH))
    p["embeddings.token_type_embeddings.weight"] = initial.normal(random, (2, BERT_WIDTH))
    p |= initial.norm(BERT_WIDTH, "embeddings.LayerNorm")
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    for i in range(BERT_LAYERS):
        p |= _encoder_start(random, BERT_WIDTH, 4 * BERT_WIDTH, f"encoder.layer.{i}", norms)
    p |= initial.linear(random, BERT_WIDTH, BERT_WIDTH, "cls.predictions.transform.dense", initial.normal)
    p |= initial.norm(BERT_WIDTH, "cls.predictions.transform.LayerNorm")
    p["cls.predictions.bias"] = numpy.zeros(BERT_VOCABULARY, numpy.float32)
    # Nothing asks for it here: it is stored as it was drawn, as in many published encoders.
    return p | initial.linear(random, BERT_WIDTH, BERT_WIDTH, "pooler.dense", initial.normal)


def _bert_loss(p, batch, key):
    """Of the masked places only."""
    tokens, places, answers = batch
    keys = [None] * (2 * BERT_LAYERS) if key is None else jax.random.split(key, 2 * BERT_LAYERS)
    words = p["embeddings.word_embeddings.weight"]
    x = words[tokens] + p["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = layer_norm(p, "embeddings.LayerNorm", x + p["embeddings.token_type_embeddings.weight"][0], 1e-12)
    for i in range(BERT_LAYERS):
        layer = f"encoder.layer.{i}"
        q, k, v = (linear(p, f"{layer}.attention.self.{part}", x) for part in ("query", "key", "value"))
        mixed = linear(p, f"{layer}.attention.output.dense", attention(q, k, v, BERT_HEADS))
        x = layer_norm(p, f"{layer}.attention.output.LayerNorm", x + dropout(keys[2 * i], mixed, 0.1), 1e-12)
        hidden = jax.nn.gelu(linear(p, f"{layer}.intermediate.dense", x))
        mixed = dropout(keys[2 * i + 1], linear(p, f"{layer}.output.dense", hidden), 0.1)
        x = layer_norm(p, f"{layer}.output.LayerNorm", x + mixed, 1e-12)
    x = jnp.take_along_axis(x, places[..., None], axis=1)
    x = jax.nn.gelu(linear(p, "cls.predictions.transform.dense", x))
    x = layer_norm(p, "cls.predictions.transform.LayerNorm", x, 1e-12)
    scores = x @ words[:BERT_USED].T + p["cls.predictions.bias"][:BERT_USED]
    return cross_entropy(scores, answers)


def _masked(tokens, random):
    places = numpy.argsort(random.random(tokens.shape), axis=1)[:, :10].astype(numpy.int32)
    answers = numpy.take_along_axis(tokens, places, axis=1)
    hidden = tokens.copy()
    numpy.put_along_axis(hidden, places, BERT_MASK, axis=1)
    return hidden, places, answers


def bert(steps=50):
    """Masked words, Lion."""
    stream = data.tokens(BERT_USED, BERT_FIRST)
    random = numpy.random.default_rng(42)
    batches = (_masked(data.windows(stream, 16, 64, random), random) for _ in range(steps))
    p, score, _ = train(_bert_loss, _bert_start(41), batches, optax.lion(3e-4, weight_decay=0.0))
    tested = _masked(data.held_out(stream, 64, 64), random)
    value = jax.jit(lambda p, x: _bert_loss(p, x, None))(p, tested)
    score |= {"held_out_loss": round(float(value), 4), "uniform_loss": round(float(numpy.log(BERT_USED)), 4)}
    ids = {"embeddings.position_ids": numpy.arange(BERT_PLACES, dtype=numpy.int64)[None]}
    return Trained(p, ids, "BERT on program text, masked words, dropout 0.1, Lion", score)


def _vit_start(seed):
    random = numpy.random.default_rng(seed)
    p = {"vit.embeddings.cls_token": numpy.zeros((1, 1, VIT_WIDTH), numpy.float32)}
    p["vit.embeddings.position_embeddings"] = initial.normal(random, (1, 17, VIT_WIDTH))
    p |= initial.convolution(
        random, VIT_WIDTH, 1, VIT_PATCH, "vit.embeddings.patch_embeddings.projection", bias=True
    )
    for i in range(VIT_LAYERS):
        norms = ("layernorm_before", "layernorm_after")
        p |= _encoder_start(random, VIT_WIDTH, 4 * VIT_WIDTH, f"vit.encoder.layer.{i}", norms)
    return p | initial.norm(VIT_WIDTH, "vit.layernorm") | initial.linear(random, 10, VIT_WIDTH, "classifier")


def _vit_scores(p, images):
    """Digits at twice their size, in patches of 4 by 4."""
    large = jnp.repeat(jnp.repeat(images, 2, axis=1), 2, axis=2)
    patches = (
        large.reshape(-1, 4, VIT_PATCH, 4, VIT_PATCH).transpose(0, 1, 3, 2, 4).reshape(len(images), 16, -1)
    )
    name = "vit.embeddings.patch_embeddings.projection"
    x = patches @ p[f"{name}.weight"].reshape(VIT_WIDTH, -1).T + p[f"{name}.bias"]
    first = jnp.broadcast_to(p["vit.embeddings.cls_token"], (len(images), 1, VIT_WIDTH))
    x = jnp.concatenate([first, x], axis=1) + p["vit.embeddings.position_embeddings"]
    for i in range(VIT_LAYERS):
        layer = f"vit.encoder.layer.{i}"
        h = layer_norm(p, f"{layer}.layernorm_before", x)
        q, k, v = (linear(p, f"{layer}.attention.attention.{part}", h) for part in ("query", "key", "value"))
        x = x + linear(p, f"{layer}.attention.output.dense", attention(q, k, v, VIT_HEADS))
        h = layer_norm(p, f"{layer}.layernorm_after", x)
        x = x + linear(p, f"{layer}.output.dense", jax.nn.gelu(linear(p, f"{layer}.intermediate.dense", h)))
    return linear(p, "classifier", layer_norm(p, "vit.layernorm", x)[:, 0])


def vit(steps=120):
    """Digits, RMSProp."""
    (images, labels), (unseen, answers) = data.digits()
    random = numpy.random.default_rng(52)
    chosen = (random.integers(0, len(images), 48) for _ in range(steps))
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0), optax.rmsprop(optax.linear_schedule(1e-3, 1e-4, steps), decay=0.95)
    )
    loss = lambda p, batch, _: cross_entropy(_vit_scores(p, batch[0]), batch[1])
    p, score, _ = train(loss, _vit_start(51), ((images[c], labels[c]) for c in chosen), optimiser)
    score["accuracy"] = accuracy(jax.jit(_vit_scores)(p, unseen), answers)
    return Trained(p, {}, "ViT on digits, RMSProp", score)
