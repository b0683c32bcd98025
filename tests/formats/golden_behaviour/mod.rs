//! What the program does, held to what it did: exit code, verdict, findings, model root, and digests of seals,
//! of reports and of what people read, for every fixture and for generated models, in
//! `testdata/golden-behaviour.json`.
//!
//! A change of that file is a change of behaviour: the commit that has one says why. To record it anew:
//! `TENSORSEAL_RECORD_GOLDEN=1 cargo test --test formats golden_behaviour`. To see what a digest stands for, run the test
//! before and after with `TENSORSEAL_KEEP_GOLDEN=DIR`, which writes the normalised text of each case there, and
//! compare the directories.
//!
//! Left to vary: the directory, the time of the run, the version, who measured how fast (`engine`), and digits of
//! numbers behind the twelfth. A finding is written as severity, rule, file and tensor.
//!
//! Not here: fixtures that are no models but numbers (`root/`, `distribution/`, `quantised/`, `chacha_chips.json`,
//! `codeword.json`, the chains and keys of `signing/made.json`), which tests of the library hold; attacks that hide
//! the running program, which is another in each build; the bytes of statements that are signed at the time of the
//! test; other devices, sources over the network, and the real checkpoint, which have tests of their own; parts of
//! a registry (`--read-subset`), which depend on its path; `keygen`, which draws lots.

mod attacks;
mod companions;
mod examined;
mod gates;
mod malformed_models;
mod marks;
mod models;
mod normalising;
mod outcome;
mod pairs;
mod recorded;
mod registries;
mod reports;
mod run;
mod seals;
mod signatures;
mod texts;

use recorded::{file, hold, written};
use run::{Sequence, run_all};
use std::fs;

/// All of it; what takes long first.
fn sequences() -> Vec<Sequence> {
    [
        signatures::sequences(),
        marks::sequences(),
        texts::sequences(),
        registries::sequences(),
        gates::sequences(),
        reports::sequences(),
        examined::of_made_models(),
        attacks::sequences(),
        examined::of_fixtures(),
        malformed_models::sequences(),
        companions::sequences(),
        pairs::sequences(),
        seals::sequences(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_recording() -> bool {
    std::env::var_os("TENSORSEAL_RECORD_GOLDEN").is_some()
}

#[test]
fn behaviour_is_as_recorded() {
    let all = run_all(&sequences(), None);
    assert!(all.len() >= 1000, "{} cases", all.len());
    if is_recording() {
        fs::write(file(), written(&all)).unwrap();
    }
    hold(&all, true);
}

/// Every eighth sequence with one thread.
#[test]
fn threads_change_nothing() {
    if is_recording() {
        return;
    }
    let some: Vec<Sequence> = sequences().into_iter().skip(2).step_by(8).collect();
    hold(&run_all(&some, Some("1")), false);
}
