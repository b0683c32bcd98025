//! The names that torchao, a library of quantised tensors for PyTorch, adds to the allow-list of `weights_only=True`
//! (versions 0.4 to 0.18). Names are compared exactly, never by prefix.

/// The meaning of a torchao name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Torchao {
    /// A tensor class that wraps other tensors.
    Tensor,
    /// A settings class: an enumeration or a tuple.
    Setting,
}

/// The meaning of a name, or `None` if it is not in the tables.
pub(super) fn known(module: &str, name: &str) -> Option<Torchao> {
    let is_in = |table: &[(&str, &[&str])]| {
        let row = table.binary_search_by(|(of, _)| of.cmp(&module));
        row.is_ok_and(|row| table[row].1.contains(&name))
    };
    if is_in(TENSORS) {
        return Some(Torchao::Tensor);
    }
    is_in(SETTINGS).then_some(Torchao::Setting)
}

/// The tensor classes and their implementation classes, in the order of their modules.
const TENSORS: &[(&str, &[&str])] = &[
    (
        "torchao.dtypes.affine_quantized_tensor",
        &[
            "AffineQuantizedTensor",
            "BlockSparseAQTLayout",
            "Float8AQTLayout",
            "MarlinSparseAQTLayout",
            "PlainAQTLayout",
            "SemiSparseAQTLayout",
            "TensorCoreTiledAQTLayout",
        ],
    ),
    ("torchao.dtypes.fbgemm_fp8_tensor", &["FbgemmFp8Tensor"]),
    ("torchao.dtypes.fbgemm_int4_tensor", &["FbgemmInt4Tensor"]),
    ("torchao.dtypes.floatx.cutlass_semi_sparse_layout", &["CutlassSemiSparseTensorImpl"]),
    ("torchao.dtypes.floatx.float8_layout", &["Float8AQTTensorImpl"]),
    ("torchao.dtypes.floatx.floatx", &["FloatxTensorCoreAQTLayout"]),
    ("torchao.dtypes.floatx.floatx_tensor_core_layout", &["FloatxTensorCoreAQTTensorImpl"]),
    ("torchao.dtypes.fpx.fpx", &["FpxTensorCoreAQTLayout"]),
    ("torchao.dtypes.nf4tensor", &["NF4Tensor"]),
    ("torchao.dtypes.uintx.Uintx", &["UintxAQTLayout"]),
    ("torchao.dtypes.uintx.block_sparse_layout", &["BlockSparseAQTTensorImpl"]),
    ("torchao.dtypes.uintx.cutlass_int4_packed_layout", &["Int4PackedTensorImpl"]),
    ("torchao.dtypes.uintx.dyn_int8_act_int4_wei_cpu_layout", &["DA8W4CPUAQTTensorImpl"]),
    ("torchao.dtypes.uintx.gemlite_layout", &["GemliteAQTTensorImpl"]),
    ("torchao.dtypes.uintx.int4_cpu_layout", &["Int4CPUAQTTensorImpl"]),
    ("torchao.dtypes.uintx.int4_xpu_layout", &["Int4XPUAQTTensorImpl"]),
    ("torchao.dtypes.uintx.marlin_qqq_layout", &["MarlinQQQAQTTensorImpl"]),
    ("torchao.dtypes.uintx.marlin_qqq_tensor", &["MarlinQQQAQTTensorImpl"]),
    ("torchao.dtypes.uintx.marlin_sparse_layout", &["MarlinSparseAQTTensorImpl"]),
    (
        "torchao.dtypes.uintx.packed_linear_int8_dynamic_activation_intx_weight_layout",
        &["PackedLinearInt8DynamicActivationIntxWeightAQTTensorImpl"],
    ),
    ("torchao.dtypes.uintx.plain_layout", &["PlainAQTTensorImpl"]),
    ("torchao.dtypes.uintx.q_dq_layout", &["QDQTensorImpl"]),
    ("torchao.dtypes.uintx.semi_sparse_layout", &["SemiSparseAQTTensorImpl"]),
    (
        "torchao.dtypes.uintx.tensor_core_tiled_layout",
        &["Int4CPUAQTTensorImpl", "TensorCoreTiledAQTTensorImpl"],
    ),
    ("torchao.dtypes.uintx.uintx", &["UintxAQTLayout"]),
    ("torchao.dtypes.uintx.uintx_layout", &["UintxAQTTensorImpl"]),
    (
        "torchao.experimental._linear_8bit_act_xbit_weight_layout",
        &["Linear8BitActXBitWeightAQTTensorImpl"],
    ),
    (
        "torchao.experimental.packed_linear_int8_dynamic_activation_intx_weight_layout",
        &["PackedLinearInt8DynamicActivationIntxWeightAQTTensorImpl"],
    ),
    ("torchao.float8.float8_tensor", &["Float8Tensor"]),
    ("torchao.float8.float8_training_tensor", &["Float8TrainingTensor"]),
    (
        "torchao.float8.fsdp_utils",
        &["WeightWithDelayedFloat8CastTensor", "WeightWithDynamicFloat8CastTensor"],
    ),
    ("torchao.optim.subclass_4bit", &["OptimState4bit"]),
    ("torchao.optim.subclass_8bit", &["OptimState8bit"]),
    ("torchao.optim.subclass_fp8", &["OptimStateFp8"]),
    (
        "torchao.prototype.dtypes.floatx.floatx_tensor_core_layout",
        &["FloatxTensorCoreAQTTensorImpl"],
    ),
    ("torchao.prototype.dtypes.uintx.block_sparse_layout", &["BlockSparseAQTTensorImpl"]),
    ("torchao.prototype.dtypes.uintx.cutlass_int4_packed_layout", &["Int4PackedTensorImpl"]),
    ("torchao.prototype.dtypes.uintx.dyn_int8_act_int4_wei_cpu_layout", &["DA8W4CPUAQTTensorImpl"]),
    ("torchao.prototype.dtypes.uintx.gemlite_layout", &["GemliteAQTTensorImpl"]),
    ("torchao.prototype.dtypes.uintx.marlin_qqq_tensor", &["MarlinQQQAQTTensorImpl"]),
    ("torchao.prototype.dtypes.uintx.uintx_layout", &["UintxAQTTensorImpl"]),
    ("torchao.prototype.dtypes.uintx.uintx_utils", &["UintxAQTTensorImpl"]),
    ("torchao.prototype.float8_opaque_tensor", &["Float8OpaqueTensor"]),
    ("torchao.prototype.float8_opaque_tensor.float8_opaque_tensor", &["Float8OpaqueTensor"]),
    ("torchao.prototype.int4_opaque_tensor", &["Int4OpaqueTensor"]),
    ("torchao.prototype.int4_opaque_tensor.int4_opaque_tensor", &["Int4OpaqueTensor"]),
    ("torchao.prototype.low_bit_optim.subclass_4bit", &["OptimState4bit"]),
    ("torchao.prototype.low_bit_optim.subclass_8bit", &["OptimState8bit"]),
    ("torchao.prototype.low_bit_optim.subclass_fp8", &["OptimStateFp8"]),
    ("torchao.prototype.mx_formats.mx_tensor", &["MXTensor"]),
    ("torchao.prototype.mx_formats.nvfp4_tensor", &["NVFP4Tensor"]),
    (
        "torchao.prototype.quantization.dynamic_activation_lut.int8_dynamic_activation_lut_tensor",
        &["Int8DynamicActivationLutTensor"],
    ),
    (
        "torchao.prototype.quantization.float8_static_quant.prototype_float8_tensor",
        &["PrototypeFloat8Tensor"],
    ),
    ("torchao.prototype.quantization.gguf.gguf_quantized_tensor", &["GGUFQuantizedTensor"]),
    ("torchao.prototype.quantization.int4", &["Int4OpaqueTensor"]),
    ("torchao.prototype.quantization.int4.int4_opaque_tensor", &["Int4OpaqueTensor"]),
    ("torchao.prototype.quantization.int8_lut_tensor.int8_lut_tensor", &["Int8LutTensor"]),
    ("torchao.prototype.quantization.uintx.uintx_bit_packed_tensor", &["UIntxBitPackedTensor"]),
    (
        "torchao.quantization",
        &[
            "Float8Tensor",
            "Int4GroupwisePreshuffleTensor",
            "Int4MarlinSparseTensor",
            "Int4OpaqueTensor",
            "Int4PlainInt32Tensor",
            "Int4PreshuffledTensor",
            "Int4Tensor",
            "Int4TilePackedTo4dTensor",
            "Int8Tensor",
            "IntxOpaqueTensor",
            "IntxUnpackedTensor",
            "IntxUnpackedToInt8Tensor",
            "PrototypeFloat8Tensor",
        ],
    ),
    (
        "torchao.quantization.linear_activation_quantized_tensor",
        &["LinearActivationQuantizedTensor"],
    ),
    (
        "torchao.quantization.linear_activation_scale",
        &["WeightTensorWithLinearActivationScaleMetadata"],
    ),
    (
        "torchao.quantization.linear_activation_weight_observed_tensor",
        &["LinearActivationWeightObservedTensor"],
    ),
    (
        "torchao.quantization.linear_activation_weight_observer",
        &["LinearActivationWeightObservedTensor"],
    ),
    (
        "torchao.quantization.quantize_.int4_groupwise_preshuffle_tensor",
        &["Int4GroupwisePreshuffleTensor"],
    ),
    (
        "torchao.quantization.quantize_.workflows.float8.float8_sparse_2x4_1d_data_1d_metadata_tensor",
        &["Float8Sparse2x4_1DData1DMetadataTensor"],
    ),
    (
        "torchao.quantization.quantize_.workflows.float8.float8_sparse_2x4_2d_data_2d_metadata_tensor",
        &["Float8Sparse2x4_2DData2DMetadataTensor"],
    ),
    ("torchao.quantization.quantize_.workflows.float8.float8_tensor", &["Float8Tensor"]),
    (
        "torchao.quantization.quantize_.workflows.float8.sparse_2x4_cutlass_float8_tensor",
        &["Sparse2x4CUTLASSFloat8Tensor"],
    ),
    (
        "torchao.quantization.quantize_.workflows.int4.int4_marlin_sparse_tensor",
        &["Int4MarlinSparseTensor"],
    ),
    ("torchao.quantization.quantize_.workflows.int4.int4_opaque_tensor", &["Int4OpaqueTensor"]),
    (
        "torchao.quantization.quantize_.workflows.int4.int4_plain_int32_tensor",
        &["Int4PlainInt32Tensor"],
    ),
    (
        "torchao.quantization.quantize_.workflows.int4.int4_preshuffled_tensor",
        &["Int4PreshuffledTensor"],
    ),
    ("torchao.quantization.quantize_.workflows.int4.int4_tensor", &["Int4Tensor"]),
    (
        "torchao.quantization.quantize_.workflows.int4.int4_tile_packed_to_4d_tensor",
        &["Int4TilePackedTo4dTensor"],
    ),
    ("torchao.quantization.quantize_.workflows.int8.int8_tensor", &["Int8Tensor"]),
    ("torchao.quantization.quantize_.workflows.intx.intx_opaque_tensor", &["IntxOpaqueTensor"]),
    ("torchao.quantization.quantize_.workflows.intx.intx_unpacked_tensor", &["IntxUnpackedTensor"]),
    ("torchao.quantization.quantize_.workflows.nf4.nf4_tensor", &["NF4Tensor"]),
    (
        "torchao.quantization.weight_tensor_linear_activation_quantization",
        &["WeightTensorWithLinearActivationQuantizationMetadata"],
    ),
    ("torchao.utils", &["PlainAQTLayout", "PlainAQTTensorImpl"]),
];

