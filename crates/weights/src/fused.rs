//! Splits the weights of experts that some checkpoints store in one tensor and others separately.
//!
//! transformers 5 keeps the experts of a layer in two parameters, `experts.gate_up_proj` (for each expert the rows of
//! the gate projection, then those of the up projection) and `experts.down_proj`. The checkpoints that it writes, and
//! those of earlier versions, have a tensor for each projection of each expert. Source: its `conversion_mapping.py`.
//! The dimensions distinguish these two from other tensors of the same names: gpt-oss and Llama 4 use the names on
//! disk with rows and columns exchanged.
//!
//! MLX keeps a stack for each projection, such as `switch_mlp.gate_proj.weight` (`switch_layers.py` of `mlx_lm`).

use super::companion_config::{CompanionConfig, directory_of};
use super::tensor_view::MAX_EXPERTS;
use super::{Weight, WeightStorage, unqualified};
use std::collections::{BTreeMap, HashMap};
use tensorseal_format::Checkpoint;

/// The maximum number of weights that the stacks of one model are split into.
const MAX_WEIGHTS: u64 = 1 << 20;

/// The names of the projections of a single expert: gate, up, down.
type ProjectionNames = [&'static str; 3];

const PLAIN: ProjectionNames = ["gate_proj", "up_proj", "down_proj"];
const NUMBERED: ProjectionNames = ["w1", "w3", "w2"];

/// The model types that name single experts differently: their types, the module in place of `mlp`, and the names of
/// projections.
const OTHERS: &[(&[&str], &str, ProjectionNames)] = &[
    (&["mixtral", "minimax", "minimax_m2", "phimoe"], "block_sparse_moe", NUMBERED),
    (&["lfm2_moe"], "mlp", NUMBERED),
];

/// The model types that store rows and columns exchanged.
const EXCHANGED: &[&str] = &["qwen3_vl_moe", "qwen3_vl_moe_text"];

/// A stack of matrices: for each expert one matrix, or two on top of one another.
struct ExpertStack<'w> {
    weight: &'w Weight,
    experts: u64,
    rows: u64,
    columns: u64,
}

