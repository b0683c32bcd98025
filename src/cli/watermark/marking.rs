//! What `claim` and `embed` have in common: an unmarked model, measured, and the mark it is to get.

use super::{detect_failure, no_carriers};
use crate::checkpoint::{Checkpoint, Format, ModelFile, display_name};
use crate::cli::args::MeasurementArgs;
use crate::cli::{Failure, running};
use crate::judge::bounds::signs_tail_log10;
use crate::judge::watermark::{PRESENT, z_of};
use crate::measure::slots::SlotSums;
use crate::report::units::grouped;
use crate::stream::progress::Progress;
use crate::watermark::detect::{self, WatermarkMeasurement};
use crate::watermark::embed::MarkSettings;
use crate::watermark::key::{self, WatermarkKey};
use crate::watermark::payload::{MIN_BLOCKS, Payload};
use crate::watermark::strength::{
    DEFAULT_TARGET_Z, LEAST_SNR_DB, STRONGEST_ALPHA, Strength, expected_z, snr_db,
};
use crate::weights::WeightStorage;
use anyhow::anyhow;
use std::path::Path;

/// A model that is to be marked.
pub(super) struct UnmarkedModel {
    /// Its root, carriers and engine.
    pub measured: WatermarkMeasurement,
    /// How the key correlates with it already.
    total: SlotSums,
}

/// Refuses a model that has a key among its files: it would be copied and published with it.
pub(super) fn refuse_keys_inside(model: &Checkpoint) -> Result<(), Failure> {
    let holds_key = |path: &Path, bytes: u64| {
        bytes <= key::MAX_FILE && key::schema_of(path).as_deref() == Some(key::SCHEMA)
    };
    // A model is marked on this machine.
    let is_key =
        |file: &&ModelFile| file.location.local().is_ok_and(|path| holds_key(path, file.bytes));
    match model.model_files().iter().find(is_key) {
        None => Ok(()),
        Some(file) => Err(Failure::usage(anyhow!(
            "{}: this is a secret key, and would be copied into the marked model: move it out of {}",
            file.path,
            model.root.display()
        ))),
    }
}

fn unmarkable(what: &str, why: &str) -> Failure {
    Failure::usage(anyhow!(
        "{} {why}: marks are embedded in floating-point weights in safetensors; mark the model \
         before it is converted or quantised, the mark outlives both",
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
        return Err(unmarkable(&other.path, "is no safetensors file"));
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
                "lies in parts that several ranks wrote, which are to be joined first"
            }
            WeightStorage::View(_) => "does not lie in the order of its elements",
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

    /// Refuses a model with a mark of the key already: the two would be one that is too strong.
    pub(super) fn refuse_marked(&self) -> Result<(), Failure> {
        let z = z_of(&self.total.pilot(), self.total.error()).unwrap_or(0.0);
        if signs_tail_log10(z) > PRESENT {
            return Ok(());
        }
        Err(Failure::usage(anyhow!(
            "the model has a mark of this key already (pilot z {z:.1}): take the unmarked model, or another key, or --force"
        )))
    }

    /// The mark that is asked for, refused where it does not fit or changes the model too much.
    pub(super) fn mark(
        &self,
        payload: Option<Payload>,
        strength: Option<Strength>,
        force: bool,
    ) -> Result<MarkSettings, Failure> {
        self.check_payload(payload)?;
        let strength = strength.unwrap_or(Strength::TargetZ(DEFAULT_TARGET_Z));
        let least_snr_db = if force { f64::NEG_INFINITY } else { LEAST_SNR_DB };
        Ok(MarkSettings { payload, alpha: self.alpha(strength, force)?, least_snr_db })
    }

    /// Refuses a payload where there is no room for it.
    fn check_payload(&self, payload: Option<Payload>) -> Result<(), Failure> {
        if payload.is_none() || self.total.blocks >= MIN_BLOCKS {
            return Ok(());
        }
        Err(Failure::usage(anyhow!(
            "the model has {} carrier blocks of 512 elements, a payload needs {}: without --payload it can be marked for presence",
            grouped(self.total.blocks),
            grouped(MIN_BLOCKS)
        )))
    }

    /// The alpha of a strength, refused where it changes the model too much.
    fn alpha(&self, strength: Strength, force: bool) -> Result<f64, Failure> {
        let alpha = strength.alpha(self.elements());
        if alpha >= 1.0 {
            return Err(Failure::usage(anyhow!(
                "the model has {} elements that can carry: that z would need an alpha of {alpha:.2}, as large as the weights; choose a smaller one",
                grouped(self.elements())
            )));
        }
        if alpha <= STRONGEST_ALPHA || force {
            return Ok(alpha);
        }
        let most = expected_z(STRONGEST_ALPHA, self.elements()).all;
        Err(Failure::usage(anyhow!(
            "the mark would change the weights by {:.2} dB signal to noise, at least {LEAST_SNR_DB} dB are wanted: {} elements can carry at most --target-z {}, or use --force",
            snr_db(alpha),
            grouped(self.elements()),
            most.floor()
        )))
    }
}
