//! JUnit XML, for the test views of CI systems.
//!
//! The first suite is named after the command and has one case, which says whether the run was completed. Each area
//! with findings is a suite and each finding a case, which fails at or above the failure threshold. With a policy,
//! another suite has a case for each of its rules.

use super::summary;
use super::{Report, policy, safe_text};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::collections::BTreeMap;
use std::io::{self, Write};
use tensorseal_core::judge::rules::find_rule;
use tensorseal_core::judge::{Finding, Verdict};
use tensorseal_core::policy::gate::RuleOutcome;

/// Writes the document.
///
/// # Errors
/// Returns an error if writing to `out` fails.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut areas: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        let area = finding.rule.split('/').next().unwrap_or(finding.rule);
        areas.entry(area).or_default().push(finding);
    }
    let fails = |finding: &&&Finding| report.fails(finding);
    let rules = report.policy.as_ref().map_or(&[][..], |policy| &policy.rules);
    let unmet = rules.iter().filter(|rule| rule.outcome.fails()).count();
    let failures = unmet + report.findings.iter().filter(|f| report.fails(f)).count();
    let errors = usize::from(report.verdict == Verdict::Incomplete);
    let seconds = format!("{:.3}", report.engine.as_ref().map_or(0.0, |engine| engine.seconds));

    let mut xml = Writer::new_with_indent(&mut *out, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut root = BytesStart::new("testsuites");
    root.push_attribute(("name", "tensorseal"));
    let tests = report.findings.len() + rules.len() + 1;
    counts(&mut root, tests, failures, errors, &seconds);
    xml.write_event(Event::Start(root))?;

    let mut suite = BytesStart::new("testsuite");
    suite.push_attribute(("name", report.command));
    counts(&mut suite, 1, 0, errors, &seconds);
    xml.write_event(Event::Start(suite))?;
    properties(report, &mut xml)?;
    completed(report, &seconds, &mut xml)?;
    xml.write_event(Event::End(BytesEnd::new("testsuite")))?;

    if !rules.is_empty() {
        let mut suite = BytesStart::new("testsuite");
        suite.push_attribute(("name", "policy rules"));
        counts(&mut suite, rules.len(), unmet, 0, "0.000");
        xml.write_event(Event::Start(suite))?;
        rules.iter().try_for_each(|rule| rule_case(rule, &mut xml))?;
        xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    }
    for (area, findings) in areas {
        let mut suite = BytesStart::new("testsuite");
        suite.push_attribute(("name", area));
        counts(&mut suite, findings.len(), findings.iter().filter(fails).count(), 0, "0.000");
        xml.write_event(Event::Start(suite))?;
        for finding in findings {
            case(finding, report, &mut xml)?;
        }
        xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    out.write_all(b"\n")
}

fn counts(element: &mut BytesStart, tests: usize, failures: usize, errors: usize, time: &str) {
    for (name, number) in [("tests", tests), ("failures", failures), ("errors", errors)] {
        element.push_attribute((name, number.to_string().as_str()));
    }
    element.push_attribute(("skipped", "0"));
    element.push_attribute(("time", time));
}

type Xml<'a, 'b> = Writer<&'a mut (dyn Write + 'b)>;

fn properties(report: &Report, xml: &mut Xml<'_, '_>) -> io::Result<()> {
    xml.write_event(Event::Start(BytesStart::new("properties")))?;
    let root = report.model.root.as_deref().map(|root| ("root", root));
    let unaudited = report.coverage.not_audited();
    let unaudited = unaudited.as_deref().map(|words| ("weights_not_audited", words));
    let unknown = report.coverage.not_understood.len().to_string();
    let code = report.exit_code.to_string();
    let known = [
        ("model", report.model.path.as_str()),
        ("verdict", summary::verdict(report.verdict)),
        ("exit_code", &code),
        ("files_not_understood", &unknown),
        ("version", report.tool.version),
    ];
    for (name, value) in known.into_iter().chain(root).chain(unaudited) {
        let mut property = BytesStart::new("property");
        property.push_attribute(("name", name));
        property.push_attribute(("value", safe_text::name(value).as_str()));
        xml.write_event(Event::Empty(property))?;
    }
    xml.write_event(Event::End(BytesEnd::new("properties")))
}

