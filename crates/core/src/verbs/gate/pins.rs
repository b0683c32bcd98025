//! Which files of the model somebody vouches for: a signature, a seal, a registry. Whether that counts is for the
//! policy to say.

use super::Asked;
use super::measured::Measured;
use super::recorded::Recorded;
use crate::document::Report;
use crate::judge::intact;
use crate::policy::gate::{Looked, PinnedBy, Pins, Signer};
use crate::seal::Seal;
use crate::verbs::{Inputs, places, sealed};

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
    let accepted = recorded.accepted.as_ref().map(|accepted| Pins {
        by: PinnedBy::Registry,
        files: intact::files(accepted, &measured.found),
    });
    Looked::At(signed.into_iter().chain(sealed).chain(accepted).collect())
}

/// Files that are as they were signed.
fn signed(asked: &Asked<'_>, measured: &Measured) -> Option<Pins> {
    let (verified, outcome) = (asked.signature.as_ref()?, measured.signed.as_ref()?);
    let by = PinnedBy::Signature(Signer::from(&verified.signer));
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
        let signer = asked.signature.as_ref().map(|verified| Signer::from(&verified.signer));
        let signed_by = signer.filter(|_| is_signed);
        let by = PinnedBy::Seal { digest, signed_by, outside };
        Pins { by, files: intact::files(seal, &measured.found) }
    };
    if let (Some(seal), Some(used)) = (&asked.sealed, &report.seal) {
        let outside =
            asked.options.seal.as_deref().is_some_and(|seal| places::is_outside(asked.path, seal));
        let digest = used.digest.clone()?;
        return Some(pins(seal, digest, used.signed_by.is_some(), outside));
    }
    // Nothing was to be compared with the seal beside the model. It counts all the same where it is signed.
    let (verified, outcome) = (asked.signature.as_ref()?, measured.signed.as_ref()?);
    let mut aside = Report::new("gate", "");
    let seal = sealed::read(asked.path, None, true, inputs, &mut aside).ok()??;
    let digest = aside.seal?.digest?;
    let place = sealed::place(asked.path, None);
    let is_signed = verified.covers_seal(asked.path, &place, &digest, outcome);
    is_signed.then(|| pins(&seal, digest, true, false))
}
