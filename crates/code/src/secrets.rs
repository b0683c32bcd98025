//! What files carry along that nobody meant to publish. It is told that it is there, never what it is.

use super::error::CodeError;
use super::file_name;
use super::findings::FileFindings;
use super::lazy_file::{LazyFile, MOST};
use tensorseal_format::{OpenError, zip};

/// What a token looks like.
struct TokenPattern {
    begins: &'static str,
    /// What it goes on with, and how much of that.
    is_part: fn(u8) -> bool,
    length: usize,
    what: &'static str,
}

const fn shape(
    begins: &'static str,
    is_part: fn(u8) -> bool,
    length: usize,
    what: &'static str,
) -> TokenPattern {
    TokenPattern { begins, is_part, length, what }
}

const TOKENS: [TokenPattern; 9] = [
    shape("hf_", is_alphanumeric, 34, "a token of the Hugging Face hub"),
    shape("api_org_", is_alphanumeric, 34, "a token of the Hugging Face hub"),
    shape("ghp_", is_alphanumeric, 36, "a token of GitHub"),
    shape("gho_", is_alphanumeric, 36, "a token of GitHub"),
    shape("ghs_", is_alphanumeric, 36, "a token of GitHub"),
    shape("github_pat_", is_word, 82, "a token of GitHub"),
    shape("glpat-", is_word, 20, "a token of GitLab"),
    shape("AKIA", is_capital, 16, "an access key of AWS"),
    shape("sk-ant-", is_word, 80, "a key of Anthropic"),
];

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// Beginnings of paths in somebody's own directory.
const HOMES: [&[u8]; 5] = [b"/home/", b"/Users/", b"/root/", b":\\\\Users\\\\", b":\\Users\\"];

/// Whether a file may carry a token: the arguments of a training are pickled whole.
pub(super) fn may_hold_token(path: &str) -> bool {
    file_name(path) == "training_args.bin"
}

/// Whether a file is an exported program of PyTorch.
pub(super) fn is_exported(path: &str) -> bool {
    path.ends_with(".pt2")
}

/// Looks for tokens in the arguments of a training.
pub(super) fn scan_for_tokens(
    source: &LazyFile<'_>,
    found: &mut FileFindings,
) -> Result<(), OpenError> {
    let Some(bytes) = source.whole()? else {
        found.too_long(source.file.bytes);
        return Ok(());
    };
    for what in tokens(bytes) {
        let what = format!("carries what looks like {what}: withdraw it where it was issued");
        found.other.push(CodeError::Private { what });
    }
    Ok(())
}

/// What the tokens in some bytes are of, each once.
fn tokens(bytes: &[u8]) -> Vec<&'static str> {
    let mut all: Vec<&'static str> = Vec::new();
    for TokenPattern { begins, is_part, length, what } in TOKENS {
        let holds = memchr::memmem::find_iter(bytes, begins).any(|at| {
            let rest = bytes.get(at + begins.len()..).unwrap_or_default();
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            let is_apart = !before.is_some_and(|byte| byte.is_ascii_alphanumeric());
            is_apart && rest.len() >= length && rest.iter().take(length).all(|byte| is_part(*byte))
        });
        if holds && !all.contains(&what) {
            all.push(what);
        }
    }
    all
}

/// Looks into an exported program for paths of the machine that made it, and for what it was traced with.
pub(super) fn scan_exported_program(
    source: &LazyFile<'_>,
    found: &mut FileFindings,
) -> Result<(), OpenError> {
    let failed = |error| source.failed(error);
    let opened = source.opened()?;
    let mut start = [0; 4];
    if source.file.bytes < 4 {
        return Ok(());
    }
    source.fill(0, &mut start)?;
    if !zip::is_archive_start(&start) {
        return Ok(());
    }
    let archive = zip::read(opened).map_err(failed)?;
    let inputs = archive.members.iter().filter(|member| {
        member.bytes > 0 && member.name.split('/').any(|part| part.starts_with("sample_inputs"))
    });
    let inputs = inputs.count();
    if inputs > 0 {
        let what = "carries the inputs that it was traced with".to_owned();
        found.other.push(CodeError::Private { what });
    }
    let mut left = MOST;
    let mut paths = 0u64;
    for member in archive.members.iter().filter(|member| member.name.ends_with(".json")) {
        if member.bytes > left {
            found.too_long(member.bytes);
            continue;
        }
        left -= member.bytes;
        match member.read(opened, MOST).map_err(failed)? {
            Ok(bytes) => paths += homes(&bytes),
            Err(error) => found.not_examined(error.to_string()),
        }
    }
    if paths > 0 {
        let what = format!("names files in somebody's own directory, {paths} times");
        found.other.push(CodeError::Private { what });
    }
    Ok(())
}

/// How often a path in somebody's own directory is named.
fn homes(bytes: &[u8]) -> u64 {
    HOMES.iter().map(|home| memchr::memmem::find_iter(bytes, home).count() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_shape() {
        let hub = format!("X\x10hub_tokenX\x25hf_{}q", "aB3".repeat(11) + "x");
        assert_eq!(tokens(format!("{hub} \u{1}").as_bytes()), ["a token of the Hugging Face hub"]);
        let short = format!("hf_{}", "a".repeat(33));
        let within = format!("xhf_{}", "a".repeat(34));
        assert_eq!(tokens(format!("{short} {within} hf_hub_download AKIA").as_bytes()), [""; 0]);
        assert_eq!(tokens(format!("AKIA{}", "A1".repeat(8)).as_bytes()), ["an access key of AWS"]);
        assert_eq!(tokens(b""), [""; 0]);
    }

    #[test]
    fn own_directories_are_counted() {
        assert_eq!(homes(br#"File \"/home/x/a.py\", line 1, /usr/lib, C:\\Users\\x"#), 2);
    }
}
