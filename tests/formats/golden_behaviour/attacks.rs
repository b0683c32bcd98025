//! Attacks on weights.

use super::models::{UP, decoder};
use super::run::Sequence;
use crate::common::attacks::victim::{Float, Victim};
use crate::common::attacks::{Attack, accidents, hidden, tampering};
use crate::common::*;
use std::fs;

/// Attacks on one tensor of the decoder; of each type of elements, every third.
pub(super) fn sequences() -> Vec<Sequence> {
    let mut all = Vec::new();
    for (turn, float) in [Float::F32, Float::F16, Float::BF16].into_iter().enumerate() {
        let mut attacks: Vec<Attack> = [
            accidents::values(),
            accidents::pages(),
            accidents::foreign(),
            hidden::in_the_clear(float),
            hidden::encrypted(),
            tampering::lines(),
            tampering::tensors(),
        ]
        .into_iter()
        .flatten()
        .collect();
        if float == Float::F32 {
            attacks.extend(tampering::precision());
            attacks.extend(hidden::low_bytes(false));
        }
        // The program that these hide is this test itself, which is another in each build.
        let of_this_build = |attack: &Attack| {
            let said = format!("{} {}", attack.name, attack.strength);
            said.contains("executable") || said.contains("code")
        };
        attacks.retain(|attack| !of_this_build(attack));
        for attack in attacks.into_iter().skip(turn).step_by(3) {
            let name = format!("attacks/{}, {}, {}", float.name(), attack.name, attack.strength);
            let sequence = Sequence::new(name, move |dir| {
                let mut victim = Victim::new(safetensors(&decoder(float)));
                attack.apply(&mut victim, UP[0], UP[1]);
                fs::write(dir.join("model.safetensors"), &victim.bytes).unwrap();
                dir.join("model.safetensors")
            });
            all.push(sequence.json("audit", "audit {m}"));
        }
    }
    all
}
