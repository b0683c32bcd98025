//! `[severity]` and `[[allow]]`: which findings are let through.

use super::{
    Evidence, ExceptionUse, JudgementBuilder, RuleStatus, SealState, SignatureState, code, count,
};
use crate::judge::finding::Disposition;
use crate::judge::{Finding, Severity};
use crate::policy::{Area, Exception, Limit, Policy};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// The worst finding of a rule's area that a policy lets through.
pub(super) fn limit_of(policy: &Policy, rule: &str) -> Limit {
    let area = Area::from_rule(rule);
    let set = policy.severity.iter().find(|(limited, _)| Some(*limited) == area);
    set.map_or(Limit::DEFAULT, |(_, limit)| *limit)
}

/// Gives every finding of the evidence its standing, and every area its outcome.
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
        let standing = disposition(policy, evidence, finding, &mut used);
        areas.entry(Area::from_rule(finding.rule)).or_default().add(finding, &standing);
        gate.findings.push(Finding { standing: Some(standing), ..finding.clone() });
    }
    for area in Area::ALL {
        limit(policy, evidence, area, areas.get(&Some(area)), gate);
    }
    // Of an area that this version does not know.
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

/// An exception, and what became of it.
struct ExceptionTally {
    shown: ExceptionUse,
    /// Findings that it names and must not allow.
    refused: u64,
}

/// What the policy says of one finding.
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

/// Whether whoever wrote an exception has looked at what a finding is of. One that stands for others tells of more
/// than it names; what is critical, and every exception that says so, is about one content of the file.
fn may_allow(exception: &Exception, finding: &Finding, evidence: &Evidence) -> bool {
    if finding.stands_for_others {
        return false;
    }
    let Some(digest) = &exception.digest else { return finding.severity < Severity::Critical };
    let measured = |path: &String| evidence.digests.as_result().ok()?.get(path);
    finding.file.as_ref().and_then(measured) == Some(digest)
}

/// The rule that a finding violates whatever its severity: why a signature fails and why a seal cannot
/// be used is never let through where they are asked for.
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

/// Whether an exception names a finding: its rule, and where it says so its file and its tensor.
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

/// What is to be said of an exception: that it is over, or that nothing needs it.
fn report_exception(used: &ExceptionTally, gate: &mut JudgementBuilder) {
    const RULE: &str = "allow.expires";
    let ExceptionTally { shown: exception, refused } = used;
    let ExceptionUse { rule, reason, expires, .. } = exception;
    if exception.expired {
        let message = format!("the exception for {rule} ended on {expires} ({reason})");
        gate.fail(RULE, Finding::new("policy/exception-expired", message)).of =
            Some((*rule).to_owned());
    } else if exception.allowed == 0 {
        let why = match refused {
            0 => String::new(),
            refused => format!(
                ": {} that it names may not be allowed by it: of other content than its digest, critical, or standing for others",
                count(*refused, "finding")
            ),
        };
        let message = format!("the exception for {rule} allowed nothing ({reason}){why}");
        let mut finding = Finding::new("policy/exception-unused", message);
        finding.standing = Some(Disposition::Within { rule: RULE });
        gate.findings.push(finding);
    }
}

/// What was found in an area.
#[derive(Debug, Default)]
struct AreaTally {
    found: u64,
    allowed: u64,
    violations: u64,
    worst: Option<(Severity, &'static str)>,
}

impl AreaTally {
    fn add(&mut self, finding: &Finding, standing: &Disposition) {
        self.found += 1;
        match standing {
            Disposition::Violates { .. } => {
                self.violations += 1;
                self.worst = self.worst.max(Some((finding.severity, finding.rule)));
            }
            Disposition::Allowed { .. } => self.allowed += 1,
            Disposition::Within { .. } => {}
        }
    }
}

/// The outcome of an area's limit: of one that is set, that was looked at, or in which something was
/// found.
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
    let (looked, tally) = (looked_at(evidence, area), tally.unwrap_or(&none));
    let limit = limit.name();
    let outcome = match (looked, &tally.worst) {
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
                format!("nothing above {limit} but {} allowed", count(tally.allowed, "finding"));
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

/// Whether an area was looked at, and if not, why.
fn looked_at(evidence: &Evidence, area: Area) -> Result<(), String> {
    let reason = |why: &str| why.to_owned();
    match area {
        Area::Format => evidence.files.as_result().map(|_| ()).map_err(reason),
        Area::Content => evidence.code.as_result().map(|_| ()).map_err(reason),
        Area::Claims => Err("this version holds files to no published digests".to_owned()),
        Area::Weights | Area::Payload => evidence.audit.as_result().map(|_| ()).map_err(reason),
        Area::Lineage => evidence.lineage.as_result().map(|_| ()).map_err(reason),
        Area::Integrity => match evidence.seal.as_result().map_err(reason)? {
            SealState::Compared { .. } => Ok(()),
            _ => Err("there is no seal to compare with".to_owned()),
        },
        // That there is none is for `signature.required` to say.
        Area::Signature => evidence.signature.as_result().map(|_| ()).map_err(reason),
        Area::Watermark => match evidence.watermarks.iter().find_map(|mark| mark.as_result().err())
        {
            Some(why) => Err(why.to_owned()),
            None if evidence.watermarks.is_empty() => Err("no mark was looked for".to_owned()),
            None => Ok(()),
        },
    }
}

/// The key of an area's limit.
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
