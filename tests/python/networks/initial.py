"""Initial weights as the frameworks draw them, by numpy alone."""

import numpy

SINGLE = numpy.float32


def normal(random, shape, deviation=0.02):
    return random.normal(0, deviation, shape).astype(SINGLE)


def _fans(shape):
    """Inputs and outputs of a unit: rows are outputs, further dimensions a receptive field."""
    field = int(numpy.prod(shape[2:]))
    return shape[1] * field, shape[0] * field


def kaiming_uniform(random, shape):
    """What `nn.Linear` and `nn.Conv2d` start with: a bound of 1 / sqrt(inputs)."""
    bound = _fans(shape)[0] ** -0.5
    return random.uniform(-bound, bound, shape).astype(SINGLE)


def kaiming_normal(random, shape):
    """He et al. 2015."""
    return normal(random, shape, (2 / _fans(shape)[0]) ** 0.5)


def xavier_uniform(random, shape):
    """Glorot and Bengio 2010."""
    bound = (6 / sum(_fans(shape))) ** 0.5
    return random.uniform(-bound, bound, shape).astype(SINGLE)


def orthogonal(random, shape):
    """Saxe et al. 2014."""
    tall = random.normal(size=(max(shape), min(shape)))
    q, r = numpy.linalg.qr(tall)
    q *= numpy.sign(numpy.diagonal(r))
    return (q if shape[0] >= shape[1] else q.T).astype(SINGLE)


def linear(random, outputs, inputs, name, draw=kaiming_uniform, bias=True):
    """A linear layer under its name; the bias starts at zero."""
    layer = {f"{name}.weight": draw(random, (outputs, inputs))}
    return layer | ({f"{name}.bias": numpy.zeros(outputs, SINGLE)} if bias else {})


def convolution(random, outputs, inputs, size, name, draw=kaiming_normal, bias=False):
    """A convolution of `size` by `size`."""
    layer = {f"{name}.weight": draw(random, (outputs, inputs, size, size))}
    return layer | ({f"{name}.bias": numpy.zeros(outputs, SINGLE)} if bias else {})


def norm(width, name, bias=True):
    """The gain and offset of a normalisation."""
    layer = {f"{name}.weight": numpy.ones(width, SINGLE)}
    return layer | ({f"{name}.bias": numpy.zeros(width, SINGLE)} if bias else {})
