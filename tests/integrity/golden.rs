//! Golden values from independent implementations: see `testdata/README.md`.

use serde_json::Value;
use tensorseal_base::dtype::Dtype;
use tensorseal_core::seal::distribution::{Resolution, distribution};
use tensorseal_core::seal::document::root_text;
use tensorseal_core::seal::root::{RootEntry, model_root};
use tensorseal_engine::measure::{self, WordFormat};

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn dtype(entry: &Value) -> Dtype {
    entry["dtype"].as_str().unwrap().parse().unwrap()
}

/// A tensor of a vector of roots.
struct Rooted {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    strides: Option<Vec<u64>>,
    digest: [u8; 32],
}

impl Rooted {
    fn of(entry: &Value) -> Rooted {
        let numbers = |value: &Value| -> Option<Vec<u64>> {
            value.as_array().map(|all| all.iter().map(|n| n.as_u64().unwrap()).collect())
        };
        let digest = *blake3::hash(&unhex(&entry["data"])).as_bytes();
        assert_eq!(unhex(&entry["blake3"]), digest);
        Rooted {
            name: entry["name"].as_str().unwrap().to_owned(),
            dtype: dtype(entry),
            shape: numbers(&entry["shape"]).unwrap(),
            strides: numbers(&entry["strides"]),
            digest,
        }
    }

    fn entry(&self) -> RootEntry<'_> {
        RootEntry {
            name: &self.name,
            dtype: self.dtype,
            shape: &self.shape,
            strides: self.strides.as_deref(),
            digest: &self.digest,
        }
    }
}

#[test]
fn the_model_root_is_that_of_the_python_implementation() {
    for file in ["root/root_vector.json", "root/strided_vector.json"] {
        let vector = tensorseal_testing::json::<Value>(file);
        let entries = vector["tensors"].as_array().unwrap();
        let tensors: Vec<Rooted> = entries.iter().map(Rooted::of).collect();
        assert!(tensors.is_sorted_by_key(|tensor| tensor.name.as_str()), "byte order of the names");
        let root = model_root(tensors.iter().map(Rooted::entry));
        assert_eq!(root_text(&root), vector["root"], "{file}");
        // Strides count, and so does each of them.
        for (at, tensor) in tensors.iter().enumerate() {
            let Some(strides) = &tensor.strides else { continue };
            let mut other = strides.clone();
            other[0] += 1;
            for strides in [None, Some(other)] {
                let mut entries: Vec<RootEntry<'_>> = tensors.iter().map(Rooted::entry).collect();
                entries[at].strides = strides.as_deref();
                assert_ne!(model_root(entries), root, "{}", tensor.name);
            }
        }
    }
}

#[test]
fn statistics_are_those_of_numpy() {
    let vector = tensorseal_testing::json::<Value>("distribution/distribution_vector.json");
    for entry in vector.as_array().unwrap() {
        let (name, dtype, bytes) = (&entry["name"], dtype(entry), unhex(&entry["data"]));
        let measured = measure::measure_tile(&bytes, 0, WordFormat::from_dtype(dtype).into(), &[]);
        let d = distribution(dtype, &measured.histogram.unwrap(), measured.summary.as_ref());
        for (key, mine) in [
            ("count", d.count),
            ("nan", d.nan),
            ("positive_infinity", d.positive_infinity),
            ("negative_infinity", d.negative_infinity),
            ("zero", d.zero),
        ] {
            assert_eq!(entry[key], mine, "{dtype} {name} {key}");
        }
        // F32 is counted in bins of 2^-7: its mean and extremes are exact all the same.
        let loose = if d.resolution == Resolution::Exact { 1e-12 } else { 0.02 };
        let mut pairs = vec![
            ("min", d.min.0, 0.0),
            ("max", d.max.0, 0.0),
            ("mean", d.mean.0, 1e-12),
            ("standard_deviation", d.standard_deviation.0, loose),
            ("skewness", d.skewness.0, loose),
            ("kurtosis", d.kurtosis.0, loose),
        ];
        let quantiles = entry["quantiles"].as_array().unwrap();
        pairs.extend(
            d.quantiles.iter().map(|q| ("quantile", q.0, if loose < 0.01 { 0.0 } else { loose })),
        );
        let expected = pairs.iter().take(6).map(|(key, ..)| &entry[*key]).chain(quantiles);
        for ((key, mine, tolerance), theirs) in pairs.iter().zip(expected) {
            let theirs = theirs.as_f64().unwrap();
            let scale = theirs.abs().max(if *key == "mean" { 1e-4 } else { 0.0 });
            assert!(
                (mine - theirs).abs() <= tolerance * scale,
                "{dtype} {name} {key}: {mine} is not {theirs}"
            );
        }
    }
}
