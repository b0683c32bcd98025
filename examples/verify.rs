//! Verifies a model with its seal and with a signature by a key that is trusted:
//! `cargo run --example verify -- MODEL BUNDLE PUBLIC_KEY`.

use std::process::ExitCode;
use tensorseal::{SignatureOptions, VerifyOptions};
use tensorseal_core::judge::Verdict;
use tensorseal_core::verbs::trust;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, bundle, key] = &args[..] else {
        return Err("expected MODEL BUNDLE PUBLIC_KEY".into());
    };
    let trusted = trust::read_key(key.as_ref())?;
    let mut options = VerifyOptions::default();
    options.signature = Some(SignatureOptions::new(bundle, trusted));
    // Named, it must be there: a signature alone would do otherwise.
    options.seal = Some(format!("{model}/tensorseal.seal.json").into());
    let report = tensorseal::verify(model.as_ref(), &options)?;
    println!("{:?}: {}", report.verdict, report.model.root.as_deref().unwrap_or("not measured"));
    for finding in &report.findings {
        println!("{:8} {}: {}", finding.severity.name(), finding.rule, finding.message);
    }
    Ok(ExitCode::from(if report.verdict == Verdict::Pass { 0 } else { 1 }))
}
