//! What the configuration beside a model says of its quantisation. It is only believed where the tensors
//! leave something open.

use crate::companion_config::read_companion;
use serde_json::Value;
use tensorseal_format::Checkpoint;

/// Methods whose tensors are known here.
const KNOWN: &[&str] = &[
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

/// `quantization_config` of `config.json` (`quantization`, as MLX calls it), or an older `quantize_config.json`.
#[derive(Debug, Default)]
pub(super) struct QuantisationConfig {
    /// `quant_method`.
    pub method: Option<String>,
    /// Rows and columns that share a scale, of block-wise FP8.
    pub block: Option<[u64; 2]>,
    /// All of it.
    all: Value,
}

impl QuantisationConfig {
    /// Of the models in a directory of `model` (with its final `/`), or beside the one file that it is. Nothing there,
    /// or nothing that can be read, says nothing.
    pub(super) fn read(model: &Checkpoint, directory: &str) -> QuantisationConfig {
        let parsed = |name: &str| -> Option<Value> {
            serde_json::from_slice(&read_companion(model, directory, name)?).ok()
        };
        let own = parsed("config.json").and_then(|config| {
            let inner = |key: &str| config.get("text_config").and_then(|text| text.get(key));
            ["quantization_config", "quantization"]
                .into_iter()
                .find_map(|key| config.get(key).or(inner(key)).cloned())
        });
        let older = parsed("quantize_config.json");
        match (own, older) {
            (Some(mut own), Some(older)) => {
                // GPTQ keeps in one what it leaves out of the other.
                if let (Some(own), Value::Object(older)) = (own.as_object_mut(), older) {
                    older.into_iter().for_each(|(key, value)| {
                        own.entry(key).or_insert(value);
                    });
                }
                QuantisationConfig::from_json(own)
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

    /// Whether its method is one of those here.
    pub(super) fn is_known_method(&self) -> bool {
        self.method.as_deref().is_some_and(|method| KNOWN.contains(&method))
    }

    /// Whether there is one.
    pub(super) fn is_present(&self) -> bool {
        !self.all.is_null()
    }

    /// How many of so many inputs share a scale, where there are so many groups: as many in each; where the last one is cut
    /// off what is said, if that fits.
    pub(super) fn block(&self, module: &str, inputs: u64, groups: u64) -> u64 {
        let even = inputs.div_ceil(groups.max(1)).max(1);
        let told = self
            .group_size(module)
            .filter(|size| *size > 0 && !inputs.is_multiple_of(groups.max(1)));
        told.filter(|size| inputs.div_ceil(*size) == groups).unwrap_or(even)
    }

    /// Bits of the codes of a module.
    pub(super) fn bits(&self, module: &str) -> Option<u64> {
        self.module_setting(module, "bits").or_else(|| self.number("w_bit")).or_else(|| {
            // Groups of modules, where all of them have the same number.
            let groups = self.all.get("config_groups")?.as_object()?;
            let bits = |group: &Value| group.get("weights")?.get("num_bits")?.as_u64();
            let mut all = groups.values().map(bits);
            let first = all.next()??;
            all.all(|bits| bits == Some(first)).then_some(first)
        })
    }

    /// Codes of a module that share a scale.
    pub(super) fn group_size(&self, module: &str) -> Option<u64> {
        self.module_setting(module, "group_size")
    }

    /// What is said of one module alone, or of all: what stands for one takes the place of all of the other (`mlx_lm`).
    fn module_setting(&self, module: &str, key: &str) -> Option<u64> {
        match self.all.get(module).filter(|own| own.is_object()) {
            Some(own) => own.get(key)?.as_u64(),
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