/// The settings classes, in the order of their modules.
const SETTINGS: &[(&str, &[&str])] = &[
    (
        "torchao.dtypes.affine_quantized_tensor",
        &[
            "BlockSparseLayoutType",
            "Float8LayoutType",
            "MarlinSparseLayoutType",
            "SemiSparseLayoutType",
            "TensorCoreTiledLayoutType",
        ],
    ),
    ("torchao.dtypes.floatx.cutlass_semi_sparse_layout", &["CutlassSemiSparseLayout"]),
    ("torchao.dtypes.floatx.float8_layout", &["Float8Layout"]),
    ("torchao.dtypes.floatx.floatx", &["FloatxTensorCoreLayoutType"]),
    ("torchao.dtypes.floatx.floatx_tensor_core_layout", &["FloatxTensorCoreLayout"]),
    ("torchao.dtypes.fpx.fpx", &["FpxTensorCoreLayoutType"]),
    ("torchao.dtypes.uintx.Uintx", &["UintxLayoutType"]),
    ("torchao.dtypes.uintx.block_sparse_layout", &["BlockSparseLayout"]),
    ("torchao.dtypes.uintx.cutlass_int4_packed_layout", &["CutlassInt4PackedLayout"]),
    (
        "torchao.dtypes.uintx.dyn_int8_act_int4_wei_cpu_layout",
        &["Int8DynamicActInt4WeightCPULayout"],
    ),
    ("torchao.dtypes.uintx.gemlite_layout", &["GemlitePackedLayout"]),
    ("torchao.dtypes.uintx.int4_cpu_layout", &["Int4CPULayout"]),
    ("torchao.dtypes.uintx.int4_xpu_layout", &["Int4XPULayout"]),
    ("torchao.dtypes.uintx.marlin_qqq_layout", &["MarlinQQQLayout"]),
    ("torchao.dtypes.uintx.marlin_qqq_tensor", &["MarlinQQQLayout"]),
    ("torchao.dtypes.uintx.marlin_sparse_layout", &["MarlinSparseLayout"]),
    (
        "torchao.dtypes.uintx.packed_linear_int8_dynamic_activation_intx_weight_layout",
        &["PackedLinearInt8DynamicActivationIntxWeightLayout", "Target"],
    ),
    ("torchao.dtypes.uintx.q_dq_layout", &["QDQLayout"]),
    ("torchao.dtypes.uintx.semi_sparse_layout", &["SemiSparseLayout"]),
    ("torchao.dtypes.uintx.tensor_core_tiled_layout", &["Int4CPULayout", "TensorCoreTiledLayout"]),
    ("torchao.dtypes.uintx.uintx", &["UintxLayoutType"]),
    ("torchao.dtypes.uintx.uintx_layout", &["UintxLayout"]),
    ("torchao.dtypes.utils", &["PlainLayout", "PlainLayoutType"]),
    (
        "torchao.experimental._linear_8bit_act_xbit_weight_layout",
        &["Linear8BitActXBitWeightLayout"],
    ),
    (
        "torchao.experimental.packed_linear_int8_dynamic_activation_intx_weight_layout",
        &["PackedLinearInt8DynamicActivationIntxWeightLayout"],
    ),
    ("torchao.experimental.q_dq_layout", &["QDQLayout"]),
    ("torchao.float8.config", &["ScalingGranularity"]),
    ("torchao.float8.float8_tensor", &["GemmInputRole", "LinearMMConfig", "ScaledMMConfig"]),
    (
        "torchao.float8.float8_training_tensor",
        &["GemmInputRole", "LinearMMConfig", "ScaledMMConfig"],
    ),
    ("torchao.float8.inference", &["Float8MMConfig"]),
    ("torchao.prototype.dtypes.floatx.floatx_tensor_core_layout", &["FloatxTensorCoreLayout"]),
    ("torchao.prototype.dtypes.uintx.block_sparse_layout", &["BlockSparseLayout"]),
    ("torchao.prototype.dtypes.uintx.cutlass_int4_packed_layout", &["CutlassInt4PackedLayout"]),
    (
        "torchao.prototype.dtypes.uintx.dyn_int8_act_int4_wei_cpu_layout",
        &["Int8DynamicActInt4WeightCPULayout"],
    ),
    ("torchao.prototype.dtypes.uintx.gemlite_layout", &["GemlitePackedLayout"]),
    ("torchao.prototype.dtypes.uintx.marlin_qqq_tensor", &["MarlinQQQLayout"]),
    ("torchao.prototype.dtypes.uintx.uintx_layout", &["UintxLayout"]),
    ("torchao.prototype.dtypes.uintx.uintx_utils", &["UintxLayout"]),
    ("torchao.prototype.mx_formats.config", &["MXGemmKernelChoice", "ScaleCalculationMode"]),
    ("torchao.prototype.mx_formats.mx_tensor", &["QuantizeTensorToMXKwargs"]),
    (
        "torchao.prototype.mx_formats.nvfp4_tensor",
        &["NVFP4MMConfig", "QuantizeTensorToNVFP4Kwargs"],
    ),
    ("torchao.quantization.granularity", &["PerBlock", "PerRow", "PerTensor"]),
    ("torchao.quantization.observer", &["PerRow", "PerTensor"]),
    (
        "torchao.quantization.pt2e.observer",
        &["MappingType", "PerRow", "PerTensor", "ZeroPointDomain"],
    ),
    ("torchao.quantization.quant_primitives", &["MappingType", "ZeroPointDomain"]),
    ("torchao.quantization.quantize_.common.kernel_preference", &["KernelPreference"]),
    (
        "torchao.quantization.quantize_.workflows.float8.float8_packing_format",
        &["Float8PackingFormat"],
    ),
    (
        "torchao.quantization.quantize_.workflows.float8.float8_tensor",
        &["QuantizeTensorToFloat8Kwargs"],
    ),
    ("torchao.quantization.quantize_.workflows.int8.int8_tensor", &["QuantizeTensorToInt8Kwargs"]),
    ("torchao.quantization.quantize_.workflows.intx.intx_packing_format", &["IntxPackingFormat"]),
    (
        "torchao.quantization.quantize_.workflows.intx.intx_unpacked_to_int8_tensor",
        &["IntxUnpackedToInt8TensorActivationQuantization"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        assert_eq!(known("torchao.quantization", "Int8Tensor"), Some(Torchao::Tensor));
        let kernels = "torchao.quantization.quantize_.common.kernel_preference";
        assert_eq!(known(kernels, "KernelPreference"), Some(Torchao::Setting));
        for (module, name) in [
            ("torchao.quantization", "quantize_"),
            ("torchao.quantization", "Int8Tensor.from_hp"),
            ("torchao", "quantization.Int8Tensor"),
            ("torchao.other", "Int8Tensor"),
        ] {
            assert_eq!(known(module, name), None, "{module}.{name}");
        }
    }

    #[test]
    fn modules_are_in_order_and_no_name_is_there_twice() {
        assert!(TENSORS.is_sorted_by_key(|row| row.0) && SETTINGS.is_sorted_by_key(|row| row.0));
        let mut seen = std::collections::HashSet::new();
        for (module, names) in TENSORS.iter().chain(SETTINGS) {
            for name in *names {
                assert!(seen.insert((module, name)), "{module}.{name}");
            }
        }
    }
}
