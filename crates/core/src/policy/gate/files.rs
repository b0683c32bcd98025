//! `[files]`, and what of the weights nobody could look into: every file of a model is accounted for.

use super::{Evidence, FileEvidence, JudgementBuilder, RuleStatus, count, listed, pins};
use crate::judge::{Finding, Severity};
use crate::policy::{Pattern, Policy, UnknownFiles, formats};
use std::collections::BTreeMap;
use tensorseal_format::FileRole;

/// Files that get a finding each; the rest is counted.
const NAMED: usize = 50;

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    if policy.unknown != UnknownFiles::List {
        unknown(policy, evidence, gate);
    }
    if policy.wants_weights() {
        weights(policy, evidence, gate);
    }
}

/// Files that nobody here knows what they are, and programs.
fn unknown(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "files.unknown";
    let looked = evidence.files.as_result().and_then(|files| {
        let pinned = match policy.unknown {
            UnknownFiles::Pinned => pins::pinned(policy, evidence)?,
            UnknownFiles::Fail | UnknownFiles::List => BTreeMap::new(),
        };
        Ok((files, pinned))
    });
    let (files, pinned) = match looked {
        Ok(looked) => looked,
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
    let open: Vec<&FileEvidence> =
        judged.iter().filter(|file| !pinned.contains_key(file.path.as_str())).copied().collect();
    for file in open.iter().take(NAMED) {
        gate.violation(RULE, not_understood(file, policy.unknown));
    }
    let exempted = match exempt.is_empty() {
        true => String::new(),
        false => format!("; exempt by coverage.allow: {}", paths(&exempt)),
    };
    let outcome = match open.is_empty() {
        true if judged.is_empty() => {
            gate.pass(RULE, format!("every file is known for what it is{exempted}"))
        }
        true => gate.pass(
            RULE,
            format!("{} not understood, pinned: {}{exempted}", count_of(&judged), paths(&judged)),
        ),
        false => gate.rule(
            RULE,
            RuleStatus::Fail,
            format!("{} not understood: {}{exempted}", count_of(&open), paths(&open)),
        ),
    };
    outcome.numbers.insert("files", judged.len().into());
    outcome.numbers.insert("exempt", exempt.len().into());
}

fn not_understood(file: &FileEvidence, unknown: UnknownFiles) -> Finding {
    let class = file.content.class.name();
    let (id, what) = match file.content.role {
        FileRole::Executable => ("policy/executable", format!("a machine runs it ({class})")),
        _ => ("policy/file-not-understood", format!("nobody here knows what it is ({class})")),
    };
    let message = match unknown {
        UnknownFiles::Pinned => format!("{what}, and nobody who is trusted vouches for it"),
        UnknownFiles::Fail | UnknownFiles::List => what,
    };
    Finding::new(id, message).in_file(&file.path).with("bytes", file.bytes).with("class", class)
}

/// Weights that no audit here can look into. Where none can be read at all there is [nothing] to judge.
fn weights(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "coverage.allow";
    let of = || Some("weights".to_owned());
    let files = match evidence.files.as_result() {
        Ok(files) => files,
        Err(why) => {
            gate.not_checked(RULE, why).of = of();
            return;
        }
    };
    if !files.iter().any(|file| file.readable) {
        return;
    }
    let unread = files.iter().filter(|file| file.unread);
    let (exempt, open): (Vec<&FileEvidence>, Vec<&FileEvidence>) =
        unread.partition(|file| is_exempt(&policy.unmeasured, &file.path));
    if exempt.is_empty() && open.is_empty() {
        return;
    }
    for file in open.iter().filter(|file| !is_damage_reported(evidence, file)).take(NAMED) {
        let format = formats::name_of(file.content.class);
        let message =
            format!("its weights were not audited: {format} is not looked into, or not all of it");
        let finding = Finding::new("policy/weights-not-audited", message).in_file(&file.path);
        gate.violation(RULE, finding.with("bytes", file.bytes));
    }
    let said = |files: &[&FileEvidence]| {
        let of = |file: &&FileEvidence| format!("{} ({})", file.path, count(file.bytes, "byte"));
        let named: Vec<String> = files.iter().map(of).collect();
        format!(
            "{} of weights not audited: {}",
            count(bytes(files), "byte"),
            listed(named.iter().map(String::as_str))
        )
    };
    let outcome = match open.is_empty() {
        true => gate.pass(RULE, format!("{}; exempt by coverage.allow", said(&exempt))),
        false => gate.rule(RULE, RuleStatus::Fail, said(&open)),
    };
    outcome.of = of();
    outcome.numbers.insert("bytes", bytes(&open).into());
    outcome.numbers.insert("exempt_bytes", bytes(&exempt).into());
}

/// Whether a finding says already that the structure of a file is damaged.
fn is_damage_reported(evidence: &Evidence, file: &FileEvidence) -> bool {
    evidence.findings.iter().any(|finding| {
        finding.rule.starts_with("format/")
            && finding.severity > Severity::Low
            && finding.file.as_deref() == Some(file.path.as_str())
    })
}

/// Why there is nothing that a policy could judge: no file at all or, where it asks for something of the weights,
/// none that can be read. What is there instead is named.
pub(super) fn nothing(policy: &Policy, evidence: &Evidence) -> Option<String> {
    let files = evidence.files.as_result().ok()?;
    if files.is_empty() {
        return Some("there is no file: nothing to judge".to_owned());
    }
    if !policy.wants_weights() || files.iter().any(|file| file.readable) {
        return None;
    }
    let mut by_format: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.unread) {
        by_format.entry(formats::name_of(file.content.class)).or_default().push(&file.path);
    }
    let there: Vec<String> = match by_format.is_empty() {
        true => vec![listed(files.iter().map(|file| file.path.as_str()))],
        false => by_format
            .into_iter()
            .map(|(format, files)| format!("{format} ({})", listed(files)))
            .collect(),
    };
    Some(format!(
        "no tensor that can be read: nothing to judge; what is there: {}",
        there.join(", ")
    ))
}

/// Whether the policy asks nothing of a path.
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
