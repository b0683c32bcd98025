//! Reads PEM (RFC 7468): base64 blocks between `-----BEGIN label-----` and `-----END label-----` lines.
//!
//! Text before and between the blocks is ignored. Text after the last block is reported, so that each caller decides
//! whether to allow it. Line ends may be LF or CRLF, and lines may have any width.

use pkcs8::der::pem;
use tensorseal_base::display::display_name;
use zeroize::Zeroizing;

/// The longest PEM text that is read, in bytes. Some thousand certificates fit.
const MAX_LEN: usize = 4 << 20;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// An error in a PEM text.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// The text has no PEM block.
    #[error("not PEM: no -----BEGIN line")]
    NoBlock,
    /// The text is longer than any file of keys or certificates.
    #[error("not PEM: longer than {MAX_LEN} bytes")]
    TooLong,
    /// The file is not UTF-8.
    #[error("not PEM: not UTF-8 text")]
    NotText,
    /// A block has no end line.
    #[error("malformed PEM: the block '{}' has no matching -----END line", display_name(.0))]
    Unfinished(String),
    /// The content of a block is not base64.
    #[error("malformed PEM: the block '{}' does not hold base64", display_name(.0))]
    Base64(String),
    /// A block has headers (RFC 1421), which are supported for encrypted keys of old programs only.
    #[error("malformed PEM: the block '{}' has headers", display_name(.0))]
    Headers(String),
}

/// A PEM block. Its content may be secret, so its memory is overwritten when it is dropped.
pub(super) struct PemBlock {
    /// The label between `BEGIN` and the dashes.
    pub label: String,
    /// The decoded content.
    pub der: Zeroizing<Vec<u8>>,
    /// Whether headers say that the block is encrypted (RFC 1421, section 4.6.1.1). It is not decoded then.
    pub encrypted: bool,
}

/// A parsed PEM text.
pub(super) struct PemDocument {
    /// The blocks, in order.
    pub blocks: Vec<PemBlock>,
    /// Whether text other than white space follows the last block.
    pub trailing: bool,
}

impl PemDocument {
    /// Parses all blocks of a text.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, PemError> {
        if text.len() > MAX_LEN {
            return Err(PemError::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| PemError::NotText)?;
        let mut lines = text.lines();
        let mut document = PemDocument { blocks: Vec::new(), trailing: false };
        while let Some(line) = lines.next() {
            match label(line, BEGIN) {
                Some(label) => {
                    document.blocks.push(block(label, &mut lines)?);
                    document.trailing = false;
                }
                None => document.trailing |= !line.trim().is_empty(),
            }
        }
        if document.blocks.is_empty() {
            return Err(PemError::NoBlock);
        }
        Ok(document)
    }
}

/// Returns the label of a line that begins or ends a block.
fn label<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    line.trim_end().strip_prefix(before)?.strip_suffix(DASHES)
}

/// Parses the rest of the block with this label.
fn block<'a>(label: &str, lines: &mut impl Iterator<Item = &'a str>) -> Result<PemBlock, PemError> {
    let mut body = Zeroizing::new(String::new());
    let mut headers = false;
    let mut encrypted = false;
    loop {
        let line = lines.next().ok_or_else(|| PemError::Unfinished(label.to_owned()))?;
        if line.starts_with(DASHES) {
            match self::label(line, END) {
                Some(end) if end == label => break,
                _ => return Err(PemError::Unfinished(label.to_owned())),
            }
        }
        if line.contains(':') {
            headers = true;
            encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
        }
        body.push_str(line.trim());
    }
    let label = label.to_owned();
    if encrypted {
        return Ok(PemBlock { label, der: Zeroizing::default(), encrypted });
    }
    if headers {
        return Err(PemError::Headers(label));
    }
    let der = decode(&label, &body).ok_or_else(|| PemError::Base64(label.clone()))?;
    Ok(PemBlock { label, der, encrypted })
}

/// Decodes base64 in constant time. The decoder needs lines of 64 characters.
fn decode(label: &str, body: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !body.is_ascii() || body.is_empty() {
        return None;
    }
    let capacity =
        2 * (BEGIN.len() + label.len() + DASHES.len()) + body.len() + body.len() / 32 + 8;
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    for part in [BEGIN, "X", DASHES, "\n"] {
        text.push_str(part);
    }
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    for part in [END, "X", DASHES, "\n"] {
        text.push_str(part);
    }
    let (_, der) = pem::decode_vec(text.as_bytes()).ok()?;
    Some(Zeroizing::new(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PemDocument, PemError> {
        PemDocument::parse(text.as_bytes())
    }

    #[test]
    fn blocks_and_the_text_around_them() {
        let text = "Bag Attributes\n-----BEGIN A B-----\r\nAQID\r\nBAUG\r\n-----END A B-----\r\n\
                    between\n-----BEGIN C-----\n/w==\n-----END C-----\n \n";
        let document = parse(text).unwrap();
        let blocks: Vec<_> =
            document.blocks.iter().map(|b| (b.label.as_str(), b.der.as_slice())).collect();
        assert_eq!(blocks, [("A B", &[1, 2, 3, 4, 5, 6][..]), ("C", &[255])]);
        assert!(!document.trailing);
        assert!(parse(&format!("{text}x")).unwrap().trailing);
    }

    #[test]
    fn lines_of_any_width() {
        let long = "QUFB".repeat(100);
        let document = parse(&format!("-----BEGIN X-----\n{long}\n-----END X-----")).unwrap();
        assert_eq!(document.blocks[0].der.len(), 300);
    }

    #[test]
    fn texts_that_are_not_pem() {
        let error = |text: &str| parse(text).err().unwrap();
        assert_eq!(error(""), PemError::NoBlock);
        assert_eq!(error("ssh-ed25519 AAAA"), PemError::NoBlock);
        assert_eq!(PemDocument::parse(b"\xff").err(), Some(PemError::NotText));
        assert_eq!(PemDocument::parse(&vec![b' '; MAX_LEN + 1]).err(), Some(PemError::TooLong));
        let x = || "X".to_owned();
        assert_eq!(error("-----BEGIN X-----\nAQID\n"), PemError::Unfinished(x()));
        assert_eq!(error("-----BEGIN X-----\nAQID\n-----END Y-----\n"), PemError::Unfinished(x()));
        for wrong in ["AQI", "AQI*", "AR==", "", "=AQI"] {
            assert_eq!(
                error(&format!("-----BEGIN X-----\n{wrong}\n-----END X-----\n")),
                PemError::Base64(x()),
                "{wrong}"
            );
        }
        assert_eq!(
            error("-----BEGIN X-----\nA: b\n\nAQID\n-----END X-----\n"),
            PemError::Headers(x())
        );
    }

    #[test]
    fn encrypted_blocks_are_recognised_by_their_headers() {
        let text = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                    DEK-Info: AES-128-CBC,00\n\nAQID\n-----END EC PRIVATE KEY-----\n";
        assert!(parse(text).unwrap().blocks[0].encrypted);
    }
}
