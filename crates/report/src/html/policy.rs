//! The rules of the policy and their outcomes.

use super::escape;
use crate::Report;
use crate::policy::{PolicyUsed, words};
use std::io::{self, Write};
use tensorseal_core::policy::gate::Outcome;

/// Largest number of exceptions that are listed.
const LISTED: usize = 100;

pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Some(policy) = &report.policy else { return Ok(()) };
    writeln!(
        out,
        "<section aria-labelledby=\"policy\">\n<h2 id=\"policy\">Policy</h2>\n<p class=\"where\">{} · SHA-256 \
         {} · {}</p>\n<div class=\"scroll\" role=\"region\" aria-labelledby=\"policy\" tabindex=\"0\">\n<table class=\"rules\">\n\
         <thead><tr><th scope=\"col\">Outcome</th><th scope=\"col\">Rule</th><th scope=\"col\">Evidence</th></tr>\
         </thead>\n<tbody>",
        escape::name(policy.title()),
        escape::text(&policy.sha256),
        policy.time,
    )?;
    for rule in &policy.rules {
        let (class, sign) = match rule.outcome {
            Outcome::Pass => ("clean", "✔"),
            Outcome::Allowed => ("low", "○"),
            Outcome::NotChecked => ("high", "?"),
            Outcome::Fail => ("critical", "✖"),
        };
        writeln!(
            out,
            "<tr><td><span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {}</span></td>\
             <th scope=\"row\"><code>{}</code></th><td>{}</td></tr>",
            words(rule.outcome),
            escape::name(&rule.title()),
            escape::text(&rule.evidence)
        )?;
    }
    writeln!(out, "</tbody>\n</table>\n</div>")?;
    exceptions(policy, out)?;
    writeln!(out, "</section>")
}

/// Writes the exceptions of the policy with their expiry dates and reasons.
fn exceptions(policy: &PolicyUsed, out: &mut dyn Write) -> io::Result<()> {
    if policy.exceptions.is_empty() {
        return Ok(());
    }
    writeln!(out, "<ul>")?;
    for exception in policy.exceptions.iter().take(LISTED) {
        let places = [&exception.file, &exception.tensor];
        let places: String = places
            .into_iter()
            .flatten()
            .map(|place| format!(" in {}", escape::name(place)))
            .collect();
        writeln!(
            out,
            "<li><code>{}</code>{places}: {} allowed until {}{}. Reason: {}</li>",
            exception.rule,
            exception.allowed,
            exception.expires,
            if exception.expired { " (expired)" } else { "" },
            escape::text(&exception.reason)
        )?;
    }
    writeln!(out, "</ul>")
}
