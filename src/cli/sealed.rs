//! The seal that a model is compared with, and its fine sidecar.

use super::inputs::Inputs;
use super::{Failure, output, running};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use tensorseal::judge::{Finding, Severity};
use tensorseal::pinpoint::fine::{self, Fine, FineError};
use tensorseal::report::{Report, SealUsed};
use tensorseal::seal::read::SealError;
use tensorseal::seal::{self, Seal, document};

/// Where the seal of a model is read from.
pub fn place(model: &Path, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| running::default_seal(model), Path::to_owned)
}

/// Reads the seal of a model. What is wrong with it is a finding; that there is none is not, and is
/// allowed only where it is `optional`.
pub fn read(
    model: &Path,
    named: Option<&Path>,
    optional: bool,
    inputs: &mut Inputs,
    report: &mut Report,
) -> Result<Option<Seal>, Failure> {
    let path = place(model, named);
    if !model.exists() && !model.is_symlink() {
        let error = anyhow::anyhow!("{}: no such file or directory", model.display());
        return Err(Failure::incomplete(error));
    }
    inputs.note(&path);
    let mut used = |digest: Option<String>| {
        let source = path.display().to_string();
        report.seal = Some(SealUsed { digest, source, signed_by: None });
    };
    match seal::read::read(&path) {
        Ok((seal, digest)) => {
            used(Some(document::root_text(&digest)));
            Ok(Some(seal))
        }
        Err(SealError::Missing(_)) if optional => Ok(None),
        Err(error @ SealError::Missing(_)) => Err(Failure::usage(error)),
        Err(error) if error.is_content() => {
            used(None);
            let message = format!("the seal cannot be used: {error}").replace(['\n', '\r'], " ");
            report.findings.push(
                Finding::new("integrity/seal-invalid", message).in_file(&output::file_name(&path)),
            );
            Ok(None)
        }
        Err(error) => Err(Failure::incomplete(error)),
    }
}

/// Opens the fine sidecar beside a seal, if there is one that can be used; what is wrong with it is a
/// finding.
pub fn fine<'s>(path: &Path, seal: &'s Seal, findings: &mut Vec<Finding>) -> Option<Fine<'s>> {
    let path = fine::path_of(path);
    match Fine::open(&path, seal) {
        Ok(fine) => fine,
        Err(error) => {
            findings.push(fine_finding(&path, &error));
            None
        }
    }
}

/// What is wrong with a sidecar. It says nothing of the model.
pub fn fine_finding(path: &Path, error: &FineError) -> Finding {
    let message = format!("the fine sidecar of the seal is not used: it {error}");
    let mut finding = Finding::new("integrity/seal-invalid", message.replace(['\n', '\r'], " "))
        .in_file(&output::file_name(path));
    finding.severity = match error {
        FineError::OtherSeal(_) => Severity::Low,
        _ => Severity::Medium,
    };
    finding
}

/// Whether a regular file that begins like a fine sidecar is at `path`.
pub fn is_fine(path: &Path) -> bool {
    let mut start = [0; fine::MAGIC.len()];
    // Only a regular file is opened: anything else could hang.
    path.is_file()
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == *fine::MAGIC
}
