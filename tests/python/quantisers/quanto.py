"""optimum-quanto: a tensor for the codes, and its scales and shifts beside it."""

from optimum.quanto import QTensor, QuantizedModelForCausalLM, qfloat8_e4m3fn, qfloat8_e5m2, qint2, qint4, qint8
from optimum.quanto.tensor.weights.tinygemm import TinyGemmWeightQBitsTensor

from quantisers import Row
from quantisers.hugging_face import array, load

PACKAGES = ["optimum-quanto", "transformers"]


def truth(model):
    """Quanto's own dequantiser, in binary32."""
    truth = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, QTensor):
            if isinstance(weight, TinyGemmWeightQBitsTensor):
                # As it is written: in memory, its codes are in the order of a kernel.
                weight = weight.weight_qbits_tensor()
            for part in ("_scale", "_shift"):
                if hasattr(weight, part) and getattr(weight, part).is_floating_point():
                    setattr(weight, part, getattr(weight, part).float())
            truth[f"{name}.weight"] = array(weight.dequantize())
    return truth


def saved(kind, **settings):
    def write(source, out):
        quantised = QuantizedModelForCausalLM.quantize(load(source), weights=kind, **settings)
        quantised.save_pretrained(out)
        return truth(quantised._wrapped)
    return write


ROWS = [
    Row("quanto-qint8", saved(qint8)),
    Row("quanto-qint4", saved(qint4, exclude="lm_head")),
    # Two bits, 128 weights to a scale, the tables too: more is lost by rounding.
    Row("quanto-qint2", saved(qint2), least=0.85),
    Row("quanto-qfloat8", saved(qfloat8_e4m3fn, exclude="lm_head")),
    Row("quanto-qfloat8-e5m2", saved(qfloat8_e5m2)),
]
