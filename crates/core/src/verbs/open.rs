//! How models are opened, and which of them may be worked with.

use super::{Error, locations};
use crate::document::{Report, coverage};
use std::path::Path;
use tensorseal_base::display::display_name;
use tensorseal_base::severity::Severity;
use tensorseal_format::{CacheSnapshots, Checkpoint, OpenOptions, Problem};

/// The exit code of a command that found nothing of what was asked for.
const NOTHING: u8 = 4;

/// What belongs to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelScope {
    /// Links out of the model are followed.
    pub allow_symlinks: bool,
    /// `.git`, `.gitignore`, `.gitattributes` and `.github` are part of the model.
    pub include_git_paths: bool,
}

impl ModelScope {
    /// The options to open a model with, of which nothing else is known.
    pub fn options(self) -> OpenOptions {
        OpenOptions {
            allow_symlinks: self.allow_symlinks,
            include_git_paths: self.include_git_paths,
            ..OpenOptions::default()
        }
    }
}

/// Refuses a place with many models where one is asked for, and names some of them.
///
/// # Errors
/// It is one.
pub fn refuse_cache(path: &Path) -> Result<(), Error> {
    let Some(CacheSnapshots { first, count }) = CacheSnapshots::find(path) else { return Ok(()) };
    let named: Vec<String> = first.iter().map(|path| path.display().to_string()).collect();
    let more = match count.saturating_sub(named.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let instead = match named.is_empty() {
        true => "it has no snapshot to give instead".to_owned(),
        false => format!("give a snapshot: {}{more}", named.join(", ")),
    };
    Err(Error::Cache { path: path.to_owned(), instead })
}

/// Opens a model that something is made from, or that a number is drawn from: it must be sound.
///
/// # Errors
/// It cannot be opened, or is malformed.
pub fn open_sound(path: &Path, opening: ModelScope) -> Result<Checkpoint, Error> {
    refuse_cache(path)?;
    let options = OpenOptions {
        seals: locations::seals_inside(path, None),
        signatures: locations::signatures_inside(path, None),
        ..opening.options()
    };
    let model = Checkpoint::open(path, &options)?;
    require_sound(&model)?;
    Ok(model)
}

/// As [`open_sound`], of a model with at least one tensor that can be read: for verbs that put weights side
/// by side, or look for something in them.
///
/// # Errors
/// Those of [`open_sound`]; there is no such tensor, and none that is known by its name.
pub fn open_weights(path: &Path, opening: ModelScope) -> Result<Checkpoint, Error> {
    let model = open_sound(path, opening)?;
    match model.tensors.is_empty() && model.unread_tensors().next().is_none() {
        true => Err(Error::NoWeights(no_weights(&model))),
        false => Ok(model),
    }
}

/// Refuses a model that is not sound: for verbs that must produce something from it. What is only
/// untidy (an index whose total is wrong, as many are) is a finding, not a refusal; so is what a pickle beside
/// the weights asks for.
///
/// # Errors
/// [`Error::Unsound`].
pub fn require_sound(model: &Checkpoint) -> Result<(), Error> {
    let is_grave = |problem: &&Problem| problem.severity > Severity::Low && !problem.companion;
    let mut grave = model.problems.iter().filter(is_grave);
    match grave.next() {
        None => Ok(()),
        Some(first) => Err(Error::Unsound { first: first.message.clone(), more: grave.count() }),
    }
}

/// That nothing was judged is no pass.
pub fn downgrade_without_weights(report: &mut Report, model: &Checkpoint) {
    if model.tensors.is_empty() {
        report.downgrade_pass(no_weights(model), NOTHING);
    }
}

fn no_weights(model: &Checkpoint) -> String {
    let shown = display_name(&model.path.to_string_lossy());
    format!("{shown}: {}", coverage::describe_missing_weights(model))
}
