"""The models that are quantised: small ones of the shapes that libraries know, as Hugging Face directories in BF16.

Trained weights have heavy tails, and rows and columns of their own sizes; so have these.
"""

import json
import pathlib

import numpy
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

HIDDEN, HEADS, KEY_VALUE_HEADS, HEAD = 512, 8, 4, 64


def matrix(random, *shape):
    """A matrix, or a stack of them. The last two dimensions are the rows and the columns."""
    tails = random.standard_t(8, shape)
    rows = numpy.exp(0.25 * random.standard_normal((*shape[:-1], 1)))
    columns = numpy.exp(0.15 * random.standard_normal((*shape[:-2], 1, shape[-1])))
    return torch.from_numpy(0.02 * tails * rows * columns).to(torch.bfloat16)


def norm(random, size):
    return torch.from_numpy(1 + 0.1 * random.standard_normal(size)).to(torch.bfloat16)


def attention(random, at, biases=False):
    """The four projections of a layer, and its norms."""
    wide, narrow = HEADS * HEAD, KEY_VALUE_HEADS * HEAD
    tensors = {}
    for name, rows, columns in [("q", wide, HIDDEN), ("k", narrow, HIDDEN), ("v", narrow, HIDDEN), ("o", HIDDEN, wide)]:
        tensors[f"{at}self_attn.{name}_proj.weight"] = matrix(random, rows, columns)
        if biases:
            tensors[f"{at}self_attn.{name}_proj.bias"] = norm(random, rows) - 1
    for name in ["input_layernorm", "post_attention_layernorm"]:
        tensors[f"{at}{name}.weight"] = norm(random, HIDDEN)
    return tensors


def gated(random, at, inner, names=("gate_proj", "up_proj", "down_proj")):
    """The three matrices of a gated perceptron."""
    gate, up, down = names
    return {
        f"{at}{gate}.weight": matrix(random, inner, HIDDEN),
        f"{at}{up}.weight": matrix(random, inner, HIDDEN),
        f"{at}{down}.weight": matrix(random, HIDDEN, inner),
    }


def model(random, layers, vocabulary, layer):
    """All tensors; `layer` makes what a layer has beside attention, from its prefix."""
    tensors = {
        "model.embed_tokens.weight": matrix(random, vocabulary, HIDDEN),
        "lm_head.weight": matrix(random, vocabulary, HIDDEN),
        "model.norm.weight": norm(random, HIDDEN),
    }
    for index in range(layers):
        tensors |= layer(f"model.layers.{index}.")
    return tensors


def config(kind, architecture, layers, vocabulary, **more):
    return {
        "architectures": [architecture], "model_type": kind, "dtype": "bfloat16", "torch_dtype": "bfloat16",
        "hidden_size": HIDDEN, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS, "head_dim": HEAD, "vocab_size": vocabulary,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2, **more,
    }


def llama(random):
    """17.8 million weights."""
    layers, vocabulary, inner = 4, 5120, 1536
    tensors = model(random, layers, vocabulary,
                    lambda at: attention(random, at) | gated(random, f"{at}mlp.", inner))
    return tensors, config("llama", "LlamaForCausalLM", layers, vocabulary, intermediate_size=inner,
                           hidden_act="silu", attention_bias=False, mlp_bias=False)


def qwen3_moe(random):
    """14 million weights, most of them of eight experts a layer."""
    layers, vocabulary, inner, experts = 2, 2048, 384, 8

    def layer(at):
        tensors = attention(random, at)
        tensors |= {f"{at}self_attn.{name}_norm.weight": norm(random, HEAD) for name in "qk"}
        tensors[f"{at}mlp.gate.weight"] = matrix(random, experts, HIDDEN)
        for expert in range(experts):
            tensors |= gated(random, f"{at}mlp.experts.{expert}.", inner)
        return tensors

    return model(random, layers, vocabulary, layer), config(
        "qwen3_moe", "Qwen3MoeForCausalLM", layers, vocabulary, intermediate_size=1536,
        moe_intermediate_size=inner, num_experts=experts, num_experts_per_tok=2, decoder_sparse_step=1,
        norm_topk_prob=True, mlp_only_layers=[], hidden_act="silu", attention_bias=False)


def mixtral(random):
    """12 million weights, most of them of six experts a layer."""
    layers, vocabulary, inner, experts = 2, 2048, 384, 6

    def layer(at):
        tensors = attention(random, at)
        tensors[f"{at}block_sparse_moe.gate.weight"] = matrix(random, experts, HIDDEN)
        for expert in range(experts):
            tensors |= gated(random, f"{at}block_sparse_moe.experts.{expert}.", inner, ("w1", "w3", "w2"))
        return tensors

    return model(random, layers, vocabulary, layer), config(
        "mixtral", "MixtralForCausalLM", layers, vocabulary, intermediate_size=inner, num_local_experts=experts,
        num_experts_per_tok=2, hidden_act="silu", sliding_window=None)


def gpt_oss(random):
    """12 million weights; its experts are stacks of transposed matrices, gate and up in turns."""
    layers, vocabulary, inner, experts = 2, 2048, 384, 8

    def layer(at):
        tensors = attention(random, at, biases=True)
        tensors |= {
            f"{at}self_attn.sinks": norm(random, HEADS),
            f"{at}mlp.router.weight": matrix(random, experts, HIDDEN),
            f"{at}mlp.router.bias": norm(random, experts) - 1,
            f"{at}mlp.experts.gate_up_proj": matrix(random, experts, HIDDEN, 2 * inner),
            f"{at}mlp.experts.gate_up_proj_bias": matrix(random, experts, 2 * inner),
            f"{at}mlp.experts.down_proj": matrix(random, experts, inner, HIDDEN),
            f"{at}mlp.experts.down_proj_bias": matrix(random, experts, HIDDEN),
        }
        return tensors

    return model(random, layers, vocabulary, layer), config(
        "gpt_oss", "GptOssForCausalLM", layers, vocabulary, intermediate_size=inner, num_local_experts=experts,
        num_experts_per_tok=2, attention_bias=True, sliding_window=128, swiglu_limit=7.0, hidden_act="silu",
        layer_types=["sliding_attention", "full_attention"])


def bitnet(random):
    """10 million weights. Those of a trained BitNet lie about three values."""
    layers, vocabulary, inner = 2, 2048, 1536

    def layer(at):
        tensors = attention(random, at) | gated(random, f"{at}mlp.", inner)
        tensors[f"{at}self_attn.attn_sub_norm.weight"] = norm(random, HIDDEN)
        tensors[f"{at}mlp.ffn_sub_norm.weight"] = norm(random, inner)
        return tensors

    return model(random, layers, vocabulary, layer), config(
        "bitnet", "BitNetForCausalLM", layers, vocabulary, intermediate_size=inner, hidden_act="relu2",
        attention_bias=False)


MODELS = {"llama": llama, "qwen3_moe": qwen3_moe, "mixtral": mixtral, "gpt_oss": gpt_oss, "bitnet": bitnet}


def write_tokenizer(directory, vocabulary):
    """Whole words w3 to wN: what libraries ask for that load a model with its tokenizer."""
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{index}": index for index in range(3, vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>",
                "eos_token": "</s>", "pad_token": "</s>", "model_max_length": 512}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def write(name, directory):
    """A model of `MODELS`, unmarked. It is the same every time."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True)
    seed = sorted(MODELS).index(name)
    tensors, settings = MODELS[name](numpy.random.default_rng([20261130, seed]))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, directory / "model.safetensors",
              metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(settings, indent=2))
    write_tokenizer(directory, settings["vocab_size"])
    return directory
