//! Parses the address of a bucket: `s3://bucket/prefix`, `gs://…` or `az://…`.

use super::super::SourceError;
use object_store::path::Path;
use std::fmt;

/// The provider of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// Amazon S3, or a store with the same protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    const ALL: [Provider; 3] = [Self::S3, Self::Google, Self::Azure];

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// A bucket and a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// The provider.
    pub provider: Provider,
    /// The bucket, or container.
    pub bucket: String,
    /// The prefix of all keys. It is empty or ends with `/`.
    pub prefix: String,
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// Returns [`SourceError::Invalid`] if the address is not valid.
    pub(super) fn parse(uri: &str) -> Result<Address, SourceError> {
        // An invalid address may contain a password, so the message does not repeat it.
        let invalid = |name: &str, why: &str| SourceError::Invalid {
            source_name: name.to_owned(),
            reason: why.to_owned(),
        };
        let provider = Provider::ALL.into_iter().find_map(|provider| {
            Some((provider, uri.strip_prefix(provider.scheme())?.strip_prefix("://")?))
        });
        let Some((provider, rest)) = provider else {
            return Err(invalid("the bucket", "the address must begin with s3://, gs:// or az://"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name_char =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
        if bucket.is_empty() || !bucket.chars().all(is_name_char) {
            let name = format!("{}://…", provider.scheme());
            let why = "a bucket name has letters, digits, - and . only; set credentials and the endpoint \
                       in the environment";
            return Err(invalid(&name, why));
        }
        let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_path = |path: &Path| path.as_ref() == trimmed;
        if !trimmed.is_empty() && !Path::parse(trimmed).is_ok_and(|path| is_path(&path)) {
            let name = format!("{}://{bucket}/…", provider.scheme());
            return Err(invalid(&name, "the prefix has an empty or relative component"));
        }
        let prefix = if trimmed.is_empty() { String::new() } else { format!("{trimmed}/") };
        Ok(Address { provider, bucket: bucket.to_owned(), prefix })
    }

    /// Returns the URI of an object or a prefix, for messages.
    pub(super) fn place(&self, key: &str) -> String {
        let key = key.strip_suffix('/').unwrap_or(key);
        let bucket = format!("{}://{}", self.provider.scheme(), self.bucket);
        if key.is_empty() { bucket } else { format!("{bucket}/{key}") }
    }

    /// Returns the name of the model below a prefix.
    pub(super) fn model_name(&self, prefix: &str) -> String {
        let below = prefix.strip_prefix(&self.prefix).unwrap_or(prefix);
        let name = below.strip_suffix('/').unwrap_or(below);
        if name.is_empty() { ".".to_owned() } else { name.to_owned() }
    }

    /// Returns the prefix of the keys of a model.
    pub(super) fn below(&self, model_name: &str) -> String {
        match model_name {
            "." => self.prefix.clone(),
            name => format!("{}{name}/", self.prefix),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place(&self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_addresses() {
        let cases = [
            ("s3://models", Provider::S3, "models", ""),
            ("s3://models/", Provider::S3, "models", ""),
            ("gs://my_models/a b/c/", Provider::Google, "my_models", "a b/c/"),
            ("az://$web/x", Provider::Azure, "$web", "x/"),
        ];
        for (uri, provider, bucket, prefix) in cases {
            let address = Address::parse(uri).unwrap();
            let expected = Address { provider, bucket: bucket.into(), prefix: prefix.into() };
            assert_eq!(address, expected);
            assert_eq!(address.to_string(), uri.strip_suffix('/').unwrap_or(uri));
            assert_eq!(address.below("."), prefix);
            assert_eq!(address.model_name(prefix), ".");
            assert_eq!(address.model_name(&address.below("d/e")), "d/e");
        }
    }

    #[test]
    fn errors_about_addresses_contain_no_secrets() {
        for uri in [
            "models",
            "http://user:hunter2@host/models",
            "s3://user:hunter2@bucket/x",
            "s3://",
            "s3:///hunter2",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://bucket?key=hunter2",
        ] {
            let error = Address::parse(uri).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
