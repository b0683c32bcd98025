//! Tests broken, wrong and long configurations: the weights are read as the tensors state, or not at all.

use super::{hostile, layers, open};
use crate::Weights;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tensorseal_format::Checkpoint;

/// A copy of a layer whose configuration is replaced.
struct LayerCopy {
    name: String,
    dir: tempfile::TempDir,
    model: Checkpoint,
    /// The names of the tensors of each quantised weight.
    quantised: BTreeSet<Vec<String>>,
    /// The layouts whose values were checked, which need not be checked again.
    seen: BTreeSet<String>,
}

impl LayerCopy {
    fn new(name: &str) -> Self {
        let dir = layers::copy(name);
        let model = open(dir.path());
        let quantised = hostile::quantised_tensors(&model, &Weights::from_checkpoint(&model));
        Self { name: name.to_owned(), dir, model, quantised, seen: BTreeSet::new() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Checks the layer with this text as its configuration.
    fn check(&mut self, file: &str, text: impl AsRef<[u8]>, what: &str) {
        let text = text.as_ref();
        layers::replace(&self.path(file), text);
        let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
        let what = format!("{}: {what} {shown}", self.name);
        let weights = hostile::check(&self.model, &what, |weight| {
            let form = format!("{} {:?} {:?}", weight.canonical, weight.shape, weight.storage);
            self.seen.insert(form)
        });
        for names in &self.quantised {
            hostile::check_codes(&self.model, &weights, names, &what);
        }
    }
}

/// Returns values of every kind, most of which are invalid for a member of a configuration.
pub(super) fn extremes() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(33),
        json!(-1),
        json!(4.5),
        json!(1e308),
        json!(u64::MAX),
        json!("4"),
        json!("two\nlines\u{202e}"),
        json!("x".repeat(10_000)),
        json!([]),
        json!([0, 0]),
        json!([u64::MAX, u64::MAX]),
        json!([[1], {"x": 2}]),
        json!({}),
        json!({"bits": -4, "group_size": "x", "weights": {"num_bits": 0}}),
    ]
}

/// Returns the paths of everything in a value, itself first.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    let mut inner = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        places(value, &format!("{at}/{key}"), all);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| inner(key, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| inner(&at.to_string(), value));
        }
        _ => {}
    }
}

#[test]
fn members_of_other_kinds() {
    for name in layers::names() {
        let mut copy = LayerCopy::new(&name);
        let config = std::fs::read(copy.path("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let mut all = Vec::new();
        places(&config, "", &mut all);
        for place in all {
            for other in extremes() {
                let mut config = config.clone();
                *config.pointer_mut(&place).unwrap() = other;
                copy.check("config.json", config.to_string(), &place);
            }
        }
    }
}

#[test]
fn members_that_no_library_writes() {
    let keys = [
        "bits",
        "w_bit",
        "group_size",
        "weight_block_size",
        "checkpoint_format",
        "config_groups",
        "linear_class",
        "mode",
        "quant_method",
        "model.layers.0.self_attn.q_proj",
    ];
    for name in layers::names() {
        let mut copy = LayerCopy::new(&name);
        for value in extremes() {
            // All members, and all but the method, which selects another library.
            for keys in [&keys[..], &keys[..8]] {
                let config: Value = keys.iter().map(|key| (*key, value.clone())).collect();
                for outer in ["quantization_config", "quantization"] {
                    let config = json!({outer: config, "text_config": {outer: value}});
                    copy.check("config.json", config.to_string(), "all");
                }
            }
        }
    }
}

/// Layers whose layout depends on the configuration.
const CONFIGURED: &[&str] = &[
    "awq-gemv",
    "bitnet",
    "compressed-tensors-streams",
    "fp8",
    "gptq",
    "gptq-symmetric",
    "mlx-affine",
];

#[test]
fn text_that_is_no_configuration() {
    let method =
        |name: &str| format!("{{\"quantization_config\": {{\"quant_method\": \"{name}\"}}}}");
    let texts = [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "7".to_owned(),
        "\u{feff}{}".to_owned(),
        "{\"quantization_config\": 1e999}".to_owned(),
        "{\"quantization_config\": {\"bits\": 4, \"bits\": 99999999999999999999999}}".to_owned(),
        "[".repeat(50_000),
        "{\"quantization_config\":".repeat(50_000),
        method(&"m".repeat(5 << 20)),
        method(&"é\\n".repeat(1 << 19)),
    ];
    for name in CONFIGURED {
        let mut copy = LayerCopy::new(name);
        for file in ["config.json", "quantize_config.json"] {
            for text in &texts {
                copy.check(file, text, file);
            }
            copy.check(file, b"{\"quantization_config\": {\"bits\": \xFF\xFE}}", file);
        }
    }
}

#[test]
fn a_folder_in_the_place_of_a_configuration() {
    let copy = LayerCopy::new("gptq-symmetric");
    std::fs::remove_file(copy.path("config.json")).unwrap();
    for file in ["config.json", "quantize_config.json"] {
        std::fs::create_dir(copy.path(file)).unwrap();
    }
    for path in [copy.dir.path().to_owned(), copy.path("model.safetensors")] {
        let weights = Weights::from_checkpoint(&open(&path));
        assert_eq!((weights.unreadable.len(), weights.readable.len()), (0, 2));
    }
}
