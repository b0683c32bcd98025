//! Groups models by urgency.

use tensorseal_base::severity::Severity;
use tensorseal_core::record::{ModelRecord, ModelState};

/// How urgently a model needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// The model must not be used until it has been reviewed.
    Alarm,
    /// The model should be reviewed.
    Review,
    /// Nothing is known to be wrong with the model.
    Rest,
}

impl Group {
    /// All groups, most urgent first.
    pub(super) const ALL: [Group; 3] = [Self::Alarm, Self::Review, Self::Rest];

    /// Returns the group of a model.
    pub(super) fn of(model: &ModelRecord) -> Group {
        let by_state = match model.state {
            ModelState::Modified | ModelState::BitRot | ModelState::Replaced => Self::Alarm,
            ModelState::Missing | ModelState::Incomplete => Self::Review,
            ModelState::Ok | ModelState::New => Self::Rest,
        };
        // The state expresses these rules already, and a missing model cannot be used.
        let of_state = |rule: &str| matches!(rule, "registry/missing" | "registry/incomplete");
        let others = model.findings.iter().filter(|finding| !of_state(&finding.rule));
        let by_findings = match others.map(|finding| finding.severity).max() {
            Some(Severity::Critical | Severity::High) => Self::Alarm,
            Some(Severity::Medium) => Self::Review,
            Some(Severity::Low | Severity::Info) | None => Self::Rest,
        };
        by_state.min(by_findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample_registry;

    #[test]
    fn what_is_wrong_comes_first() {
        let group = |state, severities: &[Severity]| {
            let mut model = sample_registry::model("/models", "m", state);
            model.findings =
                severities.iter().map(|s| sample_registry::finding(*s, "format/overlap")).collect();
            Group::of(&model)
        };
        assert_eq!(group(ModelState::Ok, &[]), Group::Rest);
        assert_eq!(group(ModelState::New, &[Severity::Low, Severity::Info]), Group::Rest);
        assert_eq!(group(ModelState::Ok, &[Severity::Info, Severity::Medium]), Group::Review);
        assert_eq!(group(ModelState::Ok, &[Severity::Critical]), Group::Alarm);
        assert_eq!(group(ModelState::Missing, &[]), Group::Review);
        let mut missing = sample_registry::model("/models", "m", ModelState::Missing);
        missing.findings = vec![sample_registry::finding(Severity::High, "registry/missing")];
        assert_eq!(Group::of(&missing), Group::Review);
        missing.findings.push(sample_registry::finding(Severity::High, "registry/archive-refused"));
        assert_eq!(Group::of(&missing), Group::Alarm);
        for state in [ModelState::Modified, ModelState::BitRot, ModelState::Replaced] {
            assert_eq!(group(state, &[]), Group::Alarm, "none is less severe than another");
        }
    }
}
