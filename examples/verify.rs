//! Verifies a model with its seal, and with a signature by a key that is trusted:
//!
//! ```sh
//! cargo run --example verify -- MODEL [BUNDLE PUBLIC_KEY]
//! ```

use std::env;
use std::path::Path;
use std::process::ExitCode;
use tensorseal::judge::Verdict;
use tensorseal::verbs::trust;
use tensorseal::{Error, Report, SignatureOptions, VerifyOptions};

fn verify(model: &str, signed: Option<(&str, &str)>) -> Result<Report, Error> {
    let signature = match signed {
        Some((bundle, key)) => {
            Some(SignatureOptions::new(bundle, trust::read_key(Path::new(key))?))
        }
        None => None,
    };
    let options = VerifyOptions { signature, ..VerifyOptions::default() };
    tensorseal::verify(Path::new(model), &options)
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let report = match args[..] {
        [model] => verify(model, None)?,
        [model, bundle, key] => verify(model, Some((bundle, key)))?,
        _ => return Err("expected MODEL [BUNDLE PUBLIC_KEY]".into()),
    };
    println!("{:?}: {}", report.verdict, report.model.root.as_deref().unwrap_or("not measured"));
    for finding in &report.findings {
        println!("{:8} {}: {}", finding.severity.name(), finding.rule, finding.message);
    }
    Ok(ExitCode::from(if report.verdict == Verdict::Pass { 0 } else { 1 }))
}
