//! `[coverage]`, `[formats]`, `[dtypes]` and `[audit]`: what the model is made of, and how much of it was
//! looked at.

use super::{Evidence, Gate, Looked, Outcome, count, listed};
use crate::checkpoint::{LeftOut, NotCovered};
use crate::judge::Finding;
use crate::policy::{Pattern, Policy};
use std::collections::BTreeMap;

pub(super) fn judge(policy: &Policy, evidence: &Evidence, gate: &mut Gate) {
    coverage(&policy.unmeasured, evidence, gate);
    if let Some(allowed) = &policy.formats {
        let allowed = allowed.iter().map(|format| format.name()).collect();
        let of = Kinds { rule: "formats.allowed", id: "policy/format-not-allowed", noun: "file" };
        of.judge(&evidence.formats, allowed, gate);
    }
    if let Some(allowed) = &policy.dtypes {
        let allowed = allowed.iter().map(|dtype| dtype.name()).collect();
        let of = Kinds { rule: "dtypes.allowed", id: "policy/dtype-not-allowed", noun: "tensor" };
        of.judge(&evidence.dtypes, allowed, gate);
    }
    if policy.audit {
        match evidence.audit.seen() {
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
fn coverage(allowed: &[Pattern], evidence: &Evidence, gate: &mut Gate) {
    const RULE: &str = "coverage.allow";
    let measured = match evidence.coverage.seen() {
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
    let unknown = |left: &&NotCovered| {
        is_unmeasured(left.kind) && !allowed.iter().any(|pattern| pattern.matches(&left.path))
    };
    let unknown: Vec<&NotCovered> = measured.left_out.iter().filter(unknown).collect();
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
        gate.rule(RULE, Outcome::Fail, format!("beside the model and not measured: {names}"))
    };
    outcome.numbers.insert("left_out", measured.left_out.len().into());
    outcome.numbers.insert("bytes", measured.bytes_total.into());
}

/// Whether what was left out for this reason was measured by nobody: not the documents that this run read,
/// what was measured under another path, and what a signature leaves out.
fn is_unmeasured(kind: LeftOut) -> bool {
    match kind {
        LeftOut::Git | LeftOut::Downloader | LeftOut::Problem => true,
        LeftOut::Excluded
        | LeftOut::Seal
        | LeftOut::SeenBefore
        | LeftOut::DirectoryLink
        | LeftOut::BesideRoot
        | LeftOut::Ignored
        | LeftOut::Unsigned => false,
    }
}

/// Kinds of things of which only some are allowed.
struct Kinds {
    rule: &'static str,
    id: &'static str,
    noun: &'static str,
}

impl Kinds {
    fn judge(&self, found: &Looked<BTreeMap<String, u64>>, allowed: Vec<&str>, gate: &mut Gate) {
        let found = match found.seen() {
            Err(why) => {
                gate.not_checked(self.rule, why);
                return;
            }
            Ok(found) => found,
        };
        let count = |number: &u64| count(*number, self.noun);
        let other = found.iter().filter(|(name, _)| !allowed.contains(&name.as_str()));
        let other: Vec<(&String, &u64)> = other.collect();
        for &(name, number) in &other {
            let message = format!("{} of {name}; allowed: {}", count(number), allowed.join(", "));
            gate.violation(self.rule, Finding::new(self.id, message).with("count", *number));
        }
        let all = |kinds: &mut dyn Iterator<Item = (&String, &u64)>| {
            kinds.map(|(name, number)| format!("{} of {name}", count(number))).collect::<Vec<_>>()
        };
        let (outcome, kinds) = match other.is_empty() {
            true => (Outcome::Pass, all(&mut found.iter())),
            false => (Outcome::Fail, all(&mut other.into_iter())),
        };
        let evidence = match kinds.is_empty() {
            true => format!("there is no {}", self.noun),
            false => kinds.join(", "),
        };
        gate.rule(self.rule, outcome, evidence).numbers.insert("counts", serde_json::json!(found));
    }
}
