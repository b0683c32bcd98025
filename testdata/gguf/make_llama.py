"""Makes `llama.gguf`: a tiny model of llama's shape, each matrix quantised by ggml to another type.

    python3 make_llama.py    with llama-cpp-python 0.3.36 and gguf 0.19.0

The weights follow from their names (tests/python/llama.py), so that a test makes the original anew."""

import pathlib
import sys

import gguf

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/python"))

import llama  # noqa: E402

TYPES = {
    "q_proj": "Q4_K", "k_proj": "Q3_K", "v_proj": "Q6_K", "o_proj": "IQ4_XS", "gate_proj": "Q2_K",
    "up_proj": "IQ3_S", "down_proj": "Q5_K", "embed_tokens": "IQ2_XS", "lm_head": "IQ1_M",
}


def encode(name, values):
    kind = TYPES[name.split(".")[-2]]
    return llama.encoder(int(gguf.GGMLQuantizationType[kind]))(values)


llama.write_gguf(llama.hugging_face(llama.TINY), llama.TINY, HERE / "llama.gguf", encode)
