//! Judges `[files]`, and weights that cannot be read: every file of a model is accounted for.

use super::{Evidence, FileEvidence, JudgementBuilder, RuleStatus, count, listed, pins};
use crate::judge::{Finding, Severity};
use crate::policy::{Pattern, Policy, UnknownFiles, formats};
use std::collections::BTreeMap;
use tensorseal_base::units;
use tensorseal_format::FileRole;

/// The maximum number of files with a finding of their own.
const MAX_FINDINGS: usize = 50;

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    if policy.unknown != UnknownFiles::List {
        unknown(policy, evidence, gate);
    }
    if policy.wants_weights() {
        weights(policy, evidence, gate);
    }
}

/// Judges unrecognised files and programs.
fn unknown(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "files.unknown";
    let observed = evidence.files.as_result().and_then(|files| {
        let pinned = match policy.unknown {
            UnknownFiles::Pinned => pins::pinned(policy, evidence)?,
            UnknownFiles::Fail | UnknownFiles::List => BTreeMap::new(),
        };
        Ok((files, pinned))
    });
    let (files, pinned) = match observed {
        Ok(observed) => observed,
        Err(why) => {
            gate.not_checked(RULE, why);
            return;
        }
    };
    let concerned = files
        .iter()
        .filter(|file| matches!(file.content.role, FileRole::Unknown | FileRole::Executable));
    let (exempt, judged): (Vec<&FileEvidence>, Vec<&FileEvidence>) =
        concerned.partition(|file| is_exempt(&policy.unmeasured, &file.path));
    let violations: Vec<&FileEvidence> =
        judged.iter().filter(|file| !pinned.contains_key(file.path.as_str())).copied().collect();
    for file in violations.iter().take(MAX_FINDINGS) {
        gate.violation(RULE, unrecognised(file, policy.unknown));
    }
    let exempted = match exempt.is_empty() {
        true => String::new(),
        false => format!("; exempt by coverage.allow: {}", paths(&exempt)),
    };
    let outcome = match violations.is_empty() {
        true if judged.is_empty() => gate.pass(RULE, format!("every file is recognised{exempted}")),
        true => gate.pass(
            RULE,
            format!("{} unrecognised, but pinned: {}{exempted}", count_of(&judged), paths(&judged)),
        ),
        false => gate.rule(
            RULE,
            RuleStatus::Fail,
            format!("{} unrecognised: {}{exempted}", count_of(&violations), paths(&violations)),
        ),
    };
    outcome.numbers.insert("files", judged.len().into());
    outcome.numbers.insert("exempt", exempt.len().into());
}

fn unrecognised(file: &FileEvidence, unknown: UnknownFiles) -> Finding {
    let class = file.content.class.name();
    let (id, what) = match file.content.role {
        FileRole::Executable => ("policy/executable", format!("executable file ({class})")),
        _ => ("policy/file-not-understood", format!("unrecognised file ({class})")),
    };
    let message = match unknown {
        UnknownFiles::Pinned => format!("{what}, and no trusted party vouches for it"),
        UnknownFiles::Fail | UnknownFiles::List => what,
    };
    Finding::new(id, message).in_file(&file.path).with("bytes", file.bytes).with("class", class)
}

/// Judges weights that cannot be audited. If no weights can be read at all, there is [nothing] to judge.
fn weights(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "coverage.allow";
    let object = || Some("weights".to_owned());
    let files = match evidence.files.as_result() {
        Ok(files) => files,
        Err(why) => {
            gate.not_checked(RULE, why).of = object();
            return;
        }
    };
    if !files.iter().any(|file| file.readable) {
        return;
    }
    let unreadable = files.iter().filter(|file| file.unreadable);
    let (exempt, violations): (Vec<&FileEvidence>, Vec<&FileEvidence>) =
        unreadable.partition(|file| is_exempt(&policy.unmeasured, &file.path));
    if exempt.is_empty() && violations.is_empty() {
        return;
    }
    for file in
        violations.iter().filter(|file| !is_damage_reported(evidence, file)).take(MAX_FINDINGS)
    {
        let format = formats::name_of(file.content.class);
        let message =
            format!("weights were not audited: {format} is not supported, or not completely");
        let finding = Finding::new("policy/weights-not-audited", message).in_file(&file.path);
        gate.violation(RULE, finding.with("bytes", file.bytes));
    }
    let summary = |files: &[&FileEvidence]| {
        let described =
            |file: &&FileEvidence| format!("{} ({})", file.path, units::bytes(file.bytes));
        let named: Vec<String> = files.iter().map(described).collect();
        format!(
            "{} of weights not audited: {}",
            units::bytes(bytes(files)),
            listed(named.iter().map(String::as_str))
        )
    };
    let outcome = match violations.is_empty() {
        true => gate.pass(RULE, format!("{}; exempt by coverage.allow", summary(&exempt))),
        false => gate.rule(RULE, RuleStatus::Fail, summary(&violations)),
    };
    outcome.of = object();
    outcome.numbers.insert("bytes", bytes(&violations).into());
    outcome.numbers.insert("exempt_bytes", bytes(&exempt).into());
}

/// Returns whether a finding of the evidence reports that the structure of a file is damaged.
fn is_damage_reported(evidence: &Evidence, file: &FileEvidence) -> bool {
    evidence.findings.iter().any(|finding| {
        finding.rule.starts_with("format/")
            && finding.severity > Severity::Low
            && finding.file.as_deref() == Some(file.path.as_str())
    })
}

/// Returns why there is nothing to judge, if that is so: the model has no files, or the policy has requirements for
/// weights and none can be read. The reason names what was found instead.
pub(super) fn nothing(policy: &Policy, evidence: &Evidence) -> Option<String> {
    let files = evidence.files.as_result().ok()?;
    if files.is_empty() {
        return Some("the model has no files".to_owned());
    }
    if !policy.wants_weights() || files.iter().any(|file| file.readable) {
        return None;
    }
    let mut by_format: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.unreadable) {
        by_format.entry(formats::name_of(file.content.class)).or_default().push(&file.path);
    }
    let found: Vec<String> = match by_format.is_empty() {
        true => vec![listed(files.iter().map(|file| file.path.as_str()))],
        false => by_format
            .into_iter()
            .map(|(format, files)| format!("{format} ({})", listed(files)))
            .collect(),
    };
    Some(format!("no readable weights found, only {}", found.join(", ")))
}

/// Returns whether `[coverage] allow` exempts a path.
pub(super) fn is_exempt(allowed: &[Pattern], path: &str) -> bool {
    allowed.iter().any(|pattern| pattern.matches(path))
}

fn paths(files: &[&FileEvidence]) -> String {
    listed(files.iter().map(|file| file.path.as_str()))
}

fn count_of(files: &[&FileEvidence]) -> String {
    count(files.len() as u64, "file")
}

fn bytes(files: &[&FileEvidence]) -> u64 {
    files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
}