impl<'w> ExpertStack<'w> {
    fn from_weight(model: &Checkpoint, weight: &'w Weight) -> Option<ExpertStack<'w>> {
        let [experts, rows, columns] = weight.shape[..].try_into().ok()?;
        let is_real = match &weight.storage {
            WeightStorage::View(view) => {
                view.is_whole_tensor() && model.tensors[view.tensor].dtype.is_float()
            }
            WeightStorage::Joined(joined) => joined.dtype().is_float(),
            WeightStorage::Quantised(_) => !weight.flattened,
        };
        let fits = (1..=MAX_EXPERTS).contains(&experts) && rows > 0 && columns > 0;
        (fits && is_real).then_some(ExpertStack { weight, experts, rows, columns })
    }

    /// Returns the storage of the matrix that begins with element `first` of one expert.
    fn matrix(
        &self,
        expert: u64,
        first: u64,
        shape: [u64; 2],
        is_exchanged: bool,
    ) -> WeightStorage {
        let first = expert * self.rows * self.columns + first;
        match &self.weight.storage {
            WeightStorage::Joined(joined) => WeightStorage::Joined(joined.starting_at(first)),
            WeightStorage::View(view) if is_exchanged => {
                WeightStorage::View(view.transposed(first, shape, self.columns))
            }
            WeightStorage::View(view) => WeightStorage::View(view.matrix(first, shape)),
            WeightStorage::Quantised(part) => WeightStorage::Quantised(part.starting_at(first)),
        }
    }
}

/// Splits the stacks of experts among the weights of a model.
pub(super) fn split(model: &Checkpoint, weights: &mut Vec<Weight>) {
    const BOTH: &str = "experts.gate_up_proj";
    const DOWN: &str = "experts.down_proj";
    // The pairs of stacks, by the prefix of the canonical name and the qualifier of the file.
    let mut pairs: BTreeMap<(&str, &str), [Option<usize>; 2]> = BTreeMap::new();
    for (at, weight) in weights.iter().enumerate() {
        for (which, ending) in [BOTH, DOWN].into_iter().enumerate() {
            let Some(stem) = weight.canonical.strip_suffix(ending) else { continue };
            if stem.is_empty() || stem.ends_with('.') {
                pairs.entry((stem, qualifier(model, weight))).or_default()[which] = Some(at);
            }
        }
    }
    let mut configs: HashMap<&str, CompanionConfig> = HashMap::new();
    let (mut split, mut gone, mut count) = (Vec::new(), Vec::new(), 0);
    let mut renamed: HashMap<String, String> = HashMap::new();
    for (at, weight) in weights.iter().enumerate() {
        let Some((stem, which)) = mlx_projection(&weight.canonical) else { continue };
        let Some(stack) = ExpertStack::from_weight(model, weight) else { continue };
        let Some(config) = config_of(model, weight, &mut configs) else { continue };
        count += stack.experts;
        if count > MAX_WEIGHTS {
            break;
        }
        let name = projection_naming(config).map_or(PLAIN, |(_, names)| names)[which];
        let shape = [stack.rows, stack.columns];
        split.extend((0..stack.experts).map(|expert| Weight {
            canonical: format!("{stem}experts.{expert}.{name}.weight"),
            name: weight.name.clone(),
            shape: shape.to_vec(),
            flattened: false,
            storage: stack.matrix(expert, 0, shape, false),
        }));
        gone.push(at);
    }
    for ((stem, _), pair) in &pairs {
        let [Some(both), Some(down)] = *pair else { continue };
        let stacks = [both, down].map(|at| ExpertStack::from_weight(model, &weights[at]));
        let [Some(both_stack), Some(down_stack)] = &stacks else { continue };
        if both_stack.experts != down_stack.experts {
            continue;
        }
        let Some(config) = config_of(model, &weights[both], &mut configs) else { continue };
        let is_exchanged = match orientation(both_stack, down_stack) {
            Some(MatrixOrientation::OutputsByInputs) => false,
            Some(MatrixOrientation::InputsByOutputs) if config.has_model_type(EXCHANGED) => {
                // Columns can only be read from a single tensor of numbers.
                let is_view = |stack: &&ExpertStack<'_>| {
                    matches!(stack.weight.storage, WeightStorage::View(_))
                };
                if ![both_stack, down_stack].iter().all(is_view) {
                    continue;
                }
                true
            }
            _ => continue,
        };
        count += 3 * both_stack.experts;
        if count > MAX_WEIGHTS {
            break;
        }
        add_projections(stem, config, both_stack, down_stack, is_exchanged, &mut split);
        gone.extend([both, down]);
        // The router, next to the experts, is named after the same module.
        if let Some((place, _)) = projection_naming(config)
            && let Some(before) = stem.strip_suffix("mlp.")
        {
            renamed.insert((*stem).to_owned(), format!("{before}{place}."));
        }
    }
    gone.sort_unstable();
    for weight in weights.iter_mut() {
        let end = weight.canonical.find("mlp.").map_or(0, |at| at + "mlp.".len());
        if let Some(stem) = renamed.get(&weight.canonical[..end]) {
            weight.canonical = format!("{stem}{}", &weight.canonical[end..]);
        }
    }
    let mut at = 0;
    weights.retain(|_| {
        at += 1;
        gone.binary_search(&(at - 1)).is_err()
    });
    weights.append(&mut split);
}

/// Returns the prefix of the name of a stack of MLX, and which of the three projections it is.
fn mlx_projection(canonical: &str) -> Option<(&str, usize)> {
    let stem = canonical.strip_suffix(".weight")?;
    let which = PLAIN.iter().position(|name| stem.ends_with(name))?;
    let stem = stem.strip_suffix(PLAIN[which])?.strip_suffix("switch_mlp.")?;
    (stem.is_empty() || stem.ends_with('.')).then_some((stem, which))
}

/// Returns the configuration in the directory of a weight.
fn config_of<'m, 'c>(
    model: &'m Checkpoint,
    weight: &Weight,
    configs: &'c mut HashMap<&'m str, CompanionConfig>,
) -> Option<&'c CompanionConfig> {
    let file = model.tensors[*weight.tensors().first()?].file;
    let directory = directory_of(&model.files[file].path);
    Some(configs.entry(directory).or_insert_with(|| CompanionConfig::read(model, directory)))
}

