//! Registries as they list their models.

use std::ops::ControlFlow;
use tensorseal_registry::source::{ListedModel, Source, SourceError};

/// The models of a source, as it lists them.
pub(crate) fn listed(source: &dyn Source) -> Result<Vec<ListedModel>, SourceError> {
    let mut all = Vec::new();
    source.list(&mut |model| {
        all.push(model);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}
