//! Which files of the model somebody vouches for: a signature, a seal, a registry. Whether that counts is for the
//! policy to say.

use super::Asked;
use super::measured::Measured;
use super::registry::Recorded;
use crate::cli::inputs::Inputs;
use crate::cli::{running, sealed};
use std::path::{Path, PathBuf};
use tensorseal::judge::intact;
use tensorseal::policy::gate::{Looked, PinnedBy, Pins, Signer};
use tensorseal::report::Report;
use tensorseal::seal::Seal;

/// All of them, where the policy asks.
pub fn gather(
    asked: &Asked<'_>,
    measured: &Measured,
    recorded: &Recorded,
    inputs: &mut Inputs,
    report: &Report,
) -> Looked<Vec<Pins>> {
    if !asked.file.policy.wants_pins() {
        return Looked::Not("the policy asks for no files that are pinned".to_owned());
    }
    let signed = signed(asked, measured);
    let sealed = of_seal(asked, measured, inputs, report);
    let accepted = recorded.baseline.as_ref().map(|baseline| Pins {
        by: PinnedBy::Registry,
        files: intact::files(baseline, &measured.found),
    });
    Looked::At(signed.into_iter().chain(sealed).chain(accepted).collect())
}

/// Files that are as they were signed.
fn signed(asked: &Asked<'_>, measured: &Measured) -> Option<Pins> {
    let (checked, outcome) = (asked.checked.as_ref()?, measured.signed.as_ref()?);
    let by = PinnedBy::Signature(Signer::from(&checked.signer));
    Some(Pins { by, files: outcome.intact.clone() })
}

/// Files that are as they were sealed.
fn of_seal(
    asked: &Asked<'_>,
    measured: &Measured,
    inputs: &mut Inputs,
    report: &Report,
) -> Option<Pins> {
    let pins = |seal: &Seal, digest: String, is_signed: bool, outside: bool| {
        let signer = asked.checked.as_ref().map(|checked| Signer::from(&checked.signer));
        let signed_by = signer.filter(|_| is_signed);
        let by = PinnedBy::Seal { digest, signed_by, outside };
        Pins { by, files: intact::files(seal, &measured.found) }
    };
    if let (Some(seal), Some(used)) = (&asked.sealed, &report.seal) {
        let outside = asked.args.seal.as_deref().is_some_and(|seal| is_outside(asked.model, seal));
        let digest = used.digest.clone()?;
        return Some(pins(seal, digest, used.signed_by.is_some(), outside));
    }
    // Nothing was to be compared with the seal beside the model. It counts all the same where it is signed.
    let (checked, outcome) = (asked.checked.as_ref()?, measured.signed.as_ref()?);
    let mut aside = Report::new("gate", "");
    let seal = sealed::read(asked.model, None, true, inputs, &mut aside).ok()??;
    let digest = aside.seal?.digest?;
    let place = sealed::place(asked.model, None);
    let is_signed = checked.covers_seal(asked.model, &place, &digest, outcome);
    is_signed.then(|| pins(&seal, digest, true, false))
}

/// Whether a seal lies where whoever writes the model does not write: not in its directory, nor beside its file,
/// nor in the repository of a cache that it is a snapshot of, under its own name and without its links.
fn is_outside(model: &Path, seal: &Path) -> bool {
    let Some(territory) = territory(model) else { return false };
    let named = running::relative(&territory, seal).is_none();
    named && seal.canonicalize().is_ok_and(|full| !full.starts_with(&territory))
}

/// The directory that whoever writes the model writes.
fn territory(model: &Path) -> Option<PathBuf> {
    let full = model.canonicalize().ok()?;
    let directory = match full.is_dir() {
        true => full,
        false => full.parent()?.to_owned(),
    };
    let repository = directory.ancestors().find_map(|snapshot| {
        let snapshots = snapshot.parent().filter(|parent| parent.ends_with("snapshots"))?;
        let repository = snapshots.parent()?;
        let name = repository.file_name()?.to_str()?;
        name.starts_with("models--").then(|| repository.to_owned())
    });
    Some(repository.unwrap_or(directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_seal_is_outside_when_whoever_writes_the_model_does_not_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["m", "out", "models--a--b/snapshots/1", "models--a--b/blobs"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["m/s.json", "m/w.bin", "out/s.json", "models--a--b/blobs/s.json"] {
            fs::write(at(path), "").unwrap();
        }
        std::os::unix::fs::symlink(at("m/s.json"), at("out/in.json")).unwrap();
        std::os::unix::fs::symlink(at("out/s.json"), at("m/out.json")).unwrap();
        let outside = |model: &str, seal: &str| is_outside(&at(model), &at(seal));
        assert!(outside("m", "out/s.json") && outside("m/w.bin", "out/s.json"));
        assert!(!outside("m", "m/s.json") && !outside("m/w.bin", "m/s.json"));
        assert!(!outside("m", "out/in.json"), "a link into the model");
        assert!(!outside("m", "m/out.json"), "a link in the model");
        assert!(!outside("m", "out/../m/s.json") && !outside("m", "out/none.json"));
        assert!(!outside("models--a--b/snapshots/1", "models--a--b/blobs/s.json"));
        assert!(outside("models--a--b/snapshots/1", "out/s.json"));
    }
}