/// Returns the module in place of `mlp` in the names of single experts and the names of their projections, if they
/// differ from the usual ones.
fn projection_naming(config: &CompanionConfig) -> Option<(&'static str, ProjectionNames)> {
    let naming = OTHERS.iter().find(|(types, _, _)| config.has_model_type(types));
    naming.map(|(_, place, names)| (*place, *names))
}

/// The orientation of the matrices of a layer.
enum MatrixOrientation {
    /// Rows are outputs and columns inputs, as usual.
    OutputsByInputs,
    /// Rows are inputs and columns outputs.
    InputsByOutputs,
}

/// Returns the orientation of the two stacks of a layer; `None` if their dimensions do not match.
fn orientation(both: &ExpertStack<'_>, down: &ExpertStack<'_>) -> Option<MatrixOrientation> {
    if both.columns == down.rows && Some(both.rows) == down.columns.checked_mul(2) {
        return Some(MatrixOrientation::OutputsByInputs);
    }
    let exchanged = both.rows == down.columns && Some(both.columns) == down.rows.checked_mul(2);
    exchanged.then_some(MatrixOrientation::InputsByOutputs)
}

/// Adds the projections of each expert.
fn add_projections(
    stem: &str,
    config: &CompanionConfig,
    both: &ExpertStack<'_>,
    down: &ExpertStack<'_>,
    is_exchanged: bool,
    weights: &mut Vec<Weight>,
) {
    let (stem, [gate, up, low]) = match projection_naming(config) {
        Some((place, names)) => match stem.strip_suffix("mlp.") {
            Some(before) => (format!("{before}{place}."), names),
            None => (stem.to_owned(), names),
        },
        None => (stem.to_owned(), PLAIN),
    };
    // The outputs and inputs of the gate and up projections.
    let [inner, hidden] = match is_exchanged {
        false => [both.rows / 2, both.columns],
        true => [both.columns / 2, both.rows],
    };
    // The second matrix is below the first, or to the right of it.
    let second = if is_exchanged { inner } else { inner * hidden };
    for expert in 0..both.experts {
        let mut add = |name: &str, stack: &ExpertStack<'_>, first: u64, shape: [u64; 2]| {
            weights.push(Weight {
                canonical: format!("{stem}experts.{expert}.{name}.weight"),
                name: stack.weight.name.clone(),
                shape: shape.to_vec(),
                flattened: false,
                storage: stack.matrix(expert, first, shape, is_exchanged),
            });
        };
        add(gate, both, 0, [inner, hidden]);
        add(up, both, second, [inner, hidden]);
        add(low, down, 0, [hidden, inner]);
    }
}

