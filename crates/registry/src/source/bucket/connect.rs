//! Creates the client for a bucket, with the settings that the tools of its provider take from the environment.

use super::super::SourceError;
use super::super::remote::{NetworkRuntime, RequestLimits};
use super::address::{Address, Provider};
use super::response_recorder::RecordingConnector;
use super::{checksum, profile};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{ClientConfigKey, ClientOptions};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::{ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The requests that are sent to a store: ranges of objects and pages of listings.
pub(super) trait Store: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Store for T {}

/// Creates the client. No request is sent.
///
/// # Errors
/// Returns [`SourceError::Invalid`] if the settings are not valid.
pub(super) fn connect(
    address: &Address,
    mut settings: BTreeMap<String, String>,
    limits: &RequestLimits,
    runtime: &NetworkRuntime,
) -> Result<Arc<dyn Store>, SourceError> {
    let invalid =
        |why: String| SourceError::Invalid { source_name: address.to_string(), reason: why };
    if address.provider == Provider::S3 {
        profile::add(&mut settings).map_err(invalid)?;
        check_endpoint(&settings).map_err(invalid)?;
    }
    // The library uses the crypto provider of the process for TLS. An error means that one is already installed,
    // which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = runtime.enter(|| match address.provider {
        Provider::S3 => amazon(address, &settings, limits),
        Provider::Google => google(address, &settings, limits),
        Provider::Azure => azure(address, &settings, limits),
    });
    let built = built.map_err(|error| invalid(error.to_string()))?;
    built.map_err(|error| invalid(describe(&error)))
}

/// Refuses an endpoint without TLS unless the settings allow it.
fn check_endpoint(settings: &BTreeMap<String, String>) -> Result<(), String> {
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = endpoint.into_iter().find(|name| settings.contains_key(*name));
    let is_plain = |name: &&str| settings[*name].starts_with("http://");
    let allowed = settings.get("AWS_ALLOW_HTTP").is_some_and(|value| value == "true");
    match endpoint.filter(is_plain) {
        Some(name) if !allowed => {
            Err(format!("{name} does not use TLS: set AWS_ALLOW_HTTP=true to allow this"))
        }
        _ => Ok(()),
    }
}

/// Disables the retries of the library: [`retry`](super::super::remote::retry) does them.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// Returns the timeouts of single connections. The caller limits the time of whole attempts.
fn timeouts(limits: &RequestLimits) -> [(ClientConfigKey, String); 3] {
    let milliseconds = |time: std::time::Duration| format!("{}ms", time.as_millis().max(1));
    [
        (ClientConfigKey::ConnectTimeout, milliseconds(limits.connect)),
        (ClientConfigKey::ReadTimeout, milliseconds(limits.idle)),
        (ClientConfigKey::Timeout, milliseconds(limits.total)),
    ]
}

/// Returns the settings of one provider, under the keys of its client. Unknown names are ignored.
fn provider_settings<'s, K: std::str::FromStr>(
    settings: &'s BTreeMap<String, String>,
    prefix: &'s str,
) -> impl Iterator<Item = (K, &'s str)> {
    settings
        .iter()
        .filter(move |(name, _)| name.starts_with(prefix))
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.as_str())))
}

type BuiltStore = Result<Arc<dyn Store>, object_store::Error>;

fn amazon(
    address: &Address,
    settings: &BTreeMap<String, String>,
    limits: &RequestLimits,
) -> BuiltStore {
    let options = ClientOptions::new().with_default_headers(checksum::request_headers());
    let mut builder = AmazonS3Builder::new().with_client_options(options);
    for (key, value) in provider_settings(settings, "AWS_") {
        builder = builder.with_config(key, value);
    }
    for (key, value) in timeouts(limits) {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    let builder =
        builder.with_retry(no_retries()).with_http_connector(RecordingConnector::default());
    Ok(Arc::new(builder.with_bucket_name(&address.bucket).build()?))
}

fn google(
    address: &Address,
    settings: &BTreeMap<String, String>,
    limits: &RequestLimits,
) -> BuiltStore {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in provider_settings(settings, "GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    for (key, value) in timeouts(limits) {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    let builder =
        builder.with_retry(no_retries()).with_http_connector(RecordingConnector::default());
    Ok(Arc::new(builder.with_bucket_name(&address.bucket).build()?))
}

fn azure(
    address: &Address,
    settings: &BTreeMap<String, String>,
    limits: &RequestLimits,
) -> BuiltStore {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in provider_settings(settings, "AZURE_") {
        builder = builder.with_config(key, value);
    }
    for (key, value) in timeouts(limits) {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    let builder =
        builder.with_retry(no_retries()).with_http_connector(RecordingConnector::default());
    Ok(Arc::new(builder.with_container_name(&address.bucket).build()?))
}

/// What is wrong with the settings. Values, which may be secret, are not in it.
fn describe(error: &object_store::Error) -> String {
    match error {
        object_store::Error::Generic { source, .. } => {
            let text = source.to_string();
            // Names of settings stand before the first value that is quoted.
            let end = text.find(['"', '\'']).unwrap_or(text.len());
            format!("the settings cannot be used: {}", text[..end].trim_end_matches([':', ' ']))
        }
        _ => "the settings cannot be used".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(uri: &str, settings: &[(&str, &str)]) -> Result<Arc<dyn Store>, SourceError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut settings: BTreeMap<String, String> = settings.iter().map(own).collect();
        settings.insert("HOME".into(), "/nonexistent".into());
        connect(
            &Address::parse(uri).unwrap(),
            settings,
            &RequestLimits::default(),
            &NetworkRuntime::default(),
        )
    }

    #[test]
    fn settings_have_the_names_of_the_providers_tools() {
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let plain = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        assert!(connected("s3://models", &keys).is_ok());
        let error = connected("s3://models", &[keys[0], keys[1], plain]).unwrap_err().to_string();
        assert!(error.contains("AWS_ALLOW_HTTP=true"), "{error}");
        let allowed = ("AWS_ALLOW_HTTP", "true");
        assert!(connected("s3://models", &[keys[0], keys[1], plain, allowed]).is_ok());
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "account");
        let key = ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0");
        assert!(connected("az://models", &[account, key]).is_ok());
        assert!(connected("az://models", &[]).is_err());
        assert!(connected("gs://models", &[("GOOGLE_SKIP_SIGNATURE", "true")]).is_ok());
    }

    #[test]
    fn errors_contain_no_values_of_settings() {
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "account");
        let wrong = [
            ("az://models", vec![account, ("AZURE_STORAGE_ACCOUNT_KEY", "hunter2, not base64")]),
            ("gs://models", vec![("GOOGLE_SERVICE_ACCOUNT_KEY", "hunter2")]),
            ("s3://models", vec![("AWS_SKIP_SIGNATURE", "hunter2")]),
        ];
        for (uri, settings) in wrong {
            let error = connected(uri, &settings).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
