//! Reads the quantisation from the configuration of a model. It is only used if the tensors leave something open.

use crate::companion_config::read_companion;
use serde_json::Value;
use tensorseal_format::Checkpoint;

/// The supported quantisation methods.
const SUPPORTED: &[&str] = &[
    "gptq",
    "awq",
    "bitsandbytes",
    "compressed-tensors",
    "fp8",
    "mxfp4",
    "fbgemm_fp8",
    "hqq",
    "quanto",
    "torchao",
    "bitnet",
    "modelopt",
];

/// The `quantization_config` of `config.json` (`quantization` for MLX), or an older `quantize_config.json`.
#[derive(Debug, Default)]
pub(super) struct QuantisationConfig {
    /// The value of `quant_method`.
    pub method: Option<String>,
    /// The rows and columns that share a scale, for block-wise FP8.
    pub block: Option<[u64; 2]>,
    /// The complete configuration.
    all: Value,
}

impl QuantisationConfig {
    /// Reads the configuration in a directory of `model` (with its final `/`); for a model that is a single file, from the
    /// directory of that file. It is empty if it is missing or cannot be read.
    pub(super) fn read(model: &Checkpoint, directory: &str) -> QuantisationConfig {
        let parsed = |name: &str| -> Option<Value> {
            serde_json::from_slice(&read_companion(model, directory, name)?).ok()
        };
        let current = parsed("config.json").and_then(|config| {
            let inner = |key: &str| config.get("text_config").and_then(|text| text.get(key));
            ["quantization_config", "quantization"]
                .into_iter()
                .find_map(|key| config.get(key).or(inner(key)).cloned())
        });
        let older = parsed("quantize_config.json");
        match (current, older) {
            (Some(mut current), Some(older)) => {
                // GPTQ writes some settings to one of the files only.
                if let (Some(current), Value::Object(older)) = (current.as_object_mut(), older) {
                    older.into_iter().for_each(|(key, value)| {
                        current.entry(key).or_insert(value);
                    });
                }
                QuantisationConfig::from_json(current)
            }
            (Some(one), None) | (None, Some(one)) => QuantisationConfig::from_json(one),
            (None, None) => QuantisationConfig::default(),
        }
    }

    fn from_json(config: Value) -> QuantisationConfig {
        let block = config.get("weight_block_size").and_then(Value::as_array);
        let method = config.get("quant_method").and_then(Value::as_str);
        QuantisationConfig {
            method: method.map(str::to_owned),
            block: block.and_then(|block| match &block[..] {
                [rows, columns] => Some([rows.as_u64()?, columns.as_u64()?]),
                _ => None,
            }),
            all: config,
        }
    }

    /// Returns whether the method is supported.
    pub(super) fn is_supported_method(&self) -> bool {
        self.method.as_deref().is_some_and(|method| SUPPORTED.contains(&method))
    }

    /// Returns whether there is a configuration.
    pub(super) fn is_present(&self) -> bool {
        !self.all.is_null()
    }

    /// Returns how many of `inputs` inputs share a scale if there are `groups` groups: the same number in each, or if the
    /// last one must be shorter, the configured number if that fits.
    pub(super) fn block(&self, module: &str, inputs: u64, groups: u64) -> u64 {
        let even = inputs.div_ceil(groups.max(1)).max(1);
        let configured = self
            .group_size(module)
            .filter(|size| *size > 0 && !inputs.is_multiple_of(groups.max(1)));
        configured.filter(|size| inputs.div_ceil(*size) == groups).unwrap_or(even)
    }

    /// Returns the number of bits of the codes of a module.
    pub(super) fn bits(&self, module: &str) -> Option<u64> {
        self.module_setting(module, "bits").or_else(|| self.number("w_bit")).or_else(|| {
            // Groups of modules are only used if all of them have the same number.
            let groups = self.all.get("config_groups")?.as_object()?;
            let bits = |group: &Value| group.get("weights")?.get("num_bits")?.as_u64();
            let mut all = groups.values().map(bits);
            let first = all.next()??;
            all.all(|bits| bits == Some(first)).then_some(first)
        })
    }

    /// Returns how many codes of a module share a scale.
    pub(super) fn group_size(&self, module: &str) -> Option<u64> {
        self.module_setting(module, "group_size")
    }

    /// Returns a setting of one module, or the general one. The settings of a module replace all general settings
    /// (`mlx_lm`).
    fn module_setting(&self, module: &str, key: &str) -> Option<u64> {
        match self.all.get(module).filter(|settings| settings.is_object()) {
            Some(settings) => settings.get(key)?.as_u64(),
            None => self.number(key),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.all.get(key).and_then(Value::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.all.get(key).and_then(Value::as_u64)
    }
}
