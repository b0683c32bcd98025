//! Reads the files of the AWS tools: `~/.aws/credentials` and `~/.aws/config`.
//!
//! They give the long-lived and temporary keys, region and endpoint of a profile that the environment does not set, as
//! for the tools. Profiles that start programs, use single sign-on or assume roles are not supported: use `aws configure
//! export-credentials --format env` to write their credentials for the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tensorseal_base::regular_file;

/// The longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// The supported names in the files and in the environment.
const SUPPORTED: [(&str, &str); 5] = [
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("aws_session_token", "AWS_SESSION_TOKEN"),
    ("region", "AWS_REGION"),
    ("endpoint_url", "AWS_ENDPOINT_URL"),
];

/// The entries of profiles whose credentials come from an unsupported place.
const UNSUPPORTED: [&str; 5] =
    ["credential_process", "sso_session", "sso_start_url", "source_profile", "login_session"];

/// Adds the entries of the selected profile to settings that lack them.
///
/// # Errors
/// Returns a message without values if the selected profile does not exist, or if its credentials come from an
/// unsupported place.
pub(super) fn add(settings: &mut BTreeMap<String, String>) -> Result<(), String> {
    let named =
        settings.get("AWS_PROFILE").or_else(|| settings.get("AWS_DEFAULT_PROFILE")).cloned();
    let profile = named.clone().unwrap_or_else(|| "default".to_owned());
    let mut found = BTreeMap::new();
    let mut exists = false;
    // The first file that has an entry wins.
    for (file, section) in [
        (place(settings, "AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile.clone()),
        (place(settings, "AWS_CONFIG_FILE", "config"), section_of_config(&profile)),
    ] {
        let Some(text) = file.and_then(|file| read(&file)) else { continue };
        if let Some(entries) = section_entries(&text, &section) {
            exists = true;
            for (key, value) in entries {
                found.entry(key).or_insert(value);
            }
        }
    }
    if named.is_some() && !exists {
        return Err(
            "the profile in AWS_PROFILE is in neither ~/.aws/credentials nor ~/.aws/config".into(),
        );
    }
    // Keys of the environment take precedence over those of a file, and are not mixed with them.
    let has_keys = settings.contains_key("AWS_ACCESS_KEY_ID")
        || settings.contains_key("AWS_WEB_IDENTITY_TOKEN_FILE")
        || settings.get("AWS_SKIP_SIGNATURE").is_some_and(|value| value == "true");
    let unsupported = UNSUPPORTED.into_iter().find(|key| found.contains_key(*key));
    if let (Some(key), false, false) =
        (unsupported, has_keys, found.contains_key("aws_access_key_id"))
    {
        return Err(format!(
            "the profile has {key}, which is not supported: set the output of `aws configure \
             export-credentials --format env` in the environment"
        ));
    }
    for (key, name) in SUPPORTED {
        let is_region_set = name == "AWS_REGION" && settings.contains_key("AWS_DEFAULT_REGION");
        if is_region_set || has_keys && key.starts_with("aws_") {
            continue;
        }
        if let Some(value) = found.remove(key).filter(|value| !value.is_empty()) {
            settings.entry(name.to_owned()).or_insert(value);
        }
    }
    Ok(())
}

fn section_of_config(profile: &str) -> String {
    if profile == "default" { profile.to_owned() } else { format!("profile {profile}") }
}

fn place(settings: &BTreeMap<String, String>, name: &str, file: &str) -> Option<PathBuf> {
    let home = || settings.get("HOME").map(|home| Path::new(home).join(".aws").join(file));
    settings.get(name).map(PathBuf::from).or_else(home)
}

fn read(path: &Path) -> Option<String> {
    let bytes = regular_file::read_at_most(path, MAX_LEN).ok()?;
    Some(std::str::from_utf8(&bytes).ok()?.to_owned())
}

/// Returns the entries of one section by key; `None` if there is no such section. Indented lines belong to the previous
/// entry and are ignored.
fn section_entries(text: &str, section: &str) -> Option<BTreeMap<String, String>> {
    let mut entries: Option<BTreeMap<String, String>> = None;
    let mut inside = false;
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t', '#', ';'])) {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let words: Vec<&str> = name.split_whitespace().collect();
            inside = words.join(" ") == section;
            if inside {
                entries.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let key = key.trim().to_ascii_lowercase();
            entries.get_or_insert_default().insert(key, value.trim().to_owned());
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use tempfile::TempDir;

    const CREDENTIALS: &str = "# keys\n[default]\naws_access_key_id = one\n\
        aws_secret_access_key=two\n\n[other]\naws_access_key_id = three\naws_secret_access_key = four\n\
        aws_session_token = five=\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\ns3 =\n  region = no\n\n\
        [profile  other]\nendpoint_url = https://store\n[profile sso]\nsso_start_url = https://hunter2\n";

    fn settings_of(given: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
        let home = TempDir::new().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        fs::write(home.path().join(".aws/credentials"), CREDENTIALS).unwrap();
        fs::write(home.path().join(".aws/config"), CONFIG).unwrap();
        let mut settings =
            BTreeMap::from([("HOME".to_owned(), home.path().to_str().unwrap().to_owned())]);
        settings.extend(given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        add(&mut settings)?;
        settings.remove("HOME");
        Ok(settings)
    }

    #[test]
    fn profiles_are_read_as_the_tools_do() {
        let get =
            |given: &[(&str, &str)], name: &str| settings_of(given).unwrap().get(name).cloned();
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(get(&[], "AWS_ACCESS_KEY_ID"), some("one"));
        assert_eq!(get(&[], "AWS_SECRET_ACCESS_KEY"), some("two"));
        assert_eq!(get(&[], "AWS_REGION"), some("eu-central-1"));
        assert_eq!(get(&[("AWS_DEFAULT_REGION", "x")], "AWS_REGION"), None);
        let other = ("AWS_PROFILE", "other");
        assert_eq!(get(&[other], "AWS_SESSION_TOKEN"), some("five="));
        assert_eq!(get(&[other], "AWS_ENDPOINT_URL"), some("https://store"));
        // Keys of the environment are not mixed with a token of the file.
        let key = ("AWS_ACCESS_KEY_ID", "own");
        assert_eq!(get(&[other, key], "AWS_SESSION_TOKEN"), None);
    }

    #[test]
    fn unsupported_profiles_are_refused() {
        let error = settings_of(&[("AWS_PROFILE", "sso")]).unwrap_err();
        assert!(error.contains("sso_start_url") && !error.contains("hunter2"), "{error}");
        assert!(settings_of(&[("AWS_PROFILE", "sso"), ("AWS_ACCESS_KEY_ID", "own")]).is_ok());
        assert!(settings_of(&[("AWS_PROFILE", "none")]).is_err());
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "[\\[\\]a-z= #\n\t]{0,200}") {
            section_entries(&text, "default");
        }
    }
}
