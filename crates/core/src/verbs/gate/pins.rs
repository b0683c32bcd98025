//! Gathers which files of the model a signature, a seal or a registry vouches for. The policy decides whether they are
//! trusted.

use super::GateRequest;
use super::measurements::GateMeasurements;
use super::registry::RegistryEvidence;
use crate::document::Report;
use crate::judge::intact;
use crate::policy::gate::{Observation, PinnedBy, Pins, SignerEvidence};
use crate::seal::Seal;
use crate::verbs::{RunInputs, locations, reference_seal};

/// Gathers the pinned files, if the policy needs them.
pub(super) fn gather(
    request: &GateRequest<'_>,
    measured: &GateMeasurements,
    registry: &RegistryEvidence,
    inputs: &mut RunInputs,
    report: &Report,
) -> Observation<Vec<Pins>> {
    if !request.file.policy.wants_pins() {
        return Observation::NotObserved("the policy does not require pinned files".to_owned());
    }
    let signed = signature_pins(request, measured);
    let sealed = seal_pins(request, measured, inputs, report);
    let accepted = registry.accepted.as_ref().map(|accepted| Pins {
        by: PinnedBy::Registry,
        files: intact::files(accepted, &measured.found),
    });
    Observation::Observed(signed.into_iter().chain(sealed).chain(accepted).collect())
}

/// Returns the files that match the signature.
fn signature_pins(request: &GateRequest<'_>, measured: &GateMeasurements) -> Option<Pins> {
    let (verified, outcome) = (request.signature.as_ref()?, measured.signed.as_ref()?);
    let by = PinnedBy::Signature(SignerEvidence::from(&verified.signer));
    Some(Pins { by, files: outcome.intact.clone() })
}

/// Returns the files that match the seal.
fn seal_pins(
    request: &GateRequest<'_>,
    measured: &GateMeasurements,
    inputs: &mut RunInputs,
    report: &Report,
) -> Option<Pins> {
    let pins = |seal: &Seal, digest: String, is_signed: bool, outside: bool| {
        let signer =
            request.signature.as_ref().map(|verified| SignerEvidence::from(&verified.signer));
        let signed_by = signer.filter(|_| is_signed);
        let by = PinnedBy::Seal { digest, signed_by, outside };
        Pins { by, files: intact::files(seal, &measured.found) }
    };
    if let (Some(seal), Some(used)) = (&request.sealed, &report.seal) {
        let outside = request
            .options
            .seal
            .as_deref()
            .is_some_and(|seal| locations::is_outside_model(request.path, seal));
        let digest = used.digest.clone()?;
        return Some(pins(seal, digest, used.signed_by.is_some(), outside));
    }
    // The policy requires no seal, but a signed seal of the model pins files all the same.
    let (verified, outcome) = (request.signature.as_ref()?, measured.signed.as_ref()?);
    let mut scratch = Report::new("gate", "");
    let seal = reference_seal::read(request.path, None, true, inputs, &mut scratch).ok()??;
    let digest = scratch.seal?.digest?;
    let place = reference_seal::place(request.path, None);
    let is_signed = verified.covers_seal(request.path, &place, &digest, outcome);
    is_signed.then(|| pins(&seal, digest, true, false))
}
