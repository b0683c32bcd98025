"""Two convolutional networks on digits: a residual classifier with batch norms, and a denoiser."""

import functools

import jax
import jax.numpy as jnp
import numpy
import optax

from . import data, initial
from .training import Trained, accuracy, cross_entropy, linear, numbers, train

WIDTHS = [64, 128, 256, 512]
MOMENTUM = 0.9


def _convolved(p, name, x, stride=1):
    y = jax.lax.conv_general_dilated(
        x, p[f"{name}.weight"], (stride, stride), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")
    )
    return y + p[f"{name}.bias"][:, None, None] if f"{name}.bias" in p else y


def _batch_norm(p, name, x, seen):
    """By the batch, noting its mean and variance in `seen`; by the running statistics if they are in `p`."""
    if f"{name}.running_mean" in p:
        mean, variance = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    else:
        mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        seen[name] = (mean, variance)
    gain = p[f"{name}.weight"] * jax.lax.rsqrt(variance + 1e-5)
    return x * gain[:, None, None] + (p[f"{name}.bias"] - mean * gain)[:, None, None]


def _blocks():
    """Name, channels in and out, stride."""
    for i, (inputs, outputs) in enumerate(zip([WIDTHS[0], *WIDTHS], WIDTHS)):
        yield f"layer{i + 1}.0", inputs, outputs, 1 if inputs == outputs else 2


def _resnet_start(seed):
    random = numpy.random.default_rng(seed)
    p = initial.convolution(random, WIDTHS[0], 1, 3, "conv1") | initial.norm(WIDTHS[0], "bn1")
    for name, inputs, outputs, stride in _blocks():
        p |= initial.convolution(random, outputs, inputs, 3, f"{name}.conv1") | initial.norm(
            outputs, f"{name}.bn1"
        )
        p |= initial.convolution(random, outputs, outputs, 3, f"{name}.conv2") | initial.norm(
            outputs, f"{name}.bn2"
        )
        if stride == 2:
            p |= initial.convolution(random, outputs, inputs, 1, f"{name}.downsample.0")
            p |= initial.norm(outputs, f"{name}.downsample.1")
    return p | initial.linear(random, 10, WIDTHS[-1], "fc")


def _resnet_scores(p, images, seen):
    x = jax.nn.relu(_batch_norm(p, "bn1", _convolved(p, "conv1", images[:, None]), seen))
    for name, _, _, stride in _blocks():
        y = jax.nn.relu(_batch_norm(p, f"{name}.bn1", _convolved(p, f"{name}.conv1", x, stride), seen))
        y = _batch_norm(p, f"{name}.bn2", _convolved(p, f"{name}.conv2", y), seen)
        if stride == 2:
            x = _batch_norm(p, f"{name}.downsample.1", _convolved(p, f"{name}.downsample.0", x, 2), seen)
        x = jax.nn.relu(x + y)
    return linear(p, "fc", x.mean(axis=(2, 3)))


def _running(p, batches):
    """Running means and variances over the batches, beside a count, as PyTorch keeps them."""

    @jax.jit
    def statistics(images):
        seen = {}
        _resnet_scores(p, images, seen)
        return seen

    kept, count = {}, 0
    for images in batches:
        for name, (mean, variance) in statistics(images).items():
            for part, new, start in (("running_mean", mean, 0), ("running_var", variance, 1)):
                old = kept.get(f"{name}.{part}", start)
                kept[f"{name}.{part}"] = MOMENTUM * old + (1 - MOMENTUM) * new
        count += 1
    kept = numbers(kept)
    counts = {
        name.replace("running_mean", "num_batches_tracked"): numpy.array(count)
        for name in kept
        if name.endswith("mean")
    }
    return kept, kept | {name: value.astype(numpy.int64) for name, value in counts.items()}


def resnet(steps=36):
    """SGD with momentum and weight decay."""
    (images, labels), (unseen, answers) = data.digits()
    random = numpy.random.default_rng(62)
    chosen = (random.integers(0, len(images), 32) for _ in range(steps))
    optimiser = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.05, momentum=0.9))
    loss = lambda p, batch, _: cross_entropy(_resnet_scores(p, batch[0], {}), batch[1])
    p, score, _ = train(loss, _resnet_start(61), ((images[c], labels[c]) for c in chosen), optimiser)
    running, buffers = _running(p, (images[random.integers(0, len(images), 64)] for _ in range(20)))
    score["accuracy"] = accuracy(
        jax.jit(functools.partial(_resnet_scores, seen={}))(p | running, unseen), answers
    )
    return Trained(p, buffers, "residual network on digits, SGD with momentum, weight decay 5e-4", score)


