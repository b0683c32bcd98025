//! Converts a policy document to a policy, and checks every value.

use super::document::{self, PolicyDocument, SpannedTexts};
use super::values::{Area, CodeAllowed, Limit, Pattern, UnknownFiles};
use super::{
    AttestationPolicy, Exception, Policy, PolicyError, RegistryPolicy, SCHEMA, SealPolicy,
    SignaturePolicy, WatermarkPolicy, formats,
};
use crate::judge::presence::ExpectedPresence;
use crate::judge::rules;
use crate::judge::watermark::PRESENT;
use crate::seal::canonical;
use jiff::civil::Date;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use tensorseal_base::hashing::HashAlgorithm;
use tensorseal_signing::attestation::AttestationKind;
use toml::Spanned;
use toml::value::Datetime;

/// The maximum length of names, patterns and reasons in characters.
const MAX_TEXT: usize = 4096;

/// The default of `[coverage] allow`: paths that are never part of a model.
const DEFAULT_UNMEASURED: [&str; 5] =
    [".git", ".gitignore", ".gitattributes", ".github", ".cache/huggingface"];

/// The smallest value of `max_log10_p`.
const MIN_LOG10_P: f64 = -10_000.0;

type Result<T> = std::result::Result<T, PolicyError>;

/// Parses and checks a policy.
pub(super) fn policy(text: &str) -> Result<Policy> {
    let document: PolicyDocument =
        toml::from_str(text).map_err(|error| PolicyError::from_toml(text, &error))?;
    Checker { text }.policy(document)
}

struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    fn policy(&self, document: PolicyDocument) -> Result<Policy> {
        if document.schema.get_ref() != SCHEMA {
            return Err(self.wrong(
                &document.schema,
                format!("unsupported schema: this version reads {SCHEMA:?}"),
            ));
        }
        let signature = self.signature(document.signature)?;
        let signers = !signature.keys.is_empty() || !signature.roots.is_empty();
        let unmeasured = match document.coverage.allow {
            Some(paths) => self.all(&paths)?,
            None => DEFAULT_UNMEASURED.iter().filter_map(|path| path.parse().ok()).collect(),
        };
        Ok(Policy {
            name: document.name.map(|name| self.words(&name)).transpose()?,
            code: self
                .one(document.code, &CodeAllowed::ALL, CodeAllowed::name)?
                .unwrap_or(CodeAllowed::Any),
            signature,
            seal: self.seal(document.seal, signers)?,
            attestations: self.attestations(document.attestations, signers)?,
            registry: self.registry(document.registry)?,
            unmeasured,
            unknown: self
                .one(document.files.unknown, &UnknownFiles::ALL, UnknownFiles::name)?
                .unwrap_or(UnknownFiles::List),
            formats: self.choice(document.formats.allowed, |name| {
                named(&formats::all(), |format| format, name)
            })?,
            dtypes: self.choice(document.dtypes.allowed, |name| {
                name.parse().map_err(|_| "unknown element type".to_owned())
            })?,
            audit: document.audit.required,
            severity: self.severity(document.severity)?,
            watermarks: self.each(document.watermark, |watermark| self.watermark(watermark))?,
            exceptions: self.each(document.allow, |allow| self.exception(allow))?,
        })
    }

    fn signature(&self, written: document::SignatureTable) -> Result<SignaturePolicy> {
        if let Some(keyless) = &written.keyless {
            return Err(
                self.not_built_in(keyless, "a keyless signature (Fulcio identity and issuer)")
            );
        }
        let keys = self.paths(&written.keys.unwrap_or_default())?;
        let roots = self.paths(&written.roots.unwrap_or_default())?;
        let has_no_signers = keys.is_empty() && roots.is_empty();
        let required = written.required.as_ref().is_some_and(|required| *required.get_ref());
        if let Some(place) = written.required.as_ref().filter(|_| required && has_no_signers) {
            return Err(self.wrong(place, "needs trusted signers: set `keys` or `roots`"));
        }
        let mut identities = Vec::new();
        if let Some(written) = &written.identities {
            if has_no_signers {
                return Err(self.wrong(written, "needs trusted signers: set `keys` or `roots`"));
            }
            identities = self.some(written)?;
            for (pattern, place) in identities.iter().zip(written.get_ref()) {
                self.identity(pattern, place)?;
            }
        }
        let hash = self
            .choice(written.hash, |name| named(&HashAlgorithm::ALL, HashAlgorithm::name, name))?;
        Ok(SignaturePolicy {
            required,
            keys,
            roots,
            identities,
            hash: hash.unwrap_or(HashAlgorithm::ALL.to_vec()),
            allow_ignored_paths: self.all(&written.allow_ignored_paths.unwrap_or_default())?,
            allow_unsigned_files: written.allow_unsigned_files,
            allow_symlinks: written.allow_symlinks,
        })
    }

    /// Refuses identities that match everyone, and incomplete fingerprints, which are easy to forge.
    fn identity(&self, pattern: &Pattern, place: &Spanned<String>) -> Result<()> {
        let fingerprint = pattern.as_str().strip_prefix("sha256:");
        match fingerprint.map(canonical::unhex) {
            Some(None) => Err(self.wrong(
                place,
                "expected sha256: and all 64 lower-case hexadecimal digits of a fingerprint",
            )),
            _ if pattern.is_everything() => {
                Err(self.wrong(place, "matches everyone: remove `identities` instead"))
            }
            _ => Ok(()),
        }
    }

    fn seal(&self, written: document::SealTable, signers: bool) -> Result<SealPolicy> {
        let signed = written.signed.as_ref().filter(|signed| *signed.get_ref());
        if let Some(place) = signed.filter(|_| !signers) {
            return Err(
                self.wrong(place, "needs trusted signers: set `keys` or `roots` under [signature]")
            );
        }
        if let Some(place) = signed.filter(|_| !written.required) {
            return Err(self.wrong(place, "applies only to a required seal: set `required = true`"));
        }
        Ok(SealPolicy {
            required: written.required,
            signed: signed.is_some(),
            expect_root: self.choice(written.expect_root, digest)?.unwrap_or_default(),
            expect_digest: self.choice(written.expect_digest, digest)?.unwrap_or_default(),
        })
    }

    fn attestations(
        &self,
        written: document::AttestationsTable,
        signers: bool,
    ) -> Result<AttestationPolicy> {
        if let Some(place) = written.required.as_ref().filter(|_| !signers) {
            return Err(
                self.wrong(place, "needs trusted signers: set `keys` or `roots` under [signature]")
            );
        }
        let required = self
            .choice(written.required, |name| {
                named(&AttestationKind::ALL, AttestationKind::name, name)
            })?
            .unwrap_or_default();
        if let Some(place) = written.max_age.as_ref().filter(|_| required.is_empty()) {
            return Err(self.wrong(
                place,
                "applies only to required attestations: list them under `required`",
            ));
        }
        let max_age = written.max_age.map(|age| self.parsed(&age)).transpose()?;
        Ok(AttestationPolicy { required, max_age })
    }

    fn registry(&self, written: document::RegistryTable) -> Result<RegistryPolicy> {
        if let Some(place) = written.max_age.as_ref().filter(|_| !written.required) {
            return Err(
                self.wrong(place, "applies only to a required check: set `required = true`")
            );
        }
        let max_age = written.max_age.map(|age| self.parsed(&age)).transpose()?;
        Ok(RegistryPolicy { required: written.required, max_age })
    }

    fn severity(&self, written: document::SeverityTable) -> Result<Vec<(Area, Limit)>> {
        let limits = [
            (Area::Format, written.format),
            (Area::Integrity, written.integrity),
            (Area::Signature, written.signature),
            (Area::Weights, written.weights),
            (Area::Payload, written.payload),
            (Area::Watermark, written.watermark),
            (Area::Lineage, written.lineage),
            (Area::Content, written.content),
            (Area::Claims, written.claims),
        ];
        let written = limits.into_iter().filter_map(|(area, limit)| Some((area, limit?)));
        written.map(|(area, limit)| Ok((area, self.parsed(&limit)?))).collect()
    }

    fn watermark(&self, written: document::WatermarkTable) -> Result<WatermarkPolicy> {
        let expect = match written.expect.get_ref().as_str() {
            "present" => ExpectedPresence::Present,
            "absent" => ExpectedPresence::Absent,
            _ => return Err(self.wrong(&written.expect, "expected \"present\" or \"absent\"")),
        };
        let max_log10_p = match &written.max_log10_p {
            None => PRESENT,
            Some(place) if expect == ExpectedPresence::Absent => {
                return Err(
                    self.wrong(place, "applies only to marks that are expected to be present")
                );
            }
            Some(limit) if (MIN_LOG10_P..=PRESENT).contains(limit.get_ref()) => *limit.get_ref(),
            Some(place) => {
                let message = format!("expected a number from {MIN_LOG10_P} to {PRESENT}");
                return Err(self.wrong(place, message));
            }
        };
        let claim = written.claim.map(|claim| self.path(&claim)).transpose()?;
        Ok(WatermarkPolicy { key: self.path(&written.key)?, claim, expect, max_log10_p })
    }

    fn exception(&self, written: document::AllowTable) -> Result<Exception> {
        let rule = self.rule(&written.rule)?;
        match (&written.digest, &written.file) {
            (Some(place), None) => {
                return Err(self.wrong(place, "needs a file: name it with `file`"));
            }
            (None, _) if needs_digest(rule) => {
                let message = "is about executable content or published digests: an exception must name the file and its content with `file` and `digest`";
                return Err(self.wrong(&written.rule, message));
            }
            _ => {}
        }
        let file_digest = |text: Spanned<String>| {
            digest(text.get_ref()).map_err(|message| self.wrong(&text, message))
        };
        Ok(Exception {
            rule,
            file: written.file.map(|file| self.parsed(&file)).transpose()?,
            tensor: written.tensor.map(|tensor| self.parsed(&tensor)).transpose()?,
            digest: written.digest.map(file_digest).transpose()?,
            reason: self.words(&written.reason)?,
            expires: self.date(&written.expires)?,
        })
    }

    /// Returns the id of a rule whose findings may be allowed.
    fn rule(&self, written: &Spanned<String>) -> Result<&'static str> {
        let id = written.get_ref().as_str();
        let Some(rule) = rules::find_rule(id) else {
            let nearest = rules::nearest(id, 3).join(", ");
            return Err(self.wrong(written, format!("unknown rule; similar rules are {nearest}")));
        };
        match rule.area() {
            "policy" => Err(self.wrong(
                written,
                "exceptions do not apply to requirements of the policy: change the policy instead",
            )),
            "signature" => {
                Err(self.wrong(written, "exceptions do not apply to findings about signatures"))
            }
            _ => Ok(rule.id),
        }
    }

    /// Converts a TOML date.
    fn date(&self, written: &Spanned<Datetime>) -> Result<Date> {
        let Datetime { date: Some(date), time: None, offset: None } = written.get_ref() else {
            return Err(self.wrong(written, "expected a date without quotes, such as 2027-01-31"));
        };
        // The TOML parser has checked the calendar.
        let [month, day] =
            [date.month, date.day].map(|number| i8::try_from(number).unwrap_or_default());
        let year = i16::try_from(date.year).unwrap_or_default();
        Date::new(year, month, day).map_err(|error| self.wrong(written, error.to_string()))
    }

    /// Checks each entry of a list.
    fn each<T, U>(&self, written: Vec<T>, check: impl Fn(T) -> Result<U>) -> Result<Vec<U>> {
        written.into_iter().map(check).collect()
    }

    /// Checks a list of allowed values, which must be neither empty nor contain duplicates.
    fn choice<T: PartialEq>(
        &self,
        written: Option<Spanned<SpannedTexts>>,
        parse: impl Fn(&str) -> std::result::Result<T, String>,
    ) -> Result<Option<Vec<T>>> {
        let Some(written) = written else { return Ok(None) };
        if written.get_ref().is_empty() {
            return Err(self.wrong(&written, "must not be empty: remove the key, or list some"));
        }
        let mut all = Vec::new();
        for text in written.get_ref() {
            let value = parse(text.get_ref()).map_err(|message| self.wrong(text, message))?;
            if all.contains(&value) {
                return Err(self.wrong(text, "is listed twice"));
            }
            all.push(value);
        }
        Ok(Some(all))
    }

    /// Looks up an optional value by its name.
    fn one<T: Copy>(
        &self,
        written: Option<Spanned<String>>,
        all: &[T],
        name_of: fn(T) -> &'static str,
    ) -> Result<Option<T>> {
        let lookup = |text: Spanned<String>| {
            named(all, name_of, text.get_ref()).map_err(|message| self.wrong(&text, message))
        };
        written.map(lookup).transpose()
    }

    /// Parses a list of values.
    fn all<T: FromStr<Err = String>>(&self, written: &SpannedTexts) -> Result<Vec<T>> {
        written.iter().map(|text| self.parsed(text)).collect()
    }

    /// Parses a list of at least one value.
    fn some<T: FromStr<Err = String>>(&self, written: &Spanned<SpannedTexts>) -> Result<Vec<T>> {
        match written.get_ref().as_slice() {
            [] => Err(self.wrong(written, "must not be empty: remove the key, or list some")),
            _ => self.all(written.get_ref()),
        }
    }

    fn parsed<T: FromStr<Err = String>>(&self, written: &Spanned<String>) -> Result<T> {
        self.short(written)?;
        written.get_ref().parse().map_err(|message: String| self.wrong(written, message))
    }

    fn paths(&self, written: &SpannedTexts) -> Result<Vec<PathBuf>> {
        written.iter().map(|path| self.path(path)).collect()
    }

    fn path(&self, written: &Spanned<String>) -> Result<PathBuf> {
        self.short(written)?;
        match written.get_ref().as_str() {
            "" => Err(self.wrong(written, "must not be empty")),
            path if path.contains('\0') => Err(self.wrong(written, "a path cannot contain NUL")),
            path => Ok(PathBuf::from(path)),
        }
    }

    /// Checks text for people, which must not be empty.
    fn words(&self, written: &Spanned<String>) -> Result<String> {
        self.short(written)?;
        match written.get_ref().trim() {
            "" => Err(self.wrong(written, "must not be empty")),
            words => Ok(words.to_owned()),
        }
    }

    fn short(&self, written: &Spanned<String>) -> Result<()> {
        match written.get_ref().chars().count() {
            0..=MAX_TEXT => Ok(()),
            _ => Err(self.wrong(written, format!("longer than {MAX_TEXT} characters"))),
        }
    }

    fn wrong<T>(&self, place: &Spanned<T>, message: impl Into<String>) -> PolicyError {
        PolicyError::at(self.text, self.span(place), message)
    }

    fn not_built_in<T>(&self, place: &Spanned<T>, what: &str) -> PolicyError {
        PolicyError::not_built_in(self.text, self.span(place), what)
    }

    fn span<T>(&self, place: &Spanned<T>) -> Range<usize> {
        place.span()
    }
}

/// Checks a digest, which is kept as written.
fn digest(text: &str) -> std::result::Result<String, String> {
    let known = text.strip_prefix("blake3:").and_then(canonical::unhex);
    let expected = || "expected blake3: and 64 lower-case hexadecimal digits".to_owned();
    known.map(|_| text.to_owned()).ok_or_else(expected)
}

/// Returns whether exceptions for a rule need the digest of a file. A finding about executable content covers a whole
/// file, so without a digest an exception would also cover code that is added to the file later.
fn needs_digest(rule: &str) -> bool {
    match rule.split_once('/') {
        Some(("content" | "claims", _)) => true,
        Some(("format", what)) => what.starts_with("pickle-") || what == "torchscript",
        _ => false,
    }
}

/// Looks up a value by its name.
fn named<T: Copy>(
    all: &[T],
    name_of: fn(T) -> &'static str,
    name: &str,
) -> std::result::Result<T, String> {
    let found = all.iter().copied().find(|one| name_of(*one) == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
        format!("expected one of {}", names.join(", "))
    })
}
