//! What the configuration beside a model says of its quantisation. It is only believed where the tensors
//! leave something open.

use serde_json::Value;
use tensorseal_format::{Checkpoint, read_whole};

/// Longest configuration that is read.
const MAX_CONFIG: u64 = 4 << 20;

/// Methods whose tensors are known here.
const KNOWN: &[&str] =
    &["gptq", "awq", "bitsandbytes", "compressed-tensors", "fp8", "mxfp4", "fbgemm_fp8"];

/// `quantization_config` of `config.json`, or an older `quantize_config.json`.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// `quant_method`.
    pub method: Option<String>,
    /// Bits of a code.
    pub bits: Option<u64>,
    /// Whether the zero points of GPTQ are stored as they are, not less one.
    pub gptq_v2: bool,
    /// Rows and columns that share a scale, of block-wise FP8.
    pub block: Option<[u64; 2]>,
}

impl Config {
    /// Of the models in a directory of `model` (with its final `/`). Nothing there, or nothing that can
    /// be read, says nothing.
    pub fn read(model: &Checkpoint, directory: &str) -> Config {
        let parsed = |name: &str| -> Option<Value> {
            serde_json::from_slice(&read_whole(model, &format!("{directory}{name}"), MAX_CONFIG)?)
                .ok()
        };
        let own = parsed("config.json").and_then(|config| {
            let inner = config.get("text_config").and_then(|text| text.get("quantization_config"));
            config.get("quantization_config").or(inner).cloned()
        });
        match own.or_else(|| parsed("quantize_config.json")) {
            Some(config) => Config::of(&config),
            None => Config::default(),
        }
    }

    fn of(config: &Value) -> Config {
        let text = |name: &str| config.get(name).and_then(Value::as_str);
        let number = |name: &str| config.get(name).and_then(Value::as_u64);
        let group = config.get("config_groups").and_then(Value::as_object);
        let weights = group.and_then(|groups| groups.values().next()?.get("weights").cloned());
        let block = config.get("weight_block_size").and_then(Value::as_array);
        Config {
            method: text("quant_method").map(str::to_owned),
            bits: number("bits")
                .or_else(|| number("w_bit"))
                .or_else(|| weights.as_ref()?.get("num_bits")?.as_u64()),
            gptq_v2: text("checkpoint_format") == Some("gptq_v2"),
            block: block.and_then(|block| match &block[..] {
                [rows, columns] => Some([rows.as_u64()?, columns.as_u64()?]),
                _ => None,
            }),
        }
    }

    /// Whether its method is one of those here.
    pub fn is_known(&self) -> bool {
        self.method.as_deref().is_some_and(|method| KNOWN.contains(&method))
    }
}
