use super::NameError;

/// Checks that a name is a normalised relative path that stays inside the model.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.contains('\0') {
        return Err(NameError::Nul);
    }
    if name.starts_with('/') {
        return Err(NameError::Absolute);
    }
    for component in name.split('/') {
        match component {
            "" => return Err(NameError::EmptyComponent),
            "." => return Err(NameError::Current),
            ".." => return Err(NameError::Parent),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_a_model() {
        for valid in ["a", "a/b", "...", "..a", "a..", ".hidden", "a\\b", "a:b", " ", "-", "\u{1}"]
        {
            assert_eq!(check(valid), Ok(()), "{valid:?}");
        }
        for (wrong, reason) in [
            ("", NameError::Empty),
            ("/", NameError::Absolute),
            ("/etc/passwd", NameError::Absolute),
            ("..", NameError::Parent),
            ("a/../b", NameError::Parent),
            ("../x", NameError::Parent),
            (".", NameError::Current),
            ("./a", NameError::Current),
            ("a/.", NameError::Current),
            ("a//b", NameError::EmptyComponent),
            ("a/", NameError::EmptyComponent),
            ("a\0b", NameError::Nul),
        ] {
            assert_eq!(check(wrong), Err(reason), "{wrong:?}");
        }
    }
}
