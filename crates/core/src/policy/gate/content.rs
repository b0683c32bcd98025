//! Judges `[coverage]`, `[formats]`, `[dtypes]` and `[audit]`: the content of the model, and how much of it was
//! measured.

use super::files::is_exempt;
use super::{Evidence, FileEvidence, JudgementBuilder, RuleStatus, count, listed};
use crate::judge::Finding;
use crate::policy::{Pattern, Policy, formats};
use std::collections::BTreeMap;
use tensorseal_base::units;
use tensorseal_format::{FileRole, SkipReason, SkippedPath};

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut JudgementBuilder) {
    coverage(&policy.unmeasured, evidence, gate);
    if let Some(allowed) = &policy.formats {
        let rule =
            KindRule { rule: "formats.allowed", id: "policy/format-not-allowed", noun: "file" };
        let found = evidence.files.as_result().map(|files| by_format(files, &policy.unmeasured));
        rule.judge(found, allowed, gate);
    }
    if let Some(allowed) = &policy.dtypes {
        let allowed: Vec<&str> = allowed.iter().map(|dtype| dtype.name()).collect();
        let rule =
            KindRule { rule: "dtypes.allowed", id: "policy/dtype-not-allowed", noun: "tensor" };
        let found = evidence.dtypes.as_result().map(|dtypes| {
            let kind = |(name, count): (&String, &u64)| (name.clone(), (*count, Vec::new()));
            (dtypes.iter().map(kind).collect(), Vec::new())
        });
        rule.judge(found, &allowed, gate);
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

/// Judges whether every byte was measured, and whether all skipped paths are allowed.
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
        let all = units::bytes(measured.bytes_total);
        let why = format!("{} of {all} were not measured", units::bytes(missing));
        gate.not_checked(RULE, &why).numbers.insert("bytes", missing.into());
    }
    let is_violation =
        |skipped: &&SkippedPath| is_unmeasured(skipped.kind) && !is_exempt(allowed, &skipped.path);
    let violations: Vec<&SkippedPath> = measured.left_out.iter().filter(is_violation).collect();
    for skipped in &violations {
        let message = format!("not measured: {}", skipped.reason);
        gate.violation(RULE, Finding::new("policy/not-measured", message).in_file(&skipped.path));
    }
    let outcome = if violations.is_empty() {
        if missing > 0 {
            return;
        }
        gate.pass(RULE, format!("{}, all measured", units::bytes(measured.bytes_total)))
    } else {
        let names = listed(violations.iter().map(|skipped| skipped.path.as_str()));
        gate.rule(RULE, RuleStatus::Fail, format!("skipped and not measured: {names}"))
    };
    outcome.numbers.insert("left_out", measured.left_out.len().into());
    outcome.numbers.insert("bytes", measured.bytes_total.into());
}

/// Returns whether paths that were skipped for this reason were not measured at all. Documents that this run read,
/// files that were measured under another path, and files that a signature ignores do not count.
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

/// Returns the files of weights by format, and the files that the policy exempts by their path. A file that is valid
/// in two formats counts for both.
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

/// The number and the names of the objects of each kind.
type KindCounts<'e> = BTreeMap<String, (u64, Vec<&'e str>)>;

/// A rule that allows only some kinds of objects.
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
        let count = |number: u64, kind: &str| count(number, &format!("{kind} {}", self.noun));
        let described = |(name, (number, _)): &(&String, &(u64, Vec<&str>))| count(*number, name);
        let is_violation =
            |(name, _): &(&String, &(u64, Vec<&str>))| !allowed.contains(&name.as_str());
        let violations: Vec<_> = found.iter().filter(is_violation).collect();
        for &(name, (number, paths)) in &violations {
            let which = match paths.is_empty() {
                true => String::new(),
                false => format!(" ({})", listed(paths.iter().copied())),
            };
            let allowed = allowed.join(", ");
            let message = format!("{}{which}; allowed: {allowed}", count(*number, name));
            gate.violation(self.rule, Finding::new(self.id, message).with("count", *number));
        }
        let (outcome, kinds): (_, Vec<String>) = match violations.is_empty() {
            true => (RuleStatus::Pass, found.iter().map(|kind| described(&kind)).collect()),
            false => (RuleStatus::Fail, violations.iter().map(described).collect()),
        };
        let mut evidence = match kinds.is_empty() {
            true => format!("no {}s", self.noun),
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
