//! Judges `[severity]` and `[[allow]]`: which findings are allowed.

use super::{
    Evidence, ExceptionUse, JudgementBuilder, RuleStatus, SealState, SignatureState, code, count,
};
use crate::judge::finding::Disposition;
use crate::judge::{Finding, Severity};
use crate::policy::{Area, Exception, Limit, Policy};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Returns the limit of the area that a rule belongs to.
pub(super) fn limit_of(policy: &Policy, rule: &str) -> Limit {
    let area = Area::from_rule(rule);
    let set = policy.severity.iter().find(|(limited, _)| Some(*limited) == area);
    set.map_or(Limit::DEFAULT, |(_, limit)| *limit)
}

/// Gives every finding of the evidence its disposition, and every area its outcome.
pub(super) fn judge(
    policy: &Policy,
    evidence: &Evidence,
    gate: &mut JudgementBuilder,
) -> Vec<ExceptionUse> {
    let today = evidence.now.to_zoned(TimeZone::UTC).date();
    let mut used: Vec<ExceptionTally> =
        policy.exceptions.iter().map(|exception| unused(exception, today)).collect();
    let mut areas: BTreeMap<Option<Area>, AreaTally> = BTreeMap::new();
    for finding in &evidence.findings {
        let disposition = disposition(policy, evidence, finding, &mut used);
        areas.entry(Area::from_rule(finding.rule)).or_default().add(finding, &disposition);
        gate.findings.push(Finding { standing: Some(disposition), ..finding.clone() });
    }
    for area in Area::ALL {
        limit(policy, evidence, area, areas.get(&Some(area)), gate);
    }
    // Findings in an area that this version does not know.
    if let Some(AreaTally { violations: violations @ 1.., .. }) = areas.get(&None) {
        gate.rule(
            "severity",
            RuleStatus::Fail,
            format!("{} in other areas", count(*violations, "finding")),
        );
    }
    for exception in &used {
        report_exception(exception, gate);
    }
    used.into_iter().map(|used| used.shown).collect()
}

/// How an exception was used.
struct ExceptionTally {
    shown: ExceptionUse,
    /// The number of findings that the exception matches, but must not allow.
    refused: u64,
}

/// Decides about one finding.
fn disposition(
    policy: &Policy,
    evidence: &Evidence,
    finding: &Finding,
    used: &mut [ExceptionTally],
) -> Disposition {
    if let Some(rule) = beyond_limits(policy, evidence, finding) {
        return Disposition::Violates { rule };
    }
    let rule = Area::from_rule(finding.rule).map_or("severity", key);
    if limit_of(policy, finding.rule).lets_through(finding.severity) {
        return Disposition::Within { rule };
    }
    for (exception, used) in policy.exceptions.iter().zip(used) {
        if used.shown.expired || !matches(exception, finding) {
            continue;
        }
        if !may_allow(exception, finding, evidence) {
            used.refused += 1;
            continue;
        }
        used.shown.allowed += 1;
        let (reason, expires) = (exception.reason.clone(), exception.expires);
        return Disposition::Allowed { reason, expires };
    }
    Disposition::Violates { rule }
}

/// Returns whether an exception may allow a finding. A finding that stands for others covers more than a reviewer has
/// seen. A critical finding needs an exception with the digest of the file, and a digest must match.
fn may_allow(exception: &Exception, finding: &Finding, evidence: &Evidence) -> bool {
    if finding.stands_for_others {
        return false;
    }
    let Some(digest) = &exception.digest else { return finding.severity < Severity::Critical };
    let measured = |path: &String| evidence.digests.as_result().ok()?.get(path);
    finding.file.as_ref().and_then(measured) == Some(digest)
}

/// Returns the rule that a finding violates whatever its severity: the reasons why a signature fails and why a seal
/// cannot be used are never allowed if the policy relies on them.
fn beyond_limits(policy: &Policy, evidence: &Evidence, finding: &Finding) -> Option<&'static str> {
    let worse = finding.severity > Severity::Info;
    match (evidence.signature.as_result(), evidence.seal.as_result()) {
        (Ok(SignatureState::Failed), _)
            if policy.signature.is_active() && finding.rule.starts_with("signature/") && worse =>
        {
            Some("signature.required")
        }
        (_, Ok(SealState::Invalid))
            if policy.seal.required && finding.rule == "integrity/seal-invalid" =>
        {
            Some("seal.required")
        }
        _ if code::is_beyond_limits(policy, evidence, finding) => Some(code::RULE),
        _ => None,
    }
}

/// Returns whether an exception matches a finding: its rule and, if set, its file and tensor.
fn matches(exception: &Exception, finding: &Finding) -> bool {
    let in_place = |pattern: &Option<crate::policy::Pattern>, place: &Option<String>| match pattern
    {
        None => true,
        Some(pattern) => place.as_deref().is_some_and(|place| pattern.matches(place)),
    };
    exception.rule == finding.rule
        && in_place(&exception.file, &finding.file)
        && in_place(&exception.tensor, &finding.tensor)
}

