"""torchao: the parts of a tensor as tensors, and what it is in `__metadata__` (`flatten_tensor_state_dict`)."""

import json

import numpy as np

from layout import BF16, E2M1, E4M3, E5M2, LAYER, Layer, e8m0, grouped, nibbles, power, signed, spread


class Flattened(Layer):
    def __init__(self, name):
        super().__init__(name)
        self.metadata = {"format": "pt"}

    def add(self, module, kind, values, data, **parts):
        """A tensor of a class; `data` is what the class keeps beside its tensors."""
        self.weight(module, values, **{f"_weight_{part}": tensor for part, tensor in parts.items()})
        note = {"_type": kind, "_data": data, "_tensor_data_names": sorted(parts)}
        self.metadata[f"{LAYER}{module}.weight"] = json.dumps(note)

    def finish(self):
        names = [name for name in self.metadata if name != "format"]
        self.metadata["tensor_names"] = json.dumps(names)
        self.write({"quantization_config": {"quant_method": "torchao"}}, self.metadata)


def swizzled(scales):
    """Scales in blocks of 128 rows and 4 columns, whose rows 0, 32, 64 and 96 lie together (`to_blocked`)."""
    rows, columns = scales.shape
    high, wide = -(-rows // 128), -(-columns // 4)
    whole = np.zeros((high * 128, wide * 4), scales.dtype)
    whole[:rows, :columns] = scales
    blocks = whole.reshape(high, 4, 32, wide, 4).transpose(0, 3, 2, 1, 4)
    return blocks.reshape(high * 32, wide * 16)


def integers():
    layer = Flattened("torchao-int4")
    codes, group = layer.codes(4, 5, 96), 32
    scales, zeros = layer.numbers(BF16, 3, 5), -layer.numbers(BF16, 3, 5)
    values = signed(codes, 4) * grouped(scales.T, codes) + grouped(zeros.T, codes)
    layer.add("mlp.up_proj", "Int4Tensor", values, {"block_size": [1, group], "shape": [5, 96]},
              qdata=nibbles(codes).view(np.int8), scale=scales, zero_point=zeros)
    layer.finish()

    layer = Flattened("torchao-int8")
    for module, shape, block in [("k_proj", (7, 33), (1, 33)), ("q_proj", (6, 48), (1, 16)), ("v_proj", (3, 17), (3, 17))]:
        codes = layer.random.integers(-128, 128, shape).astype(np.int8)
        places = shape[0] // block[0], shape[1] // block[1]
        scales, zeros = layer.numbers(np.float32, *places), layer.random.integers(-3, 4, places).astype(np.int8)
        values = (codes - spread(zeros, block, shape)) * spread(scales, block, shape)
        layer.add(f"self_attn.{module}", "Int8Tensor", values, {"block_size": list(block)},
                  qdata=codes, scale=scales, zero_point=zeros)
    layer.finish()

    layer = Flattened("torchao-intx")
    codes = layer.random.integers(-4, 4, (6, 40)).astype(np.int8)
    scales, zeros = layer.numbers(BF16, 6, 5), layer.random.integers(-4, 4, (6, 5)).astype(np.int8)
    values = (codes - grouped(zeros, codes)) * grouped(scales, codes)
    layer.add("mlp.gate_proj", "IntxUnpackedToInt8Tensor", values,
              {"target_dtype": {"_type": "torch.dtype", "_data": "int3"}, "block_size": [1, 8]},
              qdata=codes, scale=scales, zero_point=zeros)
    layer.finish()


def floats():
    layer = Flattened("torchao-float8")
    for module, shape, block, kind in [("k_proj", (7, 33), (1, 33), E4M3), ("q_proj", (6, 48), (1, 16), E4M3),
                                       ("v_proj", (3, 17), (3, 17), E5M2)]:
        codes = layer.random.normal(0, 3, shape).astype(kind)
        scales = layer.numbers(np.float32, shape[0] // block[0], shape[1] // block[1])
        values = codes.astype(np.float64) * spread(scales, block, shape)
        layer.add(f"self_attn.{module}", "Float8Tensor", values, {"block_size": list(block)}, qdata=codes, scale=scales)
    layer.finish()


def of_exponents(kind, is_swizzled):
    """What `MXTensor` keeps beside its tensors."""
    return {"elem_dtype": {"_type": "torch.dtype", "_data": kind}, "block_size": 32, "is_swizzled_scales": is_swizzled}


def microscaled():
    """Rows that are no multiple of 128, and groups that are no multiple of four."""
    layer = Flattened("torchao-nvfp4")
    codes = layer.codes(4, 9, 80)
    scales = layer.random.uniform(1, 100, (9, 5)).astype(E4M3)
    one = np.float32(0.0123)
    layer.add("mlp.down_proj", "NVFP4Tensor", E2M1[codes] * grouped(scales, codes) * np.float64(one),
              {"is_swizzled_scales": True, "block_size": 16},
              qdata=nibbles(codes), scale=swizzled(scales), per_tensor_scale=one)
    codes = layer.codes(4, 3, 32)
    scales = layer.random.uniform(1, 100, (3, 2)).astype(E4M3)
    layer.add("mlp.up_proj", "NVFP4Tensor", E2M1[codes] * grouped(scales, codes),
              {"is_swizzled_scales": False, "block_size": 16}, qdata=nibbles(codes), scale=scales)
    layer.finish()

    layer = Flattened("torchao-mxfp4")
    codes = layer.codes(4, 5, 96)
    scales = layer.random.integers(110, 130, (5, 3)).astype(np.uint8)
    layer.add("mlp.down_proj", "MXTensor", E2M1[codes] * grouped(power(scales), codes),
              of_exponents("float4_e2m1fn_x2", True), qdata=nibbles(codes), scale=e8m0(swizzled(scales)))
    codes = layer.codes(4, 3, 64)
    scales = layer.random.integers(110, 130, (3, 2)).astype(np.uint8)
    layer.add("mlp.up_proj", "MXTensor", E2M1[codes] * grouped(power(scales), codes),
              of_exponents("float4_e2m1fn_x2", False), qdata=nibbles(codes), scale=e8m0(scales))
    layer.finish()

    layer = Flattened("torchao-mxfp8")
    codes = layer.random.normal(0, 3, (131, 32)).astype(E4M3)
    scales = layer.random.integers(110, 130, (131, 1)).astype(np.uint8)
    layer.add("mlp.down_proj", "MXTensor", codes.astype(np.float64) * power(scales),
              of_exponents("float8_e4m3fn", True), qdata=codes, scale=e8m0(swizzled(scales)))
    layer.finish()


def write():
    integers()
    floats()
    microscaled()
