//! Finding a mark in quantised weights against finding it in bfloat16, by weights: reading, digesting, putting together and
//! correlating, on two threads.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use std::path::Path;
use tensorseal_core::watermark::detect;
use tensorseal_core::watermark::key::WatermarkKey;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_engine::{RunOptions, Threads};
use tensorseal_format::{Checkpoint, OpenOptions};

/// Rows, columns and layers of a model.
const ROWS: usize = 2048;
const COLUMNS: usize = 4096;
const LAYERS: usize = 8;

/// A tensor of a layer: the ending of its name, type, shape, and a byte that all of it has, if it is no noise.
type Part = (&'static str, Dtype, Vec<usize>, Option<u8>);

/// Scales of 2^-6 or so, whatever 16- or 8-bit type they are of.
const SCALE: Option<u8> = Some(0x26);

fn layouts() -> Vec<(&'static str, &'static str, Vec<Part>)> {
    use Dtype::{BF16, F8_E4M3, F16, F32, I8, I32, U8, U32};
    let (r, c) = (ROWS, COLUMNS);
    vec![
        ("bfloat16", "{}", vec![(".weight", BF16, vec![r, c], None)]),
        (
            "int8",
            "{}",
            vec![(".weight", I8, vec![r, c], None), (".weight_scale", F32, vec![r, 1], SCALE)],
        ),
        (
            "fp8 by block",
            "{}",
            vec![
                (".weight", F8_E4M3, vec![r, c], None),
                (".weight_scale_inv", F32, vec![r / 128, c / 128], SCALE),
            ],
        ),
        (
            "mlx 4-bit",
            r#"{"quantization": {"bits": 4, "group_size": 64}}"#,
            vec![
                (".weight", U32, vec![r, c / 8], None),
                (".scales", F16, vec![r, c / 64], SCALE),
                (".biases", F16, vec![r, c / 64], SCALE),
            ],
        ),
        (
            "mlx 3-bit",
            r#"{"quantization": {"bits": 3, "group_size": 64}}"#,
            vec![
                (".weight", U32, vec![r, c * 3 / 32], None),
                (".scales", F16, vec![r, c / 64], SCALE),
                (".biases", F16, vec![r, c / 64], SCALE),
            ],
        ),
        (
            "gptq 4-bit",
            r#"{"quantization_config": {"quant_method": "gptq", "bits": 4}}"#,
            vec![
                (".qweight", I32, vec![c / 8, r], None),
                (".qzeros", I32, vec![c / 128, r / 8], None),
                (".scales", F16, vec![c / 128, r], SCALE),
            ],
        ),
        (
            "awq 4-bit",
            r#"{"quantization_config": {"quant_method": "awq", "bits": 4}}"#,
            vec![
                (".qweight", I32, vec![c, r / 8], None),
                (".qzeros", I32, vec![c / 128, r / 8], None),
                (".scales", F16, vec![c / 128, r], SCALE),
            ],
        ),
        (
            "nvfp4",
            "{}",
            vec![
                (".weight", U8, vec![r, c / 2], None),
                (".weight_scale", F8_E4M3, vec![r, c / 16], SCALE),
                (".weight_scale_2", F32, vec![], SCALE),
            ],
        ),
        (
            "mxfp4 of gpt-oss",
            "{}",
            vec![
                ("_blocks", U8, vec![1, r, c / 32, 16], None),
                ("_scales", U8, vec![1, r, c / 32], Some(120)),
            ],
        ),
    ]
}

fn write(dir: &Path, config: &str, parts: &[Part]) {
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut tensors = Vec::new();
    for layer in 0..LAYERS {
        for (ending, dtype, shape, byte) in parts {
            let mut bytes =
                vec![byte.unwrap_or(0); shape.iter().product::<usize>() * dtype.bitsize() / 8];
            if byte.is_none() {
                noise.fill(&mut bytes);
            }
            tensors.push((
                format!("model.layers.{layer}.mlp.up_proj{ending}"),
                *dtype,
                shape.clone(),
                bytes,
            ));
        }
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
    std::fs::write(dir.join("config.json"), config).unwrap();
}

fn schemes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("detection by weights");
    group.sample_size(10);
    group.throughput(Throughput::Elements((ROWS * COLUMNS * LAYERS) as u64));
    let keys = [WatermarkKey::generate().unwrap()];
    let mut options = RunOptions::default();
    options.threads = Threads::new(2);
    for (name, config, parts) in layouts() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), config, &parts);
        let model = Checkpoint::open(dir.path(), &OpenOptions::default()).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let found = detect::measure(&model, &keys, &options, &Progress::default()).unwrap();
                assert_eq!(found.carriers.elements(), (ROWS * COLUMNS * LAYERS) as u64);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, schemes);
criterion_main!(benches);
