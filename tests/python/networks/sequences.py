"""A recurrent network over characters, and word vectors."""

import jax
import jax.numpy as jnp
import numpy
import optax

from . import data, initial
from .training import Trained, cross_entropy, linear, train

CHARACTERS, EMBEDDED, HIDDEN, LAYERS = 128, 128, 512, 2
WORDS, USED, VECTOR = 20_000, 16_000, 128


def _lstm_start(seed):
    """As PyTorch begins: every matrix and bias uniform, orthogonal between steps."""
    random = numpy.random.default_rng(seed)
    p = {"embedding.weight": initial.normal(random, (CHARACTERS, EMBEDDED), 1.0)}
    for i in range(LAYERS):
        inputs = HIDDEN if i else EMBEDDED
        p[f"rnn.weight_ih_l{i}"] = initial.kaiming_uniform(random, (4 * HIDDEN, inputs))
        p[f"rnn.weight_hh_l{i}"] = initial.orthogonal(random, (4 * HIDDEN, HIDDEN))
        bias = numpy.zeros(4 * HIDDEN, numpy.float32)
        # The forget gate begins open: Jozefowicz et al. 2015.
        bias[HIDDEN : 2 * HIDDEN] = 1
        p[f"rnn.bias_ih_l{i}"], p[f"rnn.bias_hh_l{i}"] = bias, numpy.zeros_like(bias)
    return p | initial.linear(random, CHARACTERS, HIDDEN, "decoder")


def _lstm_scores(p, x):
    x = p["embedding.weight"][x].transpose(1, 0, 2)
    for i in range(LAYERS):
        x = x @ p[f"rnn.weight_ih_l{i}"].T + p[f"rnn.bias_ih_l{i}"] + p[f"rnn.bias_hh_l{i}"]

        def step(carry, given, weight=p[f"rnn.weight_hh_l{i}"]):
            hidden, cell = carry
            enter, forget, new, leave = jnp.split(given + hidden @ weight.T, 4, axis=-1)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
            hidden = jax.nn.sigmoid(leave) * jnp.tanh(cell)
            return (hidden, cell), hidden

        zero = jnp.zeros((x.shape[1], HIDDEN))
        _, x = jax.lax.scan(step, (zero, zero), x)
    return linear(p, "decoder", x).transpose(1, 0, 2)


def lstm(steps=40):
    """Adam with a clipped gradient."""
    stream = data.characters()
    random = numpy.random.default_rng(122)
    batches = (data.windows(stream, 16, 29, random) for _ in range(steps))
    loss = lambda p, x, _: cross_entropy(_lstm_scores(p, x[:, :-1]), x[:, 1:])
    optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(2e-3))
    p, score, _ = train(loss, _lstm_start(121), batches, optimiser)
    return Trained(p, {}, "LSTM of two layers on characters, Adam, clipped", score)


def word_vectors(steps=250):
    """Skip-gram with negative sampling (Mikolov et al. 2013), Adagrad: rows of words that do not occur keep
    their first values, the output vectors of those are zero."""
    stream = data.tokens(USED)
    random = numpy.random.default_rng(131)
    p = {
        "in_embeddings.weight": random.uniform(-0.5, 0.5, (WORDS, VECTOR)).astype(numpy.float32) / VECTOR,
        "out_embeddings.weight": numpy.zeros((WORDS, VECTOR), numpy.float32),
    }
    count = 2048

    def batches():
        for _ in range(steps):
            at = random.integers(4, len(stream) - 4, count)
            near = at + random.choice([-2, -1, 1, 2], count)
            others = stream[random.integers(0, len(stream), (count, 5))]
            yield stream[at], numpy.concatenate([stream[near][:, None], others], axis=1)

    def loss(p, batch, _):
        centre, others = batch
        scores = jnp.einsum(
            "bd,bkd->bk", p["in_embeddings.weight"][centre], p["out_embeddings.weight"][others]
        )
        signs = jnp.array([1.0] + [-1.0] * 5)
        return -jax.nn.log_sigmoid(signs * scores).sum(axis=1).mean()

    p, score, _ = train(loss, p, batches(), optax.adagrad(0.3))
    return Trained(p, {}, "skip-gram word vectors with negative samples, Adagrad", score)
