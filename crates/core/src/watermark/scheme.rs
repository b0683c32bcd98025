//! The watermark schemes of others: those that can be checked from weights alone, and those that cannot.

use std::fmt;
use std::str::FromStr;

/// A scheme that can be checked from weights alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThirdPartyScheme {
    /// Bits that a projection matrix reads from the mean filter of a layer: Uchida et al., 2017.
    Uchida,
    /// The same for the bits of the code of a user: DeepMarks, Chen et al., 2018.
    DeepMarks,
    /// Signs added to the codes of a quantised model at secret positions: EmMark, 2024.
    EmMark,
    /// Bits that are the hash of the key, read from filtered weights: NeuralMark, 2026.
    NeuralMark,
    /// Normal numbers added to the weights, as GaussMark does.
    Gaussian,
    /// A sequence of signs added to the weights, as CDMA carriers and MaleficNet do.
    Signs,
    /// Weights moved within their quantisation intervals: Li et al., 2023. This scheme has no key.
    Interval,
}

/// The supported schemes and their names.
const CHECKED: &[(ThirdPartyScheme, &str)] = &[
    (ThirdPartyScheme::Uchida, "uchida"),
    (ThirdPartyScheme::DeepMarks, "deepmarks"),
    (ThirdPartyScheme::EmMark, "emmark"),
    (ThirdPartyScheme::NeuralMark, "neuralmark"),
    (ThirdPartyScheme::Gaussian, "gaussian"),
    (ThirdPartyScheme::Signs, "signs"),
    (ThirdPartyScheme::Interval, "interval"),
];

/// The schemes that cannot be checked without running the model, with the reason.
pub const REFUSED: &[(&str, &str)] = &[
    ("deepsigns", "its bits are in the mean activations of chosen inputs, not in the weights"),
    ("freemark", "its bits are read from activations on secret trigger inputs"),
    ("fsw", "its mark is in a subspace of what the model computes for chosen inputs"),
    (
        "gaussmark-text",
        "its statistic is the gradient of the likelihood of a text; for a perturbation that is stored \
         as numbers, use the scheme gaussian",
    ),
    ("seal", "its bits are in the hidden representations of anchor inputs"),
];

/// Returns why a scheme cannot be checked from weights alone; `None` for every other name.
pub fn refused(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason)
}

impl ThirdPartyScheme {
    /// Returns all supported schemes.
    pub fn all() -> impl Iterator<Item = ThirdPartyScheme> {
        CHECKED.iter().map(|(scheme, _)| *scheme)
    }

    /// Returns the name in key files, in reports and on the command line.
    pub fn name(self) -> &'static str {
        // The table contains every scheme, as the test `every_scheme_has_its_name` checks.
        CHECKED.iter().find(|(scheme, _)| *scheme == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for ThirdPartyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a name is not that of a supported scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThirdPartySchemeError {
    /// The scheme cannot be checked without running the model.
    #[error("the scheme {name} cannot be checked from weights alone: {reason}")]
    Refused {
        /// The name of the scheme.
        name: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// There is no such scheme.
    #[error("unknown scheme; supported schemes are {}", names())]
    Unknown,
}

fn names() -> String {
    CHECKED.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

impl FromStr for ThirdPartyScheme {
    type Err = ThirdPartySchemeError;

    fn from_str(name: &str) -> Result<Self, ThirdPartySchemeError> {
        if let Some((name, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(ThirdPartySchemeError::Refused { name, reason });
        }
        let found = CHECKED.iter().find(|(_, known)| *known == name);
        found.map(|(scheme, _)| *scheme).ok_or(ThirdPartySchemeError::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_has_its_name() {
        use ThirdPartyScheme::*;
        for scheme in [Uchida, DeepMarks, EmMark, NeuralMark, Gaussian, Signs, Interval] {
            assert_eq!(scheme.to_string().parse(), Ok(scheme));
            assert!(
                ThirdPartyScheme::all().any(|listed| listed == scheme) && !scheme.name().is_empty()
            );
            assert_eq!(refused(scheme.name()), None);
        }
    }

    #[test]
    fn what_needs_the_model_to_run_is_refused_with_a_reason() {
        for name in ["deepsigns", "seal", "fsw", "freemark", "gaussmark-text"] {
            let reason = refused(name).unwrap();
            assert!(reason.len() > 20 && !reason.contains('\n'));
            let message = name.parse::<ThirdPartyScheme>().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(reason), "{message}");
        }
        for name in ["", "Uchida", "ts-spread/1", "uchida "] {
            assert_eq!(name.parse::<ThirdPartyScheme>(), Err(ThirdPartySchemeError::Unknown));
            assert_eq!(refused(name), None);
        }
        assert!(ThirdPartySchemeError::Unknown.to_string().contains("uchida, deepmarks"));
    }
}
