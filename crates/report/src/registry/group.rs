//! Groups models by urgency.

use tensorseal_base::severity::Severity;
use tensorseal_core::record::{ModelRecord, State};

/// How urgently a model needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The model must not be used until it has been reviewed.
    Alarm,
    /// The model should be reviewed.
    Look,
    /// Nothing is known to be wrong with the model.
    Rest,
}

impl Group {
    /// All groups, most urgent first.
    pub const ALL: [Group; 3] = [Self::Alarm, Self::Look, Self::Rest];

    /// Returns the group of a model.
    pub fn of(model: &ModelRecord) -> Group {
        let by_state = match model.state {
            State::Modified | State::BitRot | State::Replaced => Self::Alarm,
            State::Missing | State::Incomplete => Self::Look,
            State::Ok | State::New => Self::Rest,
        };
        // The state expresses these rules already, and a missing model cannot be used.
        let of_state = |rule: &str| matches!(rule, "registry/missing" | "registry/incomplete");
        let others = model.findings.iter().filter(|finding| !of_state(&finding.rule));
        let by_findings = match others.map(|finding| finding.severity).max() {
            Some(Severity::Critical | Severity::High) => Self::Alarm,
            Some(Severity::Medium) => Self::Look,
            Some(Severity::Low | Severity::Info) | None => Self::Rest,
        };
        by_state.min(by_findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::made;

    #[test]
    fn what_is_wrong_comes_first() {
        let group = |state, severities: &[Severity]| {
            let mut model = made::model("/models", "m", state);
            model.findings =
                severities.iter().map(|s| made::finding(*s, "format/overlap")).collect();
            Group::of(&model)
        };
        assert_eq!(group(State::Ok, &[]), Group::Rest);
        assert_eq!(group(State::New, &[Severity::Low, Severity::Info]), Group::Rest);
        assert_eq!(group(State::Ok, &[Severity::Info, Severity::Medium]), Group::Look);
        assert_eq!(group(State::Ok, &[Severity::Critical]), Group::Alarm);
        assert_eq!(group(State::Missing, &[]), Group::Look);
        let mut missing = made::model("/models", "m", State::Missing);
        missing.findings = vec![made::finding(Severity::High, "registry/missing")];
        assert_eq!(Group::of(&missing), Group::Look);
        missing.findings.push(made::finding(Severity::High, "registry/archive-refused"));
        assert_eq!(Group::of(&missing), Group::Alarm);
        for state in [State::Modified, State::BitRot, State::Replaced] {
            assert_eq!(group(state, &[]), Group::Alarm, "none is less severe than another");
        }
    }
}
