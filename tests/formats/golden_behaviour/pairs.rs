//! Two models side by side.

use super::models::*;
use super::run::Sequence;
use crate::common::attacks::victim::Float;
use crate::common::*;
use std::path::Path;

/// Two models: the first is `{m}`, the second `second`.
fn pair(
    name: &str,
    build: impl Fn(&Path) -> (Vec<Tensor<'static>>, Vec<Tensor<'static>>) + Send + Sync + 'static,
) -> Sequence {
    let build = move |dir: &Path| {
        let (first, second) = build(dir);
        write_model(&dir.join("second"), &second);
        write_model(&dir.join("first"), &first)
    };
    Sequence::new(format!("pairs/{name}"), build)
        .json("compare", "compare {m} second --full")
        .human("compare, for people", "compare {m} second")
        .json("audit, with a baseline", "audit {m} --baseline second")
        .prepared("seal second -o seal.json --sketch")
        .json("audit, with a seal", "audit {m} --baseline seal.json")
        .human("audit, with a seal, for people", "audit {m} --baseline seal.json")
        .json("verify", "verify {m} --seal seal.json")
        .json("verify, contents alone", "verify {m} --seal seal.json --content-only")
}

pub(super) fn sequences() -> Vec<Sequence> {
    let changed = |change: fn(&mut Vec<Tensor<'static>>)| {
        move |_: &Path| {
            let mut other = sound();
            change(&mut other);
            (other, sound())
        }
    };
    let quantised = Sequence::new("pairs/quantised", |dir| {
        write_model(&dir.join("second"), &decoder(Float::F32));
        copy(&dir.join("model"), &["gguf/llama.gguf".to_owned()])
    });
    vec![
        pair("same", changed(|_| ())),
        pair("another order", changed(|tensors| tensors.reverse())),
        pair("renamed", changed(|tensors| tensors[0].0 = "module.layers.0.mlp.up_proj.weight")),
        pair("one missing", changed(|tensors| drop(tensors.pop()))),
        pair("one more", changed(|tensors| tensors.push(("new", "I64", &[], vec![1; 8])))),
        pair("another shape", changed(|tensors| tensors[0].2 = &[256, 128])),
        pair("a value", changed(|tensors| tensors[1].3[4003] ^= 0x40)),
        pair("a row", changed(|tensors| tensors[1].3[10_240..11_264].fill(0))),
        pair(
            "another model",
            changed(|tensors| {
                for (at, tensor) in tensors.iter_mut().enumerate() {
                    tensor.3 = encoded(&bell(90 + at as u64, 32_768), Float::F32);
                }
            }),
        ),
        pair(
            "fine-tuned",
            changed(|tensors| {
                for (at, tensor) in tensors.iter_mut().enumerate() {
                    let step = bell(70 + at as u64, 32_768);
                    let old = bell(5 + at as u64, 32_768);
                    let new: Vec<f32> = old.iter().zip(step).map(|(a, b)| a + 0.01 * b).collect();
                    tensor.3 = encoded(&new, Float::F32);
                }
            }),
        ),
        pair(
            "another type",
            changed(|tensors| {
                for (at, tensor) in tensors.iter_mut().enumerate() {
                    tensor.1 = "BF16";
                    tensor.3 = encoded(&bell(5 + at as u64, 32_768), Float::BF16);
                }
            }),
        ),
        quantised.json("compare", "compare {m} second"),
        Sequence::new("pairs/byte orders", |dir| {
            copy(&dir.join("x"), &["gguf/little.gguf".to_owned(), "gguf/big.gguf".to_owned()])
        })
        .json("compare", "compare {m}/little.gguf {m}/big.gguf --full"),
    ]
}
