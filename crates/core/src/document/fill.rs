//! What every verb that measures says of the model and of the run.

use super::{Coverage, ModelSummary, Report, inventory};
use crate::judge::{checksums, structure};
use crate::seal::ModelSeal;
use tensorseal_engine::RunReport;
use tensorseal_format::{Checkpoint, Tensor};

impl Report {
    /// Fills in a model that was measured, of which `found` is what a seal would say of it as a whole.
    pub fn fill(&mut self, model: &Checkpoint, found: &ModelSeal, run: &RunReport) {
        // Bytes that several tensors lie in are read for each of them.
        let listed =
            model.tensors.iter().fold(0u64, |sum, tensor| sum.saturating_add(tensor.bytes));
        let again = listed.saturating_sub(model.distinct_bytes(0..model.tensors.len()));
        let checked =
            run.engine.bytes_read.saturating_sub(run.signed_only_bytes).saturating_sub(again);
        self.fill_run(model, run, checked);
        self.model = ModelSummary {
            path: model.path.display().to_string(),
            format: found.format.clone(),
            files: found.files,
            tensors: found.tensors,
            elements: found.elements,
            bytes: found.bytes,
            root: Some(found.root.clone()),
        };
        self.findings.extend(checksums::findings(model, run));
    }

    /// As [`Report::fill`], where files were hashed and no tensor was measured.
    pub fn fill_files(&mut self, model: &Checkpoint, run: &RunReport) {
        self.fill_run(model, run, run.engine.bytes_read);
        self.model = ModelSummary::from_headers(model);
    }

    fn fill_run(&mut self, model: &Checkpoint, run: &RunReport, bytes_checked: u64) {
        self.note_run(run);
        self.engine = Some(run.engine.clone());
        self.coverage = Coverage::new(model, Some(run), bytes_checked);
        self.inventory = inventory::list_files(model, run);
        self.findings.extend(model.remarks.iter().map(structure::finding));
    }

    /// Notes what `auto` chose, and that a device was left.
    pub fn note_run(&mut self, run: &RunReport) {
        self.notes.extend(run.choice.iter().map(|choice| format!("measured by {choice}")));
        let left = run.engine.fallback.iter();
        self.notes.extend(left.map(|why| format!("the device was left: {why}")));
    }
}

impl ModelSummary {
    /// A model of which nothing was measured, as its headers say it is.
    pub fn from_headers(model: &Checkpoint) -> Self {
        let files = model.model_files();
        Self {
            path: model.path.display().to_string(),
            format: model.format_name().to_owned(),
            files: files.len() as u64,
            tensors: model.tensors.len() as u64,
            elements: model.tensors.iter().map(Tensor::stored_element_count).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            root: None,
        }
    }
}
