//! The TLS configuration of the HTTP client. It has its own crypto provider, so that none is installed for the whole
//! process.

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// The protocols that are offered to servers (ALPN).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Returns a configuration that trusts the certificates of the operating system.
///
/// # Errors
/// Returns an error if the trusted certificates cannot be loaded.
pub(super) fn config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(Vec::from).to_vec();
    Ok(config)
}
