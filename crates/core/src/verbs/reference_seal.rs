//! Reads the seal that a model is compared with.

use super::{Error, RunInputs, locations};
use crate::document::{Report, SealUsed};
use crate::judge::Finding;
use crate::seal::read::SealError;
use crate::seal::{self, Seal, document};
use std::path::{Path, PathBuf};
use tensorseal_base::display::display_path;

/// Returns the path that the seal of a model is read from.
pub fn place(model: &Path, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| locations::default_seal(model), Path::to_owned)
}

/// Reads the seal of a model. An invalid seal is a finding. A missing seal is an error, unless it is `optional`.
///
/// # Errors
/// Returns an error if there is no model, if there is no seal and it is not optional, or if the seal cannot be read.
pub fn read(
    model: &Path,
    named: Option<&Path>,
    optional: bool,
    inputs: &mut RunInputs,
    report: &mut Report,
) -> Result<Option<Seal>, Error> {
    let path = place(model, named);
    if !model.exists() && !model.is_symlink() {
        return Err(Error::NoModel(model.to_owned()));
    }
    inputs.record(&path);
    let mut used = |digest: Option<String>| {
        let source = path.display().to_string();
        report.seal = Some(SealUsed { digest, source, signed_by: None, compared: None });
    };
    match seal::read::read(&path) {
        Ok((seal, digest)) => {
            let digest = document::root_text(&digest);
            tracing::debug!(seal = %display_path(&path), %digest, root = %seal.model.root, "read the seal");
            used(Some(digest));
            Ok(Some(seal))
        }
        Err(SealError::Missing(_)) if optional => {
            tracing::debug!(seal = %display_path(&path), "there is no seal; none is required");
            Ok(None)
        }
        Err(SealError::Missing(_)) if named.is_none() => {
            // A damaged copy must not be sealed: the seal would then vouch for the damage.
            let advice = match report.command {
                "repair" => "",
                _ => "; seal the model yourself only if you trust this copy",
            };
            Err(Error::NoSeal { path, advice })
        }
        Err(error) if error.is_content() => {
            tracing::debug!(seal = %display_path(&path), %error, "the seal cannot be used");
            used(None);
            let message = match error {
                SealError::Json(_) => error.to_string(),
                _ => format!("the seal cannot be used: {error}"),
            };
            let message = message.replace(['\n', '\r'], " ");
            let finding = Finding::new("integrity/seal-invalid", message);
            report.findings.push(finding.in_file(&locations::file_name(&path)));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
