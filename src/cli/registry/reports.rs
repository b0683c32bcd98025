//! A directory of reports: one page of all models, and one of each with findings.

use crate::cli::{Failure, output};
use anyhow::anyhow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tensorseal_base::severity::Severity;
use tensorseal_core::record::ModelRecord;
use tensorseal_registry::scan::CheckedModel;
use tensorseal_report::registry::{Overview, html as page, model_uid};
use tensorseal_report::{Report, html, json};

/// Where the reports of models are, in the directory.
const MODELS: &str = "models";

/// Maximum number of characters of a model name in its file name.
const MAX_NAME: usize = 80;

/// See the module.
pub(super) struct Reports {
    directory: PathBuf,
}

impl Reports {
    /// Writes reports into this directory, which is created if it does not exist.
    pub(super) fn new(directory: &Path) -> Result<Reports, Failure> {
        let models = directory.join(MODELS);
        fs::create_dir_all(&models)
            .map_err(|e| anyhow!("cannot create {}: {}", models.display(), output::reason(&e)))
            .map_err(Failure::incomplete)?;
        Ok(Reports { directory: directory.to_owned() })
    }

    /// Writes or removes the report of a model, so that the report of an earlier scan is not taken for a current one.
    pub(super) fn write(&self, model: &CheckedModel<'_>) -> anyhow::Result<()> {
        let base = self.directory.join(file_of(model.source, &model.listed.name));
        let [page, document] = ["html", "json"].map(|ending| {
            let mut path = base.clone().into_os_string();
            path.push(".");
            path.push(ending);
            PathBuf::from(path)
        });
        if model.findings.is_empty() {
            for path in [page, document] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        let reason = output::reason(&error);
                        return Err(anyhow!("cannot remove {}: {reason}", path.display()));
                    }
                    _ => {}
                }
            }
            return Ok(());
        }
        // The report of content that was judged before was written then.
        if model.deep.content_findings.is_none() && page.exists() {
            return Ok(());
        }
        let report = report(model);
        output::write_file(&page, &|out| html::write(&report, out))?;
        output::write_file(&document, &|out| json::write(&report, out))
    }

    /// The page of all models.
    pub(super) fn index(&self, overview: &Overview<'_>) -> anyhow::Result<()> {
        let path = self.directory.join("index.html");
        let report = |model: &ModelRecord| {
            let file = format!("{}.html", file_of(&model.source, &model.name));
            let there = !model.findings.is_empty() && self.directory.join(&file).exists();
            there.then_some(file)
        };
        output::write_file(&path, &|out| page::write(overview, Some(&report), out))
    }
}

fn report(model: &CheckedModel<'_>) -> Report {
    let mut report = Report::new("registry scan", &model.listed.name);
    report.fill(&model.deep.checkpoint, &model.deep.seal.model, &model.deep.run);
    report.model.path = format!("{}: {}", model.source, model.listed.name);
    report.findings = model.judged.to_vec();
    report.judge(Severity::Medium);
    report
}

/// The path of the report of a model, without its extension: its name, reduced to safe characters, and a digest that
/// makes it unique.
fn file_of(source: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let shown: String = name.chars().map(plain).take(MAX_NAME).collect();
    let uid: String = model_uid(source, name).chars().take(12).collect();
    format!("{MODELS}/{shown}-{uid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_their_directory_and_do_not_meet() {
        let names = ["../../etc/passwd", "org/model", "org_model", "", "a".repeat(300).as_str()]
            .map(|name| file_of("s", name));
        for name in &names {
            let rest = name.strip_prefix("models/").unwrap();
            assert!(!rest.contains(['/', '.']) && rest.len() < 120, "{name}");
        }
        assert_ne!(names[1], names[2]);
    }
}
