"""The training loop: gradients by JAX, rules of update by optax."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy
import optax


@dataclasses.dataclass
class Trained:
    """A trained network: weights by tensor name, and how it came to be."""

    weights: dict
    buffers: dict
    story: str
    score: dict
    state: object = None


@functools.cache
def _step(loss, optimiser, after):
    """One step; compiled once for each way to train."""

    @jax.jit
    def step(weights, state, batch, key):
        value, slope = jax.value_and_grad(loss)(weights, batch, key)
        updates, state = optimiser.update(slope, state, weights)
        weights = optax.apply_updates(weights, updates)
        return (after(weights) if after else weights), state, value

    return step


def train(loss, weights, batches, optimiser, seed=0, after=None):
    """Goes once over the batches. `loss(weights, batch, key)` gives a number; `after` is applied to the
    weights behind each step. Gives weights, first and last loss, and the state of the optimiser."""
    state, step = optimiser.init(weights), _step(loss, optimiser, after)
    values, key = [], jax.random.key(seed)
    for batch in batches:
        key, used = jax.random.split(key)
        weights, state, value = step(weights, state, batch, used)
        values.append(value)
    values = numpy.array(values)
    assert numpy.isfinite(values).all(), "the training diverged"
    few = max(1, len(values) // 10)
    first, last = float(values[:few].mean()), float(values[-few:].mean())
    assert last < first, f"nothing was learned: {first} to {last}"
    score = {"steps": len(values), "loss_first": round(first, 4), "loss_last": round(last, 4)}
    return numbers(weights), score, state


def numbers(weights):
    """As numpy arrays."""
    return {name: numpy.asarray(value) for name, value in weights.items()}


def cross_entropy(scores, labels):
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def accuracy(scores, labels):
    return round(float((numpy.asarray(scores).argmax(axis=-1) == labels).mean()), 4)


def dropout(key, x, share):
    """Srivastava et al. 2014; without a key nothing is dropped."""
    if key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - share, x.shape), x / (1 - share), 0)


def layer_norm(p, name, x, epsilon=1e-5):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(p, name, x):
    """A layer of rows of outputs, with a bias where there is one."""
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def attention(q, k, v, heads, mask=None):
    """Scaled dot products over [batch, place, width]; keys and values may have fewer heads."""
    batch, length, width = q.shape
    size = width // heads

    def split(x):
        x = x.reshape(batch, length, -1, size)
        return jnp.repeat(x, heads // x.shape[2], axis=2)

    q, k, v = split(q), split(k), split(v)
    scores = jnp.einsum("bihd,bjhd->bhij", q, k) / size**0.5
    scores = scores if mask is None else jnp.where(mask, scores, -1e9)
    mixed = jnp.einsum("bhij,bjhd->bihd", jax.nn.softmax(scores), v)
    return mixed.reshape(batch, length, width)
