//! `[coverage]`, `[formats]`, `[dtypes]` and `[audit]`: what the model is made of, and how much of it was
//! looked at.

use super::files::is_exempt;
use super::{Evidence, FileEvidence, JudgementBuilder, RuleStatus, count, listed};
use crate::judge::Finding;
use crate::policy::{Pattern, Policy, formats};
use std::collections::BTreeMap;
use tensorseal_format::{FileRole, SkipReason, SkippedPath};

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    coverage(&policy.unmeasured, evidence, gate);
    if let Some(allowed) = &policy.formats {
        let of =
            KindRule { rule: "formats.allowed", id: "policy/format-not-allowed", noun: "file" };
        let found = evidence.files.as_result().map(|files| by_format(files, &policy.unmeasured));
        of.judge(found, allowed, gate);
    }
    if let Some(allowed) = &policy.dtypes {
        let allowed: Vec<&str> = allowed.iter().map(|dtype| dtype.name()).collect();
        let of =
            KindRule { rule: "dtypes.allowed", id: "policy/dtype-not-allowed", noun: "tensor" };
        let found = evidence.dtypes.as_result().map(|dtypes| {
            let kind = |(name, count): (&String, &u64)| (name.clone(), (*count, Vec::new()));
            (dtypes.iter().map(kind).collect(), Vec::new())
        });
        of.judge(found, &allowed, gate);
    }
    if policy.audit {
        match evidence.audit.as_result() {
            Err(why) => _ = gate.not_checked("audit.required", why),
            Ok(tensors) => {
                let outcome =
                    gate.pass("audit.required", format!("{} audited", count(*tensors, "tensor")));
                outcome.numbers.insert("tensors", (*tensors).into());
            }
        }
    }
}

/// Every byte was measured, and what lies beside the model is known.
fn coverage(allowed: &[Pattern], evidence: &Evidence, gate: &mut JudgementBuilder) {
    const RULE: &str = "coverage.allow";
    let measured = match evidence.coverage.as_result() {
        Err(why) => {
            gate.not_checked(RULE, why);
            return;
        }
        Ok(measured) => measured,
    };
    let missing = measured.bytes_total.saturating_sub(measured.bytes_checked);
    if missing > 0 {
        let why = format!("{missing} of {} were not measured", count(measured.bytes_total, "byte"));
        gate.not_checked(RULE, &why).numbers.insert("bytes", missing.into());
    }
    let unknown = |left: &&SkippedPath| is_unmeasured(left.kind) && !is_exempt(allowed, &left.path);
    let unknown: Vec<&SkippedPath> = measured.left_out.iter().filter(unknown).collect();
    for left in &unknown {
        let message = format!("it was not measured: {}", left.reason);
        gate.violation(RULE, Finding::new("policy/not-measured", message).in_file(&left.path));
    }
    let outcome = if unknown.is_empty() {
        if missing > 0 {
            return;
        }
        gate.pass(RULE, format!("{}, all measured", count(measured.bytes_total, "byte")))
    } else {
        let names = listed(unknown.iter().map(|left| left.path.as_str()));
        gate.rule(RULE, RuleStatus::Fail, format!("beside the model and not measured: {names}"))
    };
    outcome.numbers.insert("left_out", measured.left_out.len().into());
    outcome.numbers.insert("bytes", measured.bytes_total.into());
}

/// Whether what was left out for this reason was measured by nobody: not the documents that this run read,
/// what was measured under another path, and what a signature leaves out.
fn is_unmeasured(kind: SkipReason) -> bool {
    match kind {
        SkipReason::Signature | SkipReason::Git | SkipReason::Downloader | SkipReason::Problem => {
            true
        }
        SkipReason::Excluded
        | SkipReason::Seal
        | SkipReason::AlreadyListed
        | SkipReason::DirectoryLink
        | SkipReason::NotInModelRoot
        | SkipReason::Ignored
        | SkipReason::Unsigned => false,
    }
}

/// Files of weights by their formats; one that two kinds of readers take for theirs is of both. Also those that the
/// policy exempts by their paths.
fn by_format<'e>(files: &'e [FileEvidence], allowed: &[Pattern]) -> (KindCounts<'e>, Vec<&'e str>) {
    let (mut found, mut exempt): (KindCounts<'e>, Vec<&str>) = Default::default();
    for file in files {
        let content = file.content;
        let also = content.also.filter(|also| also.role() == FileRole::Weights);
        let own = Some(content.class).filter(|_| content.role == FileRole::Weights);
        let mut classes = own.into_iter().chain(also).peekable();
        if classes.peek().is_some() && is_exempt(allowed, &file.path) {
            exempt.push(&file.path);
            continue;
        }
        for class in classes {
            let (count, paths) = found.entry(formats::name_of(class).to_owned()).or_default();
            *count += 1;
            paths.push(&file.path);
        }
    }
    (found, exempt)
}

/// By kind, how many things are of it, and what they are called.
type KindCounts<'e> = BTreeMap<String, (u64, Vec<&'e str>)>;

/// Kinds of things of which only some are allowed.
struct KindRule {
    rule: &'static str,
    id: &'static str,
    noun: &'static str,
}

impl KindRule {
    fn judge(
        &self,
        found: Result<(KindCounts<'_>, Vec<&str>), &str>,
        allowed: &[&str],
        gate: &mut JudgementBuilder,
    ) {
        let (found, exempt) = match found {
            Err(why) => {
                gate.not_checked(self.rule, why);
                return;
            }
            Ok(found) => found,
        };
        let count = |number: u64| count(number, self.noun);
        let of = |(name, (number, _)): &(&String, &(u64, Vec<&str>))| {
            format!("{} of {name}", count(*number))
        };
        let is_other = |(name, _): &(&String, &(u64, Vec<&str>))| !allowed.contains(&name.as_str());
        let other: Vec<_> = found.iter().filter(is_other).collect();
        for &(name, (number, paths)) in &other {
            let which = match paths.is_empty() {
                true => String::new(),
                false => format!(" ({})", listed(paths.iter().copied())),
            };
            let allowed = allowed.join(", ");
            let message = format!("{} of {name}{which}; allowed: {allowed}", count(*number));
            gate.violation(self.rule, Finding::new(self.id, message).with("count", *number));
        }
        let (outcome, kinds): (_, Vec<String>) = match other.is_empty() {
            true => (RuleStatus::Pass, found.iter().map(|kind| of(&kind)).collect()),
            false => (RuleStatus::Fail, other.iter().map(of).collect()),
        };
        let mut evidence = match kinds.is_empty() {
            true => format!("there is no {}", self.noun),
            false => kinds.join(", "),
        };
        if !exempt.is_empty() {
            evidence.push_str(&format!("; exempt by coverage.allow: {}", listed(exempt)));
        }
        let counts: BTreeMap<&String, u64> =
            found.iter().map(|(name, (number, _))| (name, *number)).collect();
        let outcome = gate.rule(self.rule, outcome, evidence);
        outcome.numbers.insert("counts", serde_json::json!(counts));
    }
}
