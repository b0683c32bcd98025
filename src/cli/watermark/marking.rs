//! What `claim` and `embed` share: measuring an unmarked model and choosing its watermark.

use super::{detect_failure, no_carriers};
use crate::cli::args::MeasurementArgs;
use crate::cli::{Failure, running};
use anyhow::anyhow;
use std::path::Path;
use tensorseal_core::judge::bounds::signs_tail_log10;
use tensorseal_core::judge::watermark::{PRESENT, z_of};
use tensorseal_core::watermark::detect::{self, WatermarkMeasurement};
use tensorseal_core::watermark::embed::MarkSettings;
use tensorseal_core::watermark::key::{self, WatermarkKey};
use tensorseal_core::watermark::payload::{MIN_BLOCKS, Payload};
use tensorseal_core::watermark::strength::{
    DEFAULT_TARGET_Z, MIN_SNR_DB, STRONGEST_ALPHA, Strength, expected_z, snr_db,
};
use tensorseal_engine::measure::slots::SlotSums;
use tensorseal_engine::stream::progress::Progress;
use tensorseal_format::{Checkpoint, Format, ModelFile, display_name};
use tensorseal_report::units::grouped;
use tensorseal_weights::WeightStorage;

/// A model that is to be marked.
pub(super) struct UnmarkedModel {
    /// Its root, carriers and engine.
    pub measured: WatermarkMeasurement,
    /// How the key correlates with it already.
    total: SlotSums,
}

/// Refuses a model that has a key among its files, since the key would be copied and published with it.
pub(super) fn refuse_keys_inside(model: &Checkpoint) -> Result<(), Failure> {
    let holds_key = |path: &Path, bytes: u64| {
        bytes <= key::MAX_FILE && key::schema_of(path).as_deref() == Some(key::SCHEMA)
    };
    // Only local models can be marked.
    let is_key =
        |file: &&ModelFile| file.location.local().is_ok_and(|path| holds_key(path, file.bytes));
    match model.model_files().iter().find(is_key) {
        None => Ok(()),
        Some(file) => Err(Failure::usage(anyhow!(
            "{}: this secret key would be copied into the marked model; move it out of {}",
            file.path,
            model.root.display()
        ))),
    }
}

fn unmarkable(what: &str, why: &str) -> Failure {
    Failure::usage(anyhow!(
        "{} {why}: watermarks are embedded in floating-point weights in safetensors; mark the model \
         before it is converted or quantised, both of which the watermark survives",
        display_name(what)
    ))
}

/// Measures a model that is to be marked with `key`.
pub(super) fn measure(
    model: &Checkpoint,
    key: &WatermarkKey,
    measuring: &MeasurementArgs,
    progress: &Progress,
) -> Result<UnmarkedModel, Failure> {
    let safetensors = |file: &ModelFile| file.format.is_none_or(|f| f == Format::Safetensors);
    if let Some(other) = model.model_files().iter().find(|file| !safetensors(file)) {
        return Err(unmarkable(&other.path, "is not a safetensors file"));
    }
    let options = running::run_options(measuring);
    let measured = detect::measure(model, std::slice::from_ref(key), &options, progress)
        .map_err(detect_failure)?;
    let mut total = SlotSums::default();
    measured.groups.iter().flat_map(|group| &group.sums).for_each(|sums| total.merge(sums));
    if total.blocks == 0 {
        return Err(no_carriers(&model.path));
    }
    if let Some(other) = measured.carriers.tensors.iter().find(|c| !c.is_markable(model)) {
        let why = match &other.weight.storage {
            WeightStorage::Quantised(_) => "is quantised",
            WeightStorage::Joined(_) => {
                "is split into parts that several ranks wrote; join them first"
            }
            WeightStorage::View(_) => "is not stored in the order of its elements",
        };
        return Err(unmarkable(&other.weight.name, why));
    }
    Ok(UnmarkedModel { measured, total })
}

impl UnmarkedModel {
    /// Finite non-zero elements of the carriers.
    pub(super) fn elements(&self) -> u64 {
        self.total.elements()
    }

    /// Refuses a model that already has a watermark of the key: a second one would add up with it.
    pub(super) fn refuse_marked(&self) -> Result<(), Failure> {
        let z = z_of(&self.total.pilot(), self.total.error()).unwrap_or(0.0);
        if signs_tail_log10(z) > PRESENT {
            return Ok(());
        }
        Err(Failure::usage(anyhow!(
            "the model already has a watermark of this key (z of the pilot blocks {z:.1}); use the unmarked model, another key, or --force"
        )))
    }

    /// The watermark of this payload and strength, unless it does not fit or changes the model too much.
    pub(super) fn mark(
        &self,
        payload: Option<Payload>,
        strength: Option<Strength>,
        force: bool,
    ) -> Result<MarkSettings, Failure> {
        self.check_payload(payload)?;
        let strength = strength.unwrap_or(Strength::TargetZ(DEFAULT_TARGET_Z));
        let min_snr_db = if force { f64::NEG_INFINITY } else { MIN_SNR_DB };
        Ok(MarkSettings { payload, alpha: self.alpha(strength, force)?, min_snr_db })
    }

    /// Refuses a payload that the model has no room for.
    fn check_payload(&self, payload: Option<Payload>) -> Result<(), Failure> {
        if payload.is_none() || self.total.blocks >= MIN_BLOCKS {
            return Ok(());
        }
        Err(Failure::usage(anyhow!(
            "the model has {} carrier blocks of 512 elements, but a payload needs {}; without --payload, the watermark shows only its presence",
            grouped(self.total.blocks),
            grouped(MIN_BLOCKS)
        )))
    }

    /// The alpha of a strength, unless it changes the model too much.
    fn alpha(&self, strength: Strength, force: bool) -> Result<f64, Failure> {
        let alpha = strength.alpha(self.elements());
        if alpha >= 1.0 {
            return Err(Failure::usage(anyhow!(
                "the model has only {} elements that can carry the watermark, so this z-score needs an alpha of {alpha:.2}, as large as the weights; choose a smaller one",
                grouped(self.elements())
            )));
        }
        if alpha <= STRONGEST_ALPHA || force {
            return Ok(alpha);
        }
        let most = expected_z(STRONGEST_ALPHA, self.elements()).all;
        Err(Failure::usage(anyhow!(
            "the watermark would lower the signal-to-noise ratio to {:.2} dB, below the limit of {MIN_SNR_DB} dB; {} elements can carry at most --target-z {}; lower the strength, or embed with --force",
            snr_db(alpha),
            grouped(self.elements()),
            most.floor()
        )))
    }
}
