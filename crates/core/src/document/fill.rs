//! Fills a report with the model and the run, for every command that measures.

use super::{Coverage, ModelSummary, Report, inventory};
use crate::judge::{checksums, structure};
use crate::seal::ModelSeal;
use tensorseal_engine::RunReport;
use tensorseal_format::{Checkpoint, Tensor};

impl Report {
    /// Fills in a measured model. `found` has its totals and its root, as a seal would state them.
    pub fn fill(&mut self, model: &Checkpoint, found: &ModelSeal, run: &RunReport) {
        // Bytes that several tensors share are read once for each of them.
        let listed =
            model.tensors.iter().fold(0u64, |sum, tensor| sum.saturating_add(tensor.bytes));
        let read_again = listed.saturating_sub(model.distinct_bytes(0..model.tensors.len()));
        let checked =
            run.engine.bytes_read.saturating_sub(run.signed_only_bytes).saturating_sub(read_again);
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

    /// Fills in a model whose files were hashed, but whose tensors were not measured.
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

    /// Adds notes on the engine that `auto` chose, and on a GPU that failed during the run.
    pub fn note_run(&mut self, run: &RunReport) {
        self.notes.extend(run.choice.iter().map(|choice| format!("compute device: {choice}")));
        let fallback = run.engine.fallback.iter();
        self.notes
            .extend(fallback.map(|reason| format!("GPU failed, continued on the CPU: {reason}")));
    }
}

impl ModelSummary {
    /// Summarises a model from its headers, without measuring it.
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
