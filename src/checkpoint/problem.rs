//! What is wrong, or merely odd, with the structure of a model.

use crate::severity::Severity;

/// One structural problem or remark. One line for people, a stable rule for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Rule id, `format/what-is-wrong`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the model.
    pub file: String,
    /// The tensor, when it is about one.
    pub tensor: Option<String>,
    /// Half-open byte range in the file, when there is one.
    pub byte_range: Option<[u64; 2]>,
    /// One line: place and reason.
    pub message: String,
}

impl Problem {
    /// A problem of high severity: loaders may read something else than what was meant, or nothing.
    pub fn new(rule: &'static str, file: &str, message: impl Into<String>) -> Self {
        let message = one_line(&message.into());
        Self {
            rule,
            severity: Severity::High,
            file: file.to_owned(),
            tensor: None,
            byte_range: None,
            message,
        }
    }

    /// Something legal that is worth knowing.
    pub fn remark(rule: &'static str, file: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Info, ..Self::new(rule, file, message) }
    }

    /// Names the tensor.
    pub fn tensor(mut self, name: &str) -> Self {
        self.tensor = Some(name.to_owned());
        self
    }

    /// Names the place in the file.
    pub fn range(mut self, range: [u64; 2]) -> Self {
        self.byte_range = Some(range);
        self
    }
}

/// Control characters escaped: what a hostile file says must not steer a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// A name from a file in a message: quoted, escaped and not longer than a line.
pub fn quoted(name: &str) -> String {
    let clipped: String = name.chars().take(120).collect();
    let rest = if clipped.len() < name.len() { "…" } else { "" };
    format!("{clipped:?}{rest}")
}
