//! Tests of unknown layouts, and of models without quantisation that resemble one.

use crate::Weights;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use std::collections::BTreeMap;
use std::path::Path;
use tensorseal_format::{Checkpoint, OpenOptions};

type Named<'a> = (&'a str, Dtype, &'a [usize]);

fn write(path: &Path, tensors: &[Named<'_>]) {
    let zeros = vec![0u8; 1 << 20];
    let views = tensors.iter().map(|(name, dtype, shape)| {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (*name, TensorView::new(*dtype, shape.to_vec(), &zeros[..bytes]).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

/// Returns the unreadable weights of a model, each with its parts, and the names of all readable weights.
fn read(tensors: &[Named<'_>]) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("model.safetensors"), tensors);
    names_of(dir.path())
}

fn names_of(directory: &Path) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let model = Checkpoint::open(directory, &OpenOptions::default()).unwrap();
    let Weights { readable: weights, unreadable } = Weights::from_checkpoint(&model);
    let name = |index: &usize| model.tensors[*index].name.clone();
    let names = |parts: &Vec<usize>| {
        let mut names: Vec<String> = parts.iter().map(name).collect();
        names.sort();
        names
    };
    let unreadable = unreadable.iter().map(|u| (name(&u.tensor), names(&u.parts))).collect();
    let mut read: Vec<String> = weights.into_iter().map(|weight| weight.name).collect();
    read.sort();
    (unreadable, read)
}

fn expect_unreadable(expected: &[(&str, &[&str])], tensors: &[Named<'_>]) {
    let (unreadable, read) = read(tensors);
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let expected: BTreeMap<String, Vec<String>> =
        expected.iter().map(|(name, parts)| ((*name).to_owned(), owned(parts))).collect();
    assert_eq!(unreadable, expected);
    let taken: usize = unreadable.values().map(|parts| 1 + parts.len()).sum();
    assert_eq!(taken + read.len(), tensors.len(), "{read:?}");
}

/// Checks that no weight of a model is unreadable.
fn plain(tensors: &[Named<'_>]) {
    expect_unreadable(&[], tensors);
}

#[test]
fn codes_with_scales_are_not_read() {
    use Dtype::*;
    // Scales of any size and rank are not weights.
    expect_unreadable(
        &[("a.weight", &["a.scales", "a.zeros"])],
        &[
            ("a.weight", U8, &[16, 64]),
            ("a.scales", F16, &[512, 256]),
            ("a.zeros", F16, &[2, 2, 2, 2]),
            ("a.bias", F16, &[16]),
            ("norm.weight", F16, &[64]),
        ],
    );
    expect_unreadable(
        &[
            ("x.gate_up_proj_q", &["x.gate_up_proj_scales"]),
            ("x.down_proj_q", &["x.down_proj_scales"]),
        ],
        &[
            ("x.gate_up_proj_q", U8, &[4, 8, 4, 16]),
            ("x.gate_up_proj_scales", U8, &[4, 8, 4]),
            ("x.gate_up_proj_bias", BF16, &[4, 8]),
            ("x.down_proj_q", U8, &[4, 8, 4, 16]),
            ("x.down_proj_scales", U8, &[4, 8, 4]),
        ],
    );
    // Names that wrap or extend that of the codes.
    expect_unreadable(
        &[("a.weight._inner._codes", &["a.weight._scale", "a.weight._shift"])],
        &[
            ("a.weight._inner._codes", I8, &[8, 8]),
            ("a.weight._scale", F32, &[8, 1]),
            ("a.weight._shift", F32, &[8, 1]),
        ],
    );
    expect_unreadable(
        &[("a.weight", &["a.weight.absmax", "a.weight.order"])],
        &[
            ("a.weight", I16, &[8, 8]),
            ("a.weight.absmax", F32, &[8]),
            ("a.weight.order", I32, &[8]),
            ("a.weight_bias", F32, &[8]),
        ],
    );
    // 64-bit words, tables in a separate module, orders of columns, metadata.
    expect_unreadable(
        &[("a.Qidxs", &["a.SU", "a.SV", "a.Wscale", "a.codebook_id"])],
        &[
            ("a.Qidxs", I64, &[8, 8]),
            ("a.SU", F16, &[8]),
            ("a.SV", F16, &[8]),
            ("a.Wscale", F32, &[]),
            ("a.codebook_id", I64, &[]),
        ],
    );
    expect_unreadable(
        &[("a.indices", &["a.centroids.weight", "a.perm", "a.weight_scale"])],
        &[
            ("a.indices", I32, &[1, 64, 8]),
            ("a.centroids.weight", F16, &[256, 512]),
            ("a.weight_scale", F16, &[64]),
            ("a.perm", I16, &[64]),
        ],
    );
}

#[test]
fn floats_of_8_bits_are_codes_where_scales_lie_beside() {
    use Dtype::*;
    expect_unreadable(
        &[("a.weight", &["a.input_scale", "a.scale_weight"])],
        &[
            ("a.weight", F8_E4M3, &[8, 8]),
            ("a.scale_weight", F32, &[300, 300]),
            ("a.input_scale", F32, &[]),
        ],
    );
    expect_unreadable(
        &[("a.weight", &["a.weight_scale", "a.weight_scale_2"])],
        &[
            ("a.weight", F4, &[8, 8]),
            ("a.weight_scale", F8_E8M0, &[8, 4]),
            ("a.weight_scale_2", F32, &[]),
        ],
    );
    plain(&[("a.weight", F8_E4M3, &[8, 8]), ("a.bias", F8_E4M3, &[8])]);
    // Activations have a scale, weights have none.
    plain(&[("a.weight", F8_E5M2, &[8, 8]), ("a.input_scale", F32, &[])]);
    plain(&[
        ("attn.qkv.weight", F8_E4M3, &[8, 8]),
        ("attn.norm.query_norm.scale", F8_E4M3, &[8]),
        ("attn.k_scale", F32, &[]),
    ]);
}

#[test]
fn plain_models_have_none() {
    use Dtype::*;
    plain(&[
        ("embed.weight", F16, &[64, 8]),
        ("embed.scale", F16, &[8]),
        ("embed.position_ids", I64, &[1, 64]),
        ("attn.relative_position_index", I64, &[49, 49]),
        ("attn.logit_scale", F32, &[4, 1, 1]),
        ("attn.scale", F32, &[]),
        ("attn.bias", U8, &[1, 1, 64, 64]),
        ("attn.causal_mask", U8, &[64, 64]),
        ("attn.qkv.weight", F32, &[8, 8]),
        ("bn.num_batches_tracked", I64, &[]),
        ("bn.scale", F32, &[8]),
        ("gate.tid2eid", I64, &[64, 2]),
        ("gate.weight", F32, &[64, 2]),
        ("gate.bias", F32, &[64]),
        ("table", I32, &[64, 2]),
        ("scale", F32, &[1]),
        ("tokens.map", I32, &[64, 64]),
        ("tokens.layer_scale", F32, &[64]),
    ]);
}

#[test]
fn what_does_not_fit_keeps_its_reason_and_takes_its_parts() {
    use Dtype::*;
    let fp8 = [
        ("a.weight", F8_E4M3, &[8, 8][..]),
        ("a.weight_scale", F32, &[3, 3, 300]),
        ("a.bias", F32, &[8]),
    ];
    expect_unreadable(&[("a.weight", &["a.weight_scale"])], &fp8);
    // Scales are not codes, even if the configuration states an unknown quantisation method.
    let dir = tempfile::tempdir().unwrap();
    let tensors = [("a.codes", U8, &[64, 128][..]), ("a.scales", U8, &[64, 128])];
    write(&dir.path().join("model.safetensors"), &tensors);
    let config = r#"{"quantization_config": {"quant_method": "of-tomorrow"}}"#;
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let (unreadable, read) = names_of(dir.path());
    assert_eq!(unreadable, [("a.codes".to_owned(), vec!["a.scales".to_owned()])].into());
    assert!(read.is_empty(), "{read:?}");
}

#[test]
fn codes_have_the_names_of_weights() {
    let names = crate::schemes::unknown_codes::weight_names;
    for (codes, weight) in [
        ("a.q_proj.weight", "a.q_proj.weight"),
        ("a.q_proj.weight_packed", "a.q_proj.weight"),
        ("a.q_proj.qcodes", "a.q_proj.weight"),
        ("a.q_proj.weight._data._data", "a.q_proj.weight"),
        ("a.experts.down_proj_blocks", "a.experts.down_proj"),
        ("a.q_proj_codes", "a.q_proj.weight"),
        ("codes", "weight"),
    ] {
        assert!(names(codes).contains(&weight.to_owned()), "{codes}: {:?}", names(codes));
    }
    assert!(names("_").len() < 9 && names(&"_".repeat(9000)).len() < 20);
}

#[test]
fn shards_keep_codes_and_scales_apart() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("model-00001-of-00002.safetensors"),
        &[("a.weight", Dtype::I8, &[8, 8])],
    );
    write(&dir.path().join("model-00002-of-00002.safetensors"), &[("a.scales", Dtype::F32, &[8])]);
    let (unreadable, _) = names_of(dir.path());
    assert_eq!(unreadable, [("a.weight".to_owned(), vec!["a.scales".to_owned()])].into());
}

#[test]
fn many_of_one_module_are_found_in_time() {
    let names: Vec<String> = (0..20_000).map(|at| format!("a.x{at}_scales")).collect();
    let codes: Vec<String> = (0..20_000).map(|at| format!("a.x{at}_codes")).collect();
    let mut tensors: Vec<Named<'_>> =
        names.iter().map(|name| (name.as_str(), Dtype::F16, &[1][..])).collect();
    tensors.extend(codes.iter().map(|name| (name.as_str(), Dtype::U8, &[1, 1][..])));
    let long = format!("{}scale", "_".repeat(50_000));
    tensors.push((&long, Dtype::F16, &[1]));
    let started = std::time::Instant::now();
    let (unreadable, read) = read(&tensors);
    assert_eq!((unreadable.len(), read.len()), (20_000, 1));
    assert!(unreadable.iter().all(|(codes, parts)| {
        parts.len() == 1 && parts[0].strip_suffix("_scales") == codes.strip_suffix("_codes")
    }));
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}
