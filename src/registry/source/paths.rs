//! Paths that others give to the files of a model.

/// Longest path, and longest component of one, in bytes: those of Linux.
const MOST_BYTES: usize = 4096;
const MOST_COMPONENT: usize = 255;

/// Why a path is not one of a file in a model, in words that follow its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("is empty")]
    Empty,
    #[error("is too long")]
    TooLong,
    #[error("has a null character in it")]
    Nul,
    #[error("leads out of the model")]
    LeadsOut,
    #[error("can be written in another way")]
    NotPlain,
}

/// Whether a path is relative, stays inside, and can be written in no other way.
pub(crate) fn check(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > MOST_BYTES || path.split('/').any(|part| part.len() > MOST_COMPONENT) {
        return Err(PathError::TooLong);
    }
    if path.contains('\0') {
        return Err(PathError::Nul);
    }
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(PathError::LeadsOut);
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return Err(PathError::NotPlain);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_a_model() {
        for path in ["a", "a/b.c", "...", "..a/b", ".hidden", "a b", "a\\b", "modèle"] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
        for (path, error) in [
            ("", PathError::Empty),
            ("/a", PathError::LeadsOut),
            ("..", PathError::LeadsOut),
            ("a/../b", PathError::LeadsOut),
            ("a//b", PathError::NotPlain),
            ("./a", PathError::NotPlain),
            ("a/", PathError::NotPlain),
            ("a\0b", PathError::Nul),
        ] {
            assert_eq!(check(path), Err(error), "{path}");
        }
        assert_eq!(check(&"a".repeat(256)), Err(PathError::TooLong));
        assert_eq!(check(&"a/".repeat(2049)), Err(PathError::TooLong));
    }
}
