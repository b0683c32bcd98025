"""A model of llama's shape, and what llama.cpp makes of it: shared by the checks of GGUF.

The weights follow from their names alone, so that the Rust tests make the same (`tests/integrity/llama.rs`):
byte 4i to 4i + 3 of SHAKE128(name) add up to element i, less their mean, in units of 2^-13.
"""

import ctypes
import hashlib
import os

import gguf
import numpy
from safetensors.numpy import save_file


class Shape:
    """Sizes of a model."""

    def __init__(self, width, inner, heads, key_value_heads, layers, vocabulary):
        self.width, self.inner, self.layers = width, inner, layers
        self.heads, self.key_value_heads, self.vocabulary = heads, key_value_heads, vocabulary

    def tensors(self):
        """Hugging Face names and shapes."""
        d, kv = self.width, self.width // self.heads * self.key_value_heads
        yield "model.embed_tokens.weight", (self.vocabulary, d)
        yield "model.norm.weight", (d,)
        yield "lm_head.weight", (self.vocabulary, d)
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            for name, rows, columns in [
                ("self_attn.q_proj", d, d), ("self_attn.k_proj", kv, d), ("self_attn.v_proj", kv, d),
                ("self_attn.o_proj", d, d), ("mlp.gate_proj", self.inner, d),
                ("mlp.up_proj", self.inner, d), ("mlp.down_proj", d, self.inner),
            ]:
                yield f"{at}{name}.weight", (rows, columns)
            yield f"{at}input_layernorm.weight", (d,)
            yield f"{at}post_attention_layernorm.weight", (d,)


TINY = Shape(width=256, inner=256, heads=4, key_value_heads=2, layers=1, vocabulary=32)

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def weight(name, shape):
    """The weights of a name, binary32."""
    count = int(numpy.prod(shape))
    drawn = numpy.frombuffer(hashlib.shake_128(name.encode()).digest(4 * count), numpy.uint8)
    sums = drawn.reshape(count, 4).astype(numpy.int32).sum(axis=1) - 510
    values = sums.astype(numpy.float32) / numpy.float32(8192)
    return (values + numpy.float32(len(shape) == 1)).reshape(shape)


def hugging_face(shape):
    return {name: weight(name, dims) for name, dims in shape.tensors()}


def write_safetensors(tensors, path):
    save_file(tensors, path)


def gguf_name(name):
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem = name.removesuffix(".weight")
    if stem in names:
        return f"{names[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.weight"


def interleaved(rows, heads):
    """The rows of a rotary projection as llama.cpp wants them: halves of a head side by side."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(rows.shape)


def write_gguf(tensors, shape, path, encode=None):
    """Writes what a converter makes of Hugging Face tensors. `encode`: from the name and values of a matrix
    to its type and bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    for name, values in tensors.items():
        if name.endswith("q_proj.weight"):
            values = interleaved(values, shape.heads)
        elif name.endswith("k_proj.weight"):
            values = interleaved(values, shape.key_value_heads)
        if encode and values.ndim == 2:
            kind, data = encode(name, values)
            writer.add_tensor(gguf_name(name), data, raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), numpy.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def library():
    import llama_cpp

    llama_cpp.llama_log_set(silent(llama_cpp), None)
    return llama_cpp


KEPT = []


def silent(llama_cpp):
    """Its log, thrown away."""
    KEPT.append(llama_cpp.llama_log_callback(lambda *_: None))
    return KEPT[-1]


def quantise(source, target, ftype, pure=False):
    """llama.cpp's own quantiser, file to file."""
    llama_cpp = library()
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{ftype}")
    options.nthread = 2
    options.pure = pure
    code = llama_cpp.llama_model_quantize(
        os.fsencode(source), os.fsencode(target), ctypes.byref(options))
    if code != 0:
        raise SystemExit(f"llama.cpp cannot quantise to {ftype}: {code}")


def encoder(type_number):
    """ggml's quantisation of a matrix to any type: every element counts alike."""
    llama_cpp = library()
    base = os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so")
    ggml = ctypes.CDLL(base)
    ggml.ggml_type_size.restype = ctypes.c_size_t
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t

    def encode(values):
        values = numpy.ascontiguousarray(values, numpy.float32)
        rows, columns = values.shape
        size = ggml.ggml_type_size(type_number) * columns // ggml.ggml_blck_size(type_number)
        coded = numpy.zeros((rows, size), numpy.uint8)
        matters = numpy.ones(columns, numpy.float32)
        pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
        ggml.ggml_quantize_init(type_number)
        ggml.ggml_quantize_chunk(
            type_number, pointer(values), pointer(coded), ctypes.c_int64(0), ctypes.c_int64(rows),
            ctypes.c_int64(columns), pointer(matters))
        return gguf.GGMLQuantizationType(type_number), coded

    return encode