def _group_norm(p, name, x, groups=8):
    batch, channels, height, width = x.shape
    split = x.reshape(batch, groups, -1)
    centred = split - split.mean(axis=2, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(axis=2, keepdims=True) + 1e-5)
    scaled = scaled.reshape(batch, channels, height, width)
    return scaled * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]


def _unet_blocks():
    """Name, channels in and out; the way up also gets what the way down had."""
    yield "down_blocks.0.resnets.0", 64, 64
    yield "down_blocks.1.resnets.0", 64, 128
    yield "mid_block.resnets.0", 128, 128
    yield "up_blocks.0.resnets.0", 256, 128
    yield "up_blocks.1.resnets.0", 192, 64


def _unet_start(seed):
    random = numpy.random.default_rng(seed)
    p = initial.convolution(random, 64, 1, 3, "conv_in", bias=True)
    p |= initial.linear(random, 256, 64, "time_embedding.linear_1") | initial.linear(
        random, 256, 256, "time_embedding.linear_2"
    )
    for name, inputs, outputs in _unet_blocks():
        p |= initial.norm(inputs, f"{name}.norm1") | initial.norm(outputs, f"{name}.norm2")
        p |= initial.convolution(random, outputs, inputs, 3, f"{name}.conv1", bias=True)
        p |= initial.convolution(random, outputs, outputs, 3, f"{name}.conv2", bias=True)
        p |= initial.linear(random, outputs, 256, f"{name}.time_emb_proj")
        if inputs != outputs:
            p |= initial.convolution(random, outputs, inputs, 1, f"{name}.conv_shortcut", bias=True)
    # The last layer begins at zero, as is usual.
    return (
        p
        | initial.norm(64, "conv_norm_out")
        | {
            "conv_out.weight": numpy.zeros((1, 64, 3, 3), numpy.float32),
            "conv_out.bias": numpy.zeros(1, numpy.float32),
        }
    )


def _unet_block(p, name, x, time):
    y = _convolved(p, f"{name}.conv1", jax.nn.silu(_group_norm(p, f"{name}.norm1", x)))
    y = y + linear(p, f"{name}.time_emb_proj", jax.nn.silu(time))[:, :, None, None]
    y = _convolved(p, f"{name}.conv2", jax.nn.silu(_group_norm(p, f"{name}.norm2", y)))
    return y + (_convolved(p, f"{name}.conv_shortcut", x) if f"{name}.conv_shortcut.weight" in p else x)


def _unet(p, images, level):
    """The noise in the images, given how strong it is."""
    angles = level[:, None] * 100 * 10000.0 ** (-jnp.arange(32) / 32)
    time = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
    time = linear(p, "time_embedding.linear_2", jax.nn.silu(linear(p, "time_embedding.linear_1", time)))
    a = _unet_block(p, "down_blocks.0.resnets.0", _convolved(p, "conv_in", images[:, None]), time)
    half = a.reshape(*a.shape[:2], 4, 2, 4, 2).mean(axis=(3, 5))
    b = _unet_block(p, "down_blocks.1.resnets.0", half, time)
    c = _unet_block(p, "mid_block.resnets.0", b, time)
    d = _unet_block(p, "up_blocks.0.resnets.0", jnp.concatenate([b, c], axis=1), time)
    d = jnp.repeat(jnp.repeat(d, 2, axis=2), 2, axis=3)
    e = _unet_block(p, "up_blocks.1.resnets.0", jnp.concatenate([a, d], axis=1), time)
    return _convolved(p, "conv_out", jax.nn.silu(_group_norm(p, "conv_norm_out", e)))[:, 0]


def _unet_loss(p, images, key):
    first, second = jax.random.split(key)
    level = jax.random.uniform(first, (len(images),))
    noise = jax.random.normal(second, images.shape)
    angle = level[:, None, None] * jnp.pi / 2
    return ((_unet(p, jnp.cos(angle) * images + jnp.sin(angle) * noise, level) - noise) ** 2).mean()


def unet(steps=50):
    """Predicts the noise on digits, Adam."""
    (images, _), _ = data.digits()
    images = 2 * images - 1
    random = numpy.random.default_rng(72)
    batches = (images[random.integers(0, len(images), 32)] for _ in range(steps))
    p, score, _ = train(_unet_loss, _unet_start(71), batches, optax.adam(2e-3))
    return Trained(p, {}, "denoiser of digits with group norms, Adam", score)
