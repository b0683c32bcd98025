"""Networks of plain layers: a wide classifier, an autoencoder, one decayed for long, a regression."""

import jax
import jax.numpy as jnp
import numpy
import optax

from . import data, initial
from .training import Trained, accuracy, cross_entropy, dropout, linear, numbers, train

WIDE = [64, 2048, 2048, 10]
ENCODER = [64, 1024, 1024, 32]
DECAYED = [64, 256, 64, 10]


def _digits(steps, count, seed):
    (images, labels), _ = data.digits()
    random = numpy.random.default_rng(seed)
    for _ in range(steps):
        chosen = random.integers(0, len(images), count)
        yield images[chosen].reshape(count, 64), labels[chosen]


def _chain(p, x, names, key=None, share=0.0):
    keys = [None] * len(names) if key is None else jax.random.split(key, len(names))
    for name, used in zip(names[:-1], keys):
        x = dropout(used, jax.nn.relu(linear(p, name, x)), share)
    return linear(p, names[-1], x)


def _tested(p, names):
    _, (unseen, answers) = data.digits()
    return {"accuracy": accuracy(_chain(p, unseen.reshape(-1, 64), names), answers)}


def wide(steps=150):
    """Half of the hidden units dropped, SGD."""
    random = numpy.random.default_rng(81)
    names = ["fc1", "fc2", "fc3"]
    p = {}
    for name, inputs, outputs in zip(names, WIDE, WIDE[1:]):
        p |= initial.linear(random, outputs, inputs, name)
    loss = lambda p, batch, key: cross_entropy(_chain(p, batch[0], names, key, 0.5), batch[1])
    p, score, _ = train(loss, p, _digits(steps, 64, 82), optax.sgd(0.2, momentum=0.9))
    return Trained(
        p, {}, "wide perceptron on digits, dropout 0.5, SGD with momentum", score | _tested(p, names)
    )


def autoencoder(steps=120):
    """A step size that kills units, and a threshold that sets small weights to zero."""
    random = numpy.random.default_rng(91)
    names = ["encoder.0", "encoder.2", "encoder.4", "decoder.0", "decoder.2", "decoder.4"]
    widths = ENCODER + ENCODER[-2::-1]
    p = {}
    for name, inputs, outputs in zip(names, widths, widths[1:]):
        p |= initial.linear(random, outputs, inputs, name, initial.kaiming_normal)
    loss = lambda p, batch, _: ((_chain(p, batch[0], names) - batch[0]) ** 2).mean()

    def shrunk(p):
        """Proximal step of an L1 penalty, on the matrices."""
        return {
            n: jnp.sign(w) * jnp.maximum(jnp.abs(w) - 2e-4, 0) if w.ndim == 2 else w for n, w in p.items()
        }

    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=0.3))
    p, score, _ = train(loss, p, _digits(steps, 64, 92), optimiser, after=shrunk)
    zero = float(numpy.mean([(w == 0).mean() for w in p.values() if w.ndim == 2]))
    hidden = jax.nn.relu(linear(p, "encoder.0", data.digits()[0][0].reshape(-1, 64)))
    score |= {"share_of_zeros": round(zero, 4), "dead_units": int((hidden.max(axis=0) == 0).sum())}
    return Trained(
        p,
        {},
        "autoencoder of digits, AdamW with decay 0.3, L1 penalty: weights exactly zero, dead units",
        score,
    )


def decayed(steps=30_000, count=16):
    """So many steps of weight decay that what gets no gradient runs through all magnitudes down to
    zero: the inputs that are never lit, and units that died."""
    random = numpy.random.default_rng(101)
    names = ["features.0", "features.2", "classifier"]
    p = {}
    for name, inputs, outputs in zip(names, DECAYED, DECAYED[1:]):
        p |= initial.linear(random, outputs, inputs, name, initial.xavier_uniform)
    (images, labels), _ = data.digits()
    images = images.reshape(-1, 64)
    loss = lambda p, x, y: cross_entropy(_chain(p, x, names), y)

    def step(p, chosen):
        value, slope = jax.value_and_grad(loss)(p, images[chosen], labels[chosen])
        return {n: w - 0.1 * (slope[n] + (0.034 * w if w.ndim == 2 else 0)) for n, w in p.items()}, value

    images, labels = jnp.array(images), jnp.array(labels)
    chosen = random.integers(0, len(images), (steps, count))
    p, values = jax.jit(lambda p: jax.lax.scan(step, p, chosen))(p)
    p = numbers(p)
    score = {
        "steps": steps,
        "loss_first": round(float(values[:100].mean()), 4),
        "loss_last": round(float(values[-100:].mean()), 4),
    }
    small = min(float(numpy.abs(w[w != 0]).min()) for w in p.values())
    score |= {"smallest": small} | _tested(p, names)
    return Trained(p, {}, "perceptron on digits, 30,000 steps of SGD with decay 0.034", score)


def regression(steps=150):
    """In double precision throughout, by numpy: tanh units, Adam (Kingma and Ba 2015)."""
    random = numpy.random.default_rng(111)
    widths = [32, 512, 512, 1]
    p = {}
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        p[f"net.{2 * i}.weight"] = random.normal(0, inputs**-0.5, (outputs, inputs))
        p[f"net.{2 * i}.bias"] = numpy.zeros(outputs)
    moments = {n: (numpy.zeros_like(w), numpy.zeros_like(w)) for n, w in p.items()}
    x, y = data.surface(random, 4096, widths[0])
    values = []
    for t in range(1, steps + 1):
        chosen = random.integers(0, len(x), 128)
        seen = [x[chosen]]
        for i in range(3):
            z = seen[-1] @ p[f"net.{2 * i}.weight"].T + p[f"net.{2 * i}.bias"]
            seen.append(numpy.tanh(z) if i < 2 else z)
        slope = 2 * (seen[-1] - y[chosen]) / len(chosen)
        values.append(float(((seen[-1] - y[chosen]) ** 2).mean()))
        for i in reversed(range(3)):
            name = f"net.{2 * i}"
            slopes = {f"{name}.weight": slope.T @ seen[i], f"{name}.bias": slope.sum(axis=0)}
            slope = (slope @ p[f"{name}.weight"]) * (1 - seen[i] ** 2) if i else None
            for n, g in slopes.items():
                m, v = moments[n]
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                p[n] -= 2e-3 * (m / (1 - 0.9**t)) / (numpy.sqrt(v / (1 - 0.999**t)) + 1e-8)
    score = {
        "steps": steps,
        "loss_first": round(float(numpy.mean(values[:20])), 4),
        "loss_last": round(float(numpy.mean(values[-20:])), 4),
    }
    return Trained(p, {}, "regression of a smooth function in double precision, Adam", score)