fn unused(exception: &Exception, today: Date) -> ExceptionTally {
    let text = |pattern: &Option<crate::policy::Pattern>| {
        pattern.as_ref().map(|pattern| pattern.as_str().to_owned())
    };
    let shown = ExceptionUse {
        rule: exception.rule,
        file: text(&exception.file),
        tensor: text(&exception.tensor),
        reason: exception.reason.clone(),
        expires: exception.expires,
        expired: today > exception.expires,
        allowed: 0,
    };
    ExceptionTally { shown, refused: 0 }
}

/// Reports an exception that has expired or is unused.
fn report_exception(used: &ExceptionTally, gate: &mut JudgementBuilder) {
    const RULE: &str = "allow.expires";
    let ExceptionTally { shown: exception, refused } = used;
    let ExceptionUse { rule, reason, expires, .. } = exception;
    if exception.expired {
        let message = format!("the exception for {rule} expired on {expires} ({reason})");
        gate.fail(RULE, Finding::new("policy/exception-expired", message)).of =
            Some((*rule).to_owned());
    } else if exception.allowed == 0 {
        let why = match refused {
            0 => String::new(),
            refused => format!(
                "; {} cannot be allowed by it: the content differs from its digest, or the finding is critical or stands for others",
                count(*refused, "finding")
            ),
        };
        let message = format!("the exception for {rule} is unused ({reason}){why}");
        let mut finding = Finding::new("policy/exception-unused", message);
        finding.standing = Some(Disposition::Within { rule: RULE });
        gate.findings.push(finding);
    }
}

/// The findings in an area.
#[derive(Debug, Default)]
struct AreaTally {
    found: u64,
    allowed: u64,
    violations: u64,
    worst: Option<(Severity, &'static str)>,
}

impl AreaTally {
    fn add(&mut self, finding: &Finding, disposition: &Disposition) {
        self.found += 1;
        match disposition {
            Disposition::Violates { .. } => {
                self.violations += 1;
                self.worst = self.worst.max(Some((finding.severity, finding.rule)));
            }
            Disposition::Allowed { .. } => self.allowed += 1,
            Disposition::Within { .. } => {}
        }
    }
}

/// Adds the outcome of an area if its limit is set, if the area was checked, or if it has findings.
fn limit(
    policy: &Policy,
    evidence: &Evidence,
    area: Area,
    tally: Option<&AreaTally>,
    gate: &mut JudgementBuilder,
) {
    let (rule, limit) = (key(area), limit_of(policy, &format!("{}/", area.name())));
    let set = policy.severity.iter().any(|(limited, _)| *limited == area);
    let none = AreaTally::default();
    let (checked, tally) = (was_checked(evidence, area), tally.unwrap_or(&none));
    let limit = limit.name();
    let outcome = match (checked, &tally.worst) {
        (_, Some((severity, worst))) => {
            let message = format!(
                "{} above {limit}, the worst is {} ({worst})",
                count(tally.violations, "finding"),
                severity.name()
            );
            gate.rule(rule, RuleStatus::Fail, message)
        }
        (Err(why), None) if set => gate.not_checked(rule, &why),
        (Err(_), None) if tally.found == 0 => return,
        (_, None) if tally.allowed > 0 => {
            let message =
                format!("nothing above {limit} except {} allowed", count(tally.allowed, "finding"));
            gate.rule(rule, RuleStatus::Allowed, message)
        }
        (_, None) => gate.pass(rule, format!("nothing above {limit}")),
    };
    for (name, number) in
        [("found", tally.found), ("allowed", tally.allowed), ("violations", tally.violations)]
    {
        outcome.numbers.insert(name, number.into());
    }
}

/// Returns whether an area was checked, or else why not.
fn was_checked(evidence: &Evidence, area: Area) -> Result<(), String> {
    let reason = |why: &str| why.to_owned();
    match area {
        Area::Format => evidence.files.as_result().map(|_| ()).map_err(reason),
        Area::Content => evidence.code.as_result().map(|_| ()).map_err(reason),
        Area::Claims => {
            Err("this version does not compare files with published digests".to_owned())
        }
        Area::Weights | Area::Payload => evidence.audit.as_result().map(|_| ()).map_err(reason),
        Area::Lineage => evidence.lineage.as_result().map(|_| ()).map_err(reason),
        Area::Integrity => match evidence.seal.as_result().map_err(reason)? {
            SealState::Compared { .. } => Ok(()),
            _ => Err("there is no seal to compare with".to_owned()),
        },
        // `signature.required` reports a missing signature.
        Area::Signature => evidence.signature.as_result().map(|_| ()).map_err(reason),
        Area::Watermark => match evidence.watermarks.iter().find_map(|mark| mark.as_result().err())
        {
            Some(why) => Err(why.to_owned()),
            None if evidence.watermarks.is_empty() => Err("no mark was searched for".to_owned()),
            None => Ok(()),
        },
    }
}

/// Returns the key of the limit of an area.
fn key(area: Area) -> &'static str {
    match area {
        Area::Format => "severity.format",
        Area::Integrity => "severity.integrity",
        Area::Signature => "severity.signature",
        Area::Weights => "severity.weights",
        Area::Payload => "severity.payload",
        Area::Watermark => "severity.watermark",
        Area::Lineage => "severity.lineage",
        Area::Content => "severity.content",
        Area::Claims => "severity.claims",
    }
}
