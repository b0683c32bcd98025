//! Counts over all models, which the page needs before it lists the first model.

use crate::registry::Overview;
use crate::registry::group::Group;
use std::io;
use tensorseal_core::record::ModelRecord;

/// Age classes of the last deep check: name, and upper bound in days.
pub(super) const AGES: [(&str, i64); 5] = [
    ("less than a day ago", 1),
    ("1 to 7 days ago", 7),
    ("7 to 30 days ago", 30),
    ("30 to 90 days ago", 90),
    ("90 days ago or more", i64::MAX),
];

/// Numbers of models.
#[derive(Debug, Default)]
pub(super) struct ModelCounts {
    groups: [u64; Group::ALL.len()],
    /// Number of models of each class of [`AGES`].
    pub ages: [u64; AGES.len()],
    /// Number of models that were never deep-checked.
    pub never: u64,
}

impl ModelCounts {
    pub(super) fn of(overview: &Overview<'_>) -> io::Result<ModelCounts> {
        let mut counted = ModelCounts::default();
        overview.records.each(&mut |model| {
            counted.add(overview, model);
            Ok(())
        })?;
        Ok(counted)
    }

    fn add(&mut self, overview: &Overview<'_>, model: &ModelRecord) {
        self.groups[Group::of(model) as usize] += 1;
        let Some(time) = model.last_deep_check else {
            self.never += 1;
            return;
        };
        let days = overview.now.duration_since(time).as_secs() / 86_400;
        let age = AGES.iter().position(|(_, limit)| days < *limit);
        self.ages[age.unwrap_or(AGES.len() - 1)] += 1;
    }

    pub(super) fn of_group(&self, group: Group) -> u64 {
        self.groups[group as usize]
    }
}
