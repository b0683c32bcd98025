//! Keys and certificates, from files.

use super::args::SignerArgs;
use crate::cli::Failure;
use anyhow::{Context, anyhow};
use std::io::{self, IsTerminal};
use std::path::Path;
use tensorseal_core::verbs::trust::{MAX_FILE, read_certificates, read_small};
use tensorseal_signing::{PrivateKey, SigningMethod, certificates};
use zeroize::Zeroizing;

/// The signing key, and whether verifiers trust the key itself or its certificate.
pub(crate) fn signer(args: &SignerArgs) -> Result<(PrivateKey, SigningMethod), Failure> {
    let key = private_key(args)?;
    let Some(path) = &args.cert else { return Ok((key, SigningMethod::Key)) };
    let mut found = read_certificates(&[path])?;
    let leaf = found.remove(0);
    // Verifiers would reject a signature by it.
    certificates::verify_leaf(&leaf, jiff::Timestamp::now())
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)?;
    // Files commonly hold the leaf followed by its chain.
    found.extend(read_certificates(&args.chain)?);
    Ok((key, SigningMethod::Certificate { leaf, chain: found }))
}

fn private_key(args: &SignerArgs) -> Result<PrivateKey, Failure> {
    let text = read_small(&args.key, MAX_FILE)?;
    let passphrase = match (&args.passphrase_file, PrivateKey::is_encrypted(&text)) {
        (_, false) => None,
        (Some(path), true) => Some(first_line(&read_small(path, MAX_FILE)?)),
        (None, true) => Some(ask(&args.key)?),
    };
    PrivateKey::from_pem(&text, passphrase.as_ref().map(|passphrase| passphrase.as_slice()))
        .with_context(|| args.key.display().to_string())
        .map_err(Failure::usage)
}

/// The first line of a file, without its line break.
fn first_line(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

fn ask(key: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let key = key.display();
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "{key} is encrypted and there is no terminal to prompt for its passphrase; use --passphrase-file"
        )));
    }
    let answer = rpassword::prompt_password(format!("Passphrase for {key}: "));
    let answer = Zeroizing::new(answer.map_err(Failure::usage)?);
    Ok(Zeroizing::new(answer.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_one_line() {
        for text in ["secret", "secret\n", "secret\r\n", "secret\nmore"] {
            assert_eq!(first_line(text.as_bytes()).as_slice(), b"secret");
        }
        assert!(first_line(b"").is_empty());
    }
}