/// Writes the case that says whether the run was completed. Without it, a run without a verdict would look like success.
fn completed(report: &Report, seconds: &str, xml: &mut Xml<'_, '_>) -> io::Result<()> {
    let mut case = BytesStart::new("testcase");
    case.push_attribute(("classname", report.command));
    case.push_attribute(("name", "completed"));
    case.push_attribute(("time", seconds));
    if report.verdict != Verdict::Incomplete {
        return xml.write_event(Event::Empty(case));
    }
    xml.write_event(Event::Start(case))?;
    let mut error = BytesStart::new("error");
    error.push_attribute(("type", "incomplete"));
    error.push_attribute(("message", summary::sentence(report).as_str()));
    xml.write_event(Event::Empty(error))?;
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

fn case(finding: &Finding, report: &Report, xml: &mut Xml<'_, '_>) -> io::Result<()> {
    let place = summary::place(finding).unwrap_or(&report.model.path);
    let mut case = BytesStart::new("testcase");
    case.push_attribute(("classname", finding.rule));
    case.push_attribute(("name", safe_text::name(place).as_str()));
    case.push_attribute(("time", "0.000"));
    xml.write_event(Event::Start(case))?;
    let (name, message) = if report.fails(finding) {
        ("failure", Some(safe_text::clipped(&finding.message, safe_text::MESSAGE)))
    } else {
        ("system-out", None)
    };
    let mut outcome = BytesStart::new(name);
    if let Some(message) = &message {
        outcome.push_attribute(("type", finding.severity.name()));
        outcome.push_attribute(("message", message.as_str()));
    }
    xml.write_event(Event::Start(outcome))?;
    xml.write_event(Event::Text(BytesText::new(&details(finding))))?;
    xml.write_event(Event::End(BytesEnd::new(name)))?;
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

/// Writes the case of a policy rule. A rule that could not be checked fails.
fn rule_case(rule: &RuleOutcome, xml: &mut Xml<'_, '_>) -> io::Result<()> {
    let mut case = BytesStart::new("testcase");
    case.push_attribute(("classname", "policy"));
    case.push_attribute(("name", safe_text::name(&rule.title()).as_str()));
    case.push_attribute(("time", "0.000"));
    xml.write_event(Event::Start(case))?;
    let evidence = safe_text::clipped(&rule.evidence, safe_text::MESSAGE);
    let name = if rule.outcome.fails() { "failure" } else { "system-out" };
    let mut outcome = BytesStart::new(name);
    if rule.outcome.fails() {
        outcome.push_attribute(("type", rule.outcome.name()));
        outcome.push_attribute(("message", evidence.as_str()));
    }
    let text = format!("{}: {evidence}", policy::words(rule.outcome));
    xml.write_event(Event::Start(outcome))?;
    xml.write_event(Event::Text(BytesText::new(&text)))?;
    xml.write_event(Event::End(BytesEnd::new(name)))?;
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

/// Returns the full description of a finding, for the log of a job.
fn details(finding: &Finding) -> String {
    let mut lines = vec![
        format!("{} {}", finding.severity.name(), finding.rule),
        safe_text::clipped(&finding.message, safe_text::MESSAGE),
    ];
    if let Some(file) = &finding.file {
        lines.push(format!("file: {}", safe_text::name(file)));
    }
    lines.extend(summary::location(finding));
    lines.extend(summary::standing(finding));
    if let Some(rule) = find_rule(finding.rule) {
        lines.push(rule.meaning.to_owned());
        lines.push(rule.action.to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roxmltree::Document;
    use tensorseal_core::judge::Severity;

    fn written(report: &Report) -> String {
        let mut out = Vec::new();
        write(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn report() -> Report {
        let mut report = Report::new("verify", "model");
        for (rule, tensor) in [
            ("integrity/tensor-changed", "a"),
            ("integrity/tensor-moved", "b"),
            ("format/misaligned", "c"),
        ] {
            report.findings.push(Finding::new(rule, "what it is").in_tensor(tensor));
        }
        report.judge(Severity::High);
        report
    }

    #[test]
    fn suites_are_areas_and_failures_are_at_the_limit() {
        let text = written(&report());
        let document = Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!(root.attribute("tests"), Some("4"));
        assert_eq!(root.attribute("failures"), Some("1"));
        let suites: Vec<_> = root.children().filter_map(|suite| suite.attribute("name")).collect();
        assert_eq!(suites, ["verify", "format", "integrity"]);
        let failures: Vec<_> =
            document.descendants().filter(|node| node.has_tag_name("failure")).collect();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].parent().unwrap().attribute("name"), Some("a"));
        assert_eq!(text, written(&report()), "the same bytes each time");
    }

    #[test]
    fn what_was_not_completed_is_an_error() {
        let mut report = Report::new("seal", "model");
        report.error = Some("model: no such file".to_owned());
        let text = written(&report);
        let document = Document::parse(&text).unwrap();
        assert_eq!(document.root_element().attribute("errors"), Some("1"));
        assert!(document.descendants().any(|node| node.has_tag_name("error")));
    }

    #[test]
    fn every_rule_of_a_policy_is_a_case_and_what_was_not_checked_fails() {
        let report = policy::tests::report("<n>");
        let text = written(&report);
        let document = Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!((root.attribute("tests"), root.attribute("failures")), (Some("8"), Some("3")));
        let rules = root.children().find(|suite| suite.attribute("name") == Some("policy rules"));
        let cases: Vec<_> = rules.unwrap().children().filter(|case| case.is_element()).collect();
        let failed =
            |case: &&roxmltree::Node| case.children().any(|node| node.has_tag_name("failure"));
        let failing: Vec<_> =
            cases.iter().filter(failed).filter_map(|case| case.attribute("name")).collect();
        assert_eq!(cases.len(), 4);
        assert_eq!(failing, ["watermark.expect (<n>)", "severity.payload (<n>)"]);
        assert!(text.contains("allowed until 1970-01-31: &lt;n&gt;"), "{text}");
    }

    fn elements(document: &Document) -> usize {
        document.descendants().filter(|node| node.is_element()).count()
    }

    proptest! {
        #[test]
        fn a_hostile_name_is_text(
            name in any::<String>(),
            evil in "[<>\"'&;\\]\\[!\\x00-\\x1f\u{fffe}\u{ffff}]{0,20}",
        ) {
            let name = format!("{evil}{name}");
            let mut report = report();
            report.model.path = name.clone();
            report.findings[0].tensor = Some(name.clone());
            report.findings[0].message = name.clone();
            let text = written(&report);
            let document = Document::parse(&text).unwrap();
            let class = Some("integrity/tensor-changed");
            let case = document.descendants().find(|node| node.attribute("classname") == class);
            let shown = safe_text::name(&name);
            prop_assert_eq!(case.and_then(|node| node.attribute("name")), Some(shown.as_str()));
            let plain = written(&super::tests::report());
            prop_assert_eq!(elements(&document), elements(&Document::parse(&plain).unwrap()));
        }
    }
}
