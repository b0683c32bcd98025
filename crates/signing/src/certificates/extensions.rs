//! Parses the certificate extensions (RFC 5280, section 4.2) that the verification of a chain needs.

use super::{Certificate, CertificateError};
use pkcs8::ObjectIdentifier;
use std::collections::HashSet;
use tensorseal_base::display::display_name;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::ext::{Extension, Extensions};

const BASIC_CONSTRAINTS: ObjectIdentifier = oid("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = oid("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = oid("2.5.29.37");
const ALTERNATIVE_NAME: ObjectIdentifier = oid("2.5.29.17");
const NAME_CONSTRAINTS: ObjectIdentifier = oid("2.5.29.30");
const CODE_SIGNING: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.3");
const ANY_PURPOSE: ObjectIdentifier = oid("2.5.29.37.0");
/// The prefix of the object identifiers of Fulcio's extensions.
const FULCIO: &str = "1.3.6.1.4.1.57264.1.";

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// The supported extensions of a certificate.
pub(super) struct KnownExtensions {
    pub constraints: Option<BasicConstraints>,
    pub usage: Option<KeyUsage>,
    pub purposes: Option<ExtendedKeyUsage>,
}

impl KnownExtensions {
    /// Parses the extensions of a certificate.
    ///
    /// # Errors
    /// Returns [`CertificateError::Extension`] if an extension is malformed or occurs twice, and
    /// [`CertificateError::CriticalExtension`] if a critical one is not supported. Name constraints are refused even
    /// if they are not critical, because they are not enforced here.
    pub(super) fn read(certificate: &Certificate) -> Result<Self, CertificateError> {
        let mut parsed = KnownExtensions { constraints: None, usage: None, purposes: None };
        let mut seen = HashSet::new();
        for extension in extensions_of(certificate) {
            let id = extension.extn_id;
            let error = || (certificate.subject(), name_of(id));
            if !seen.insert(id) {
                let (subject, extension) = error();
                return Err(CertificateError::Extension { subject, extension });
            }
            let value = extension.extn_value.as_bytes();
            let result = match id {
                BASIC_CONSTRAINTS => BasicConstraints::from_der(value)
                    .map(|constraints| parsed.constraints = Some(constraints)),
                KEY_USAGE => KeyUsage::from_der(value).map(|usage| parsed.usage = Some(usage)),
                EXTENDED_KEY_USAGE => ExtendedKeyUsage::from_der(value)
                    .map(|purposes| parsed.purposes = Some(purposes)),
                ALTERNATIVE_NAME => Ok(()),
                _ if extension.critical || id == NAME_CONSTRAINTS => {
                    let (subject, extension) = error();
                    return Err(CertificateError::CriticalExtension { subject, extension });
                }
                _ => Ok(()),
            };
            result.map_err(|_| {
                let (subject, extension) = error();
                CertificateError::Extension { subject, extension }
            })?;
        }
        Ok(parsed)
    }

    /// Returns whether a leaf may sign models: it has KeyUsage digitalSignature or, without a KeyUsage, the extended key
    /// usage codeSigning.
    pub(super) fn may_sign(&self) -> bool {
        match &self.usage {
            Some(usage) => usage.digital_signature(),
            None => self.purposes.as_ref().is_some_and(|all| all.0.contains(&CODE_SIGNING)),
        }
    }

    /// Returns whether there are extended key usages, and code signing is not among them.
    pub(super) fn excludes_code_signing(&self) -> bool {
        self.purposes
            .as_ref()
            .is_some_and(|all| !all.0.contains(&CODE_SIGNING) && !all.0.contains(&ANY_PURPOSE))
    }
}

fn extensions_of(certificate: &Certificate) -> &[Extension] {
    certificate.parsed.tbs_certificate().extensions().map_or(&[], Extensions::as_slice)
}

/// Returns the name of an extension for messages.
fn name_of(id: ObjectIdentifier) -> String {
    let name = match id.to_string().as_str() {
        "2.5.29.19" => "basicConstraints",
        "2.5.29.15" => "keyUsage",
        "2.5.29.37" => "extKeyUsage",
        "2.5.29.17" => "subjectAltName",
        "2.5.29.30" => "nameConstraints",
        "2.5.29.32" => "certificatePolicies",
        "2.5.29.36" => "policyConstraints",
        "2.5.29.54" => "inhibitAnyPolicy",
        other => return other.to_owned(),
    };
    name.to_owned()
}

/// Returns the email addresses, URIs and host names in SubjectAltName. Other kinds are left out, and a malformed
/// extension has none.
pub(super) fn alternative_names(certificate: &Certificate) -> Vec<String> {
    let mut names = Vec::new();
    for extension in extensions_of(certificate).iter().filter(|e| e.extn_id == ALTERNATIVE_NAME) {
        let Ok(general_names) = GeneralNames::from_der(extension.extn_value.as_bytes()) else {
            continue;
        };
        names.extend(general_names.iter().filter_map(|name| match name {
            GeneralName::Rfc822Name(email) => {
                Some(format!("email:{}", display_name(email.as_str())))
            }
            GeneralName::UniformResourceIdentifier(uri) => {
                Some(format!("URI:{}", display_name(uri.as_str())))
            }
            GeneralName::DnsName(host) => Some(format!("DNS:{}", display_name(host.as_str()))),
            _ => None,
        }));
    }
    names
}

/// Returns whether any extension is one of Fulcio's.
pub(super) fn has_fulcio(certificate: &Certificate) -> bool {
    extensions_of(certificate)
        .iter()
        .any(|extension| extension.extn_id.to_string().starts_with(FULCIO))
}
