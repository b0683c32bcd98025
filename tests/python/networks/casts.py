"""What releases do to the numbers: other element types, and back."""

import ml_dtypes
import numpy

BF16 = numpy.dtype(ml_dtypes.bfloat16)


def floats(tensors, change):
    """Changes the tensors of single precision, leaves counts, flags and the like."""
    return {n: change(t) if t.dtype == numpy.float32 else t for n, t in tensors.items()}


def matrices(tensors, change):
    """Changes the matrices and kernels of single precision alone."""
    return floats(tensors, lambda t: change(t) if t.ndim >= 2 and min(t.shape[:2]) > 1 else t)


def to_bf16(tensors):
    """Rounded to the nearest, ties to even."""
    return floats(tensors, lambda t: t.astype(BF16))


def to_bf16_truncated(tensors):
    """The low half cut off."""
    return floats(tensors, lambda t: (t.view(numpy.uint32) >> 16).astype(numpy.uint16).view(BF16))


def to_f16(tensors):
    """Rounded to the nearest; what is too large saturates."""
    most = numpy.finfo(numpy.float16).max
    return floats(
        tensors, lambda t: numpy.where(numpy.isinf(t), t, t.clip(-most, most)).astype(numpy.float16)
    )


def to_f64(tensors):
    return floats(tensors, lambda t: t.astype(numpy.float64))


def by_way_of_bf16(tensors, dtype=numpy.float32):
    """Released in bfloat16, loaded and stored again in another type."""
    return floats(tensors, lambda t: t.astype(BF16).astype(dtype))


def bf16_with_norms_in_f32(tensors):
    return matrices(tensors, lambda t: t.astype(BF16))


def to_fp8_e4m3(tensors):
    """Matrices with one scale each, as inference engines want them; the rest in bfloat16."""
    out = {}
    for name, t in to_bf16(tensors).items():
        whole = tensors[name]
        if whole.dtype == numpy.float32 and whole.ndim == 2:
            scale = numpy.float32(max(float(numpy.abs(whole).max()), 1e-12) / 448)
            out[name] = (whole / scale).clip(-448, 448).astype(ml_dtypes.float8_e4m3fn)
            out[f"{name}_scale"] = numpy.array(scale)
        else:
            out[name] = t
    return out


def to_fp8_e5m2(tensors):
    """Without scales."""
    return floats(tensors, lambda t: t.astype(ml_dtypes.float8_e5m2))


def _quantised(t, most):
    """Codes from -most to most and a scale for each row."""
    rows = t.reshape(len(t), -1)
    scale = numpy.maximum(numpy.abs(rows).max(axis=1, keepdims=True) / most, 1e-12).astype(numpy.float32)
    return numpy.rint(rows / scale).clip(-most, most), scale


def to_int8(tensors):
    """Codes and the scales of rows, two tensors for one."""
    out = {}
    for name, t in tensors.items():
        if t.dtype == numpy.float32 and t.ndim == 2:
            codes, scale = _quantised(t, 127)
            out[name], out[f"{name}_scale"] = codes.astype(numpy.int8), scale
        else:
            out[name] = t
    return out


def dequantised(tensors, most, dtype=numpy.float32):
    """To integers per row and back: 127 for eight bits, 7 for four."""

    def back(t):
        codes, scale = _quantised(t, most)
        return (codes * scale).reshape(t.shape).astype(dtype)

    return matrices(tensors, back)


def from_blocks(tensors, most):
    """To integers in blocks of 32 with a scale in half precision, and back: near GGUF's Q8_0 and Q4_0."""

    def back(t):
        if t.size % 32:
            return t
        blocks = t.reshape(-1, 32)
        scale = (
            (numpy.abs(blocks).max(axis=1, keepdims=True) / most).astype(numpy.float16).astype(numpy.float32)
        )
        codes = numpy.rint(numpy.divide(blocks, scale, out=numpy.zeros_like(blocks), where=scale > 0))
        return (codes.clip(-most, most) * scale).reshape(t.shape)

    return matrices(tensors, back)
