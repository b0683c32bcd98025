//! Opens models, and refuses those that a command cannot work with.

use super::{Error, locations};
use crate::document::{Report, coverage};
use std::path::Path;
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;
use tensorseal_format::{CacheSnapshots, Checkpoint, OpenOptions, Problem};

/// The exit code of a command that had nothing to work on.
const NOTHING: u8 = 4;

/// Which files belong to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelScope {
    /// Whether links out of the model are followed.
    pub allow_symlinks: bool,
    /// Whether `.git`, `.gitignore`, `.gitattributes` and `.github` are part of the model.
    pub include_git_paths: bool,
}

impl ModelScope {
    /// Returns the options to open a model with this scope.
    pub fn options(self) -> OpenOptions {
        let mut options = OpenOptions::default();
        options.allow_symlinks = self.allow_symlinks;
        options.include_git_paths = self.include_git_paths;
        options
    }
}

/// Refuses a cache with many models.
///
/// # Errors
/// Returns [`Error::Cache`], which names some of its models, if the path is a Hugging Face cache.
pub fn refuse_cache(path: &Path) -> Result<(), Error> {
    let Some(CacheSnapshots { first, count }) = CacheSnapshots::find(path) else { return Ok(()) };
    let named: Vec<String> = first.iter().map(|path| path.display().to_string()).collect();
    let more = match count.saturating_sub(named.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let instead = match named.is_empty() {
        true => "it contains no snapshots".to_owned(),
        false => format!("give one of its snapshots: {}{more}", named.join(", ")),
    };
    Err(Error::Cache { path: path.to_owned(), instead })
}

/// Opens a model that must be sound.
///
/// # Errors
/// Returns an error if the model cannot be opened, or is malformed.
pub fn open_sound(path: &Path, opening: ModelScope) -> Result<Checkpoint, Error> {
    refuse_cache(path)?;
    let mut options = opening.options();
    options.seals = locations::seals_inside(path, None);
    options.signatures = locations::signatures_inside(path, None);
    let model = Checkpoint::open(path, &options)?;
    require_sound(&model)?;
    Ok(model)
}

/// Opens a sound model with at least one tensor, for commands that compare weights or search in them.
///
/// # Errors
/// Returns the errors of [`open_sound`], and [`Error::NoWeights`] if the model has no tensors, not even unreadable
/// ones.
pub fn open_weights(path: &Path, opening: ModelScope) -> Result<Checkpoint, Error> {
    let model = open_sound(path, opening)?;
    match model.tensors.is_empty() && model.unread_tensors().next().is_none() {
        true => Err(Error::NoWeights(no_weights(&model))),
        false => Ok(model),
    }
}

/// Refuses a malformed model, for commands that produce something from it. Minor problems (such as an index with a
/// wrong total size) and problems of companion files are findings only.
///
/// # Errors
/// Returns [`Error::Unsound`] if the model is malformed.
pub fn require_sound(model: &Checkpoint) -> Result<(), Error> {
    let is_grave = |problem: &&Problem| problem.severity > Severity::Low && !problem.companion;
    let mut grave = model.problems.iter().filter(is_grave);
    match grave.next() {
        None => Ok(()),
        Some(first) => Err(Error::Unsound { first: first.message.clone(), more: grave.count() }),
    }
}

/// Downgrades a pass if the model has no tensors, because nothing was judged.
pub fn downgrade_without_weights(report: &mut Report, model: &Checkpoint) {
    if model.tensors.is_empty() {
        report.downgrade_pass(no_weights(model), NOTHING);
    }
}

fn no_weights(model: &Checkpoint) -> String {
    let shown = display_name(&model.path.to_string_lossy());
    format!("{shown}: {}", coverage::describe_missing_weights(model))
}
