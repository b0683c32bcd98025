//! Finds private data that was probably published by mistake. The data itself is never reported.

use super::error::CodeError;
use super::file_name;
use super::findings::FileFindings;
use super::lazy_file::{LazyFile, MAX_BYTES};
use tensorseal_format::{OpenError, zip};

/// The pattern of a token.
struct TokenPattern {
    prefix: &'static str,
    /// The characters after the prefix; `length` is their number.
    is_part: fn(u8) -> bool,
    length: usize,
    what: &'static str,
}

const fn pattern(
    prefix: &'static str,
    is_part: fn(u8) -> bool,
    length: usize,
    what: &'static str,
) -> TokenPattern {
    TokenPattern { prefix, is_part, length, what }
}

const TOKENS: [TokenPattern; 9] = [
    pattern("hf_", is_alphanumeric, 34, "a Hugging Face token"),
    pattern("api_org_", is_alphanumeric, 34, "a Hugging Face token"),
    pattern("ghp_", is_alphanumeric, 36, "a GitHub token"),
    pattern("gho_", is_alphanumeric, 36, "a GitHub token"),
    pattern("ghs_", is_alphanumeric, 36, "a GitHub token"),
    pattern("github_pat_", is_word, 82, "a GitHub token"),
    pattern("glpat-", is_word, 20, "a GitLab token"),
    pattern("AKIA", is_capital, 16, "an AWS access key"),
    pattern("sk-ant-", is_word, 80, "an Anthropic API key"),
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

/// The prefixes of paths in home directories.
const HOMES: [&[u8]; 5] = [b"/home/", b"/Users/", b"/root/", b":\\\\Users\\\\", b":\\Users\\"];

/// Whether a file may contain a token: the pickled training arguments can.
pub(super) fn may_hold_token(path: &str) -> bool {
    file_name(path) == "training_args.bin"
}

/// Whether a file is an exported PyTorch program.
pub(super) fn is_exported(path: &str) -> bool {
    path.ends_with(".pt2")
}

/// Checks training arguments for tokens.
pub(super) fn scan_for_tokens(
    source: &LazyFile<'_>,
    findings: &mut FileFindings,
) -> Result<(), OpenError> {
    let Some(bytes) = source.whole()? else {
        findings.too_long(source.file.bytes);
        return Ok(());
    };
    for what in tokens(bytes) {
        let what = format!("contains what looks like {what}; revoke it at the issuer");
        findings.other.push(CodeError::Private { what });
    }
    Ok(())
}

/// The kinds of tokens in some bytes, each once.
fn tokens(bytes: &[u8]) -> Vec<&'static str> {
    let mut all: Vec<&'static str> = Vec::new();
    for TokenPattern { prefix, is_part, length, what } in TOKENS {
        let holds = memchr::memmem::find_iter(bytes, prefix).any(|at| {
            let rest = bytes.get(at + prefix.len()..).unwrap_or_default();
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            let is_word_start = !before.is_some_and(|byte| byte.is_ascii_alphanumeric());
            is_word_start
                && rest.len() >= length
                && rest.iter().take(length).all(|byte| is_part(*byte))
        });
        if holds && !all.contains(&what) {
            all.push(what);
        }
    }
    all
}

/// Checks an exported program for paths in home directories and for the sample inputs of the export.
pub(super) fn scan_exported_program(
    source: &LazyFile<'_>,
    findings: &mut FileFindings,
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
        let what = "contains the sample inputs that it was exported with".to_owned();
        findings.other.push(CodeError::Private { what });
    }
    let mut left = MAX_BYTES;
    let mut paths = 0u64;
    for member in archive.members.iter().filter(|member| member.name.ends_with(".json")) {
        if member.bytes > left {
            findings.too_long(member.bytes);
            continue;
        }
        left -= member.bytes;
        match member.read(opened, MAX_BYTES).map_err(failed)? {
            Ok(bytes) => paths += count_home_paths(&bytes),
            Err(error) => findings.not_examined(error.to_string()),
        }
    }
    if paths > 0 {
        let what = format!("contains {paths} paths in home directories");
        findings.other.push(CodeError::Private { what });
    }
    Ok(())
}

/// The number of paths in home directories.
fn count_home_paths(bytes: &[u8]) -> u64 {
    HOMES.iter().map(|home| memchr::memmem::find_iter(bytes, home).count() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_shape() {
        let hub = format!("X\x10hub_tokenX\x25hf_{}q", "aB3".repeat(11) + "x");
        assert_eq!(tokens(format!("{hub} \u{1}").as_bytes()), ["a Hugging Face token"]);
        let short = format!("hf_{}", "a".repeat(33));
        let within = format!("xhf_{}", "a".repeat(34));
        assert_eq!(tokens(format!("{short} {within} hf_hub_download AKIA").as_bytes()), [""; 0]);
        assert_eq!(tokens(format!("AKIA{}", "A1".repeat(8)).as_bytes()), ["an AWS access key"]);
        assert_eq!(tokens(b""), [""; 0]);
    }

    #[test]
    fn own_directories_are_counted() {
        assert_eq!(
            count_home_paths(br#"File \"/home/x/a.py\", line 1, /usr/lib, C:\\Users\\x"#),
            2
        );
    }
}