/// Returns the file name that qualifies the name of a tensor if two files have tensors of the same name. Parts of
/// several ranks are one tensor and have no qualifier.
fn qualifier<'m>(model: &'m Checkpoint, weight: &Weight) -> &'m str {
    let tensor = match &weight.storage {
        WeightStorage::Joined(_) => None,
        WeightStorage::View(_) | WeightStorage::Quantised(_) => weight.tensors().first().copied(),
    };
    let Some(tensor) = tensor else { return "" };
    let (name, rest) = (&model.tensors[tensor].name, unqualified(model, tensor));
    &name[..name.len() - rest.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weights;
    use crate::testing::{TestModel, numbers, values, weight};

    const EXPERTS: usize = 3;
    const INNER: usize = 2;
    const HIDDEN: usize = 5;

    /// Writes a layer with its experts in stacks of these dimensions, and other tensors.
    fn layer(both: [usize; 3], down: [usize; 3], others: &[&str], config: &str) -> TestModel {
        let test_model = TestModel::new();
        let stack = |name: &'static str, shape: [usize; 3]| {
            (name, shape.to_vec(), numbers(shape.iter().product()))
        };
        let mut tensors = vec![
            stack("model.layers.0.mlp.experts.gate_up_proj", both),
            stack("model.layers.0.mlp.experts.down_proj", down),
        ];
        tensors.extend(others.iter().map(|name| (*name, vec![2, 2], numbers(4))));
        test_model.file("model.safetensors", &tensors, &[]);
        test_model.text("config.json", config);
        test_model
    }

    fn names(test_model: &TestModel) -> Vec<String> {
        Weights::from_checkpoint(&test_model.open())
            .readable
            .into_iter()
            .map(|weight| weight.canonical)
            .collect()
    }

    #[test]
    fn stacks_are_the_projections_of_each_expert() {
        let test_model =
            layer([EXPERTS, 2 * INNER, HIDDEN], [EXPERTS, HIDDEN, INNER], &["norm.weight"], "");
        for path in ["", "model.safetensors"] {
            let model = test_model.open_at(path);
            let weights = Weights::from_checkpoint(&model);
            assert_eq!(weights.readable.len(), 3 * EXPERTS + 1);
            for expert in 0..EXPERTS {
                let of = |name: &str, shape: [usize; 2], first: usize| {
                    let name = format!("layers.0.mlp.experts.{expert}.{name}.weight");
                    let projection = weight(&weights, &name);
                    assert_eq!(
                        (projection.row_major_tensor(), projection.whole_tensor()),
                        (None, None)
                    );
                    assert_eq!(projection.shape, shape.map(|len| len as u64));
                    let expected: Vec<f64> =
                        (first..first + INNER * HIDDEN).map(|number| number as f64).collect();
                    assert_eq!(values(&model, projection, 3), expected, "{name}");
                };
                let each = INNER * HIDDEN;
                of("gate_proj", [INNER, HIDDEN], 2 * expert * each);
                of("up_proj", [INNER, HIDDEN], (2 * expert + 1) * each);
                of("down_proj", [HIDDEN, INNER], expert * each);
            }
        }
    }

    #[test]
    fn mlx_has_a_stack_for_each_projection() {
        let of = |name: &'static str, kind: &str| {
            let test_model = TestModel::new();
            let tensors = [
                (name, vec![2, INNER, HIDDEN], numbers(2 * INNER * HIDDEN)),
                ("model.layers.0.mlp.switch_mlp.gate.weight", vec![2, 1, 1], numbers(2)),
                ("x.switch_mlp.up_proj.weight", vec![2, 2], numbers(4)),
            ];
            test_model.file("model.safetensors", &tensors, &[]);
            test_model.text("config.json", &format!(r#"{{"model_type": "{kind}"}}"#));
            test_model
        };
        let test_model = of("model.layers.0.mlp.switch_mlp.down_proj.weight", "qwen3_moe");
        let model = test_model.open();
        let weights = Weights::from_checkpoint(&model);
        let second = weight(&weights, "layers.0.mlp.experts.1.down_proj.weight");
        assert_eq!(second.shape, [INNER as u64, HIDDEN as u64]);
        let expected: Vec<f64> = (10..20).map(f64::from).collect();
        assert_eq!(values(&model, second, 3), expected);
        // Similar names are not split.
        let whole = ["layers.0.mlp.switch_mlp.gate.weight", "x.switch_mlp.up_proj.weight"];
        assert!(whole.iter().all(|name| weights.readable.iter().any(|w| w.canonical == *name)));
        let test_model = of("model.layers.0.block_sparse_moe.switch_mlp.up_proj.weight", "mixtral");
        assert!(
            names(&test_model)
                .contains(&"layers.0.block_sparse_moe.experts.1.w3.weight".to_owned())
        );
    }

    #[test]
    fn some_model_types_use_other_names() {
        let of = |kind: &str| {
            let config = format!(r#"{{"model_type": "{kind}"}}"#);
            names(&layer([1, 2 * INNER, HIDDEN], [1, HIDDEN, INNER], &[], &config))
        };
        let mixtral = ["w2", "w1", "w3"];
        let mixtral = mixtral.map(|n| format!("layers.0.block_sparse_moe.experts.0.{n}.weight"));
        assert_eq!(of("mixtral"), mixtral);
        let router = layer(
            [1, 2 * INNER, HIDDEN],
            [1, HIDDEN, INNER],
            &["model.layers.0.mlp.gate.weight", "model.layers.1.mlp.gate.weight"],
            r#"{"model_type": "mixtral"}"#,
        );
        let named = names(&router);
        assert!(named.contains(&"layers.0.block_sparse_moe.gate.weight".to_owned()), "{named:?}");
        assert!(named.contains(&"layers.1.mlp.gate.weight".to_owned()), "{named:?}");
        assert_eq!(of("phimoe"), mixtral);
        assert_eq!(of("qwen3_moe")[0], "layers.0.mlp.experts.0.down_proj.weight");
        assert_eq!(of("lfm2_moe")[0], "layers.0.mlp.experts.0.w2.weight");
    }

    #[test]
    fn stacks_with_other_dimensions_are_not_split() {
        const WHOLE: [&str; 2] =
            ["layers.0.mlp.experts.down_proj", "layers.0.mlp.experts.gate_up_proj"];
        // gpt-oss, also if both sizes of a layer are the same.
        let bias = ["model.layers.0.mlp.experts.gate_up_proj_bias"];
        for inner in [INNER, HIDDEN] {
            let of = layer([EXPERTS, HIDDEN, 2 * inner], [EXPERTS, inner, HIDDEN], &bias, "");
            assert_eq!(names(&of)[..2], WHOLE);
        }
        // Dimensions that do not match.
        for (both, down) in [
            ([3, 4, 5], [2, 5, 2]),
            ([3, 4, 5], [3, 4, 2]),
            ([3, 3, 5], [3, 5, 1]),
            ([3, 4, 5], [3, 2, 5]),
        ] {
            assert_eq!(names(&layer(both, down, &[], "")), WHOLE);
        }
        let many = MAX_EXPERTS as usize + 1;
        assert_eq!(names(&layer([many, 2, 1], [many, 1, 1], &[], "")), WHOLE);
        // Only one of the two.
        let test_model = TestModel::new();
        test_model.file(
            "a.safetensors",
            &[("x.experts.gate_up_proj", vec![2, 4, 5], numbers(40))],
            &[],
        );
        assert_eq!(names(&test_model), ["x.experts.gate_up_proj"]);
    }

    #[test]
    fn rows_and_columns_are_exchanged_for_some_model_types() {
        let config = r#"{"text_config": {"model_type": "qwen3_vl_moe_text"}}"#;
        let (both, down) = ([EXPERTS, HIDDEN, 2 * INNER], [EXPERTS, INNER, HIDDEN]);
        let test_model = layer(both, down, &[], config);
        let model = test_model.open();
        let weights = Weights::from_checkpoint(&model);
        assert_eq!(weights.readable.len(), 3 * EXPERTS);
        let expected =
            |stack: usize, rows: usize, columns: usize, row_stride: usize, first: usize| {
                let of_row = |row: usize| {
                    (0..columns)
                        .map(move |column| (stack + column * row_stride + row + first) as f64)
                };
                (0..rows).flat_map(of_row).collect::<Vec<f64>>()
            };
        for expert in 0..EXPERTS {
            let of = |name: &str| {
                let name = format!("layers.0.mlp.experts.{expert}.{name}.weight");
                values(&model, weight(&weights, &name), 4)
            };
            let (two, one) = (expert * 2 * INNER * HIDDEN, expert * INNER * HIDDEN);
            assert_eq!(of("gate_proj"), expected(two, INNER, HIDDEN, 2 * INNER, 0));
            assert_eq!(of("up_proj"), expected(two, INNER, HIDDEN, 2 * INNER, INNER));
            assert_eq!(of("down_proj"), expected(one, HIDDEN, INNER, HIDDEN, 0));
        }
    }

    #[test]
    fn each_variant_is_split() {
        let test_model = TestModel::new();
        for file in ["model.safetensors", "model.fp16.safetensors"] {
            let both = ("mlp.experts.gate_up_proj", vec![1, 2, 3], numbers(6));
            test_model.file(
                file,
                &[both, ("mlp.experts.down_proj", vec![1, 3, 1], numbers(3))],
                &[],
            );
        }
        assert_eq!(names(&test_model).len(), 6);
    }
}
