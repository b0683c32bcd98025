"""all-MiniLM-L6-v2 as an ONNX graph, built from a checkpoint: sentences to embeddings with onnxruntime.

The graph is that of the BERT encoder (Devlin et al. 2019) with the sizes of `config.json`, mean pooling
and unit length, as `modules.json` of the model says.
"""

import json

import numpy
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

import tensorseal

OPSET = 20


class Graph:
    """Nodes and initializers, with names made up on the way."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.initializers = {}

    def add(self, operator, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, name, array):
        self.initializers[name] = numpy_helper.from_array(numpy.ascontiguousarray(array), name)
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def linear(self, x, name):
        matrix = self.constant(f"{name}.transposed", self.weights[f"{name}.weight"].T)
        return self.add("Add", self.add("MatMul", x, matrix), self.weight(f"{name}.bias"))

    def norm(self, x, name, epsilon):
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, scale, bias, epsilon=epsilon)


def build(weights, config):
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    epsilon, width = config["layer_norm_eps"], config["hidden_size"] // config["num_attention_heads"]
    g = Graph(weights)
    shape = {n: g.constant(n, numpy.array(v, numpy.int64)) for n, v in {
        "split": [0, 0, heads, width], "join": [0, 0, hidden], "words": [1]}.items()}
    # Every sentence begins at position 0 and is one segment: both tables are added as they are.
    words = g.add("Gather", g.weight("embeddings.word_embeddings.weight"), "ids")
    positions = g.add("Gather", g.weight("embeddings.position_embeddings.weight"), "positions")
    segment = g.constant("segment", weights["embeddings.token_type_embeddings.weight"][0])
    x = g.norm(g.add("Add", g.add("Add", words, positions), segment), "embeddings.LayerNorm", epsilon)
    scale = g.constant("scale", numpy.float32(width**-0.5))
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"

        def split(part, order):
            y = g.linear(x, f"{name}.attention.self.{part}")
            return g.add("Transpose", g.add("Reshape", y, shape["split"]), perm=order)

        query, key = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1])
        scores = g.add("Add", g.add("Mul", g.add("MatMul", query, key), scale), "bias")
        seen = g.add("MatMul", g.add("Softmax", scores, axis=-1), split("value", [0, 2, 1, 3]))
        seen = g.add("Reshape", g.add("Transpose", seen, perm=[0, 2, 1, 3]), shape["join"])
        out = g.add("Add", g.linear(seen, f"{name}.attention.output.dense"), x)
        x = g.norm(out, f"{name}.attention.output.LayerNorm", epsilon)
        wide = g.add("Gelu", g.linear(x, f"{name}.intermediate.dense"))
        out = g.add("Add", g.linear(wide, f"{name}.output.dense"), x)
        x = g.norm(out, f"{name}.output.LayerNorm", epsilon)
    total = g.add("ReduceSum", g.add("Mul", x, "mask"), shape["words"], keepdims=0)
    g.nodes.append(helper.make_node("LpNormalization", [total], ["embedding"], axis=-1, p=2))
    inputs = [("ids", TensorProto.INT64, ["b", "w"]), ("positions", TensorProto.INT64, ["w"]),
              ("mask", TensorProto.FLOAT, ["b", "w", 1]), ("bias", TensorProto.FLOAT, ["b", 1, 1, "w"])]
    graph = helper.make_graph(
        g.nodes, "encoder", [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", hidden])],
        list(g.initializers.values()))
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def embeddings(weights, sentences):
    """Unit vectors of shape (sentences, 384)."""
    config = json.loads((tensorseal.MODEL / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(tensorseal.MODEL / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(sentences)
    ids = numpy.array([e.ids for e in encoded], numpy.int64)
    mask = numpy.array([e.attention_mask for e in encoded], numpy.float32)
    session = onnxruntime.InferenceSession(build(weights, config), providers=["CPUExecutionProvider"])
    feeds = {"ids": ids, "positions": numpy.arange(ids.shape[1]), "mask": mask[:, :, None],
             "bias": ((mask - 1) * 1e9)[:, None, None, :]}
    return session.run(["embedding"], feeds)[0]
