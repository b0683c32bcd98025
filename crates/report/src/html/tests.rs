//! The page, held to its structure by a strict XML parser.

use super::page::STYLE;
use super::*;
use crate::profile::{LowBitCounts, Profile};
use crate::{ModelSummary, SealUsed};
use proptest::prelude::*;
use roxmltree::{Document, ParsingOptions};
use tensorseal_core::judge::Finding;
use tensorseal_format::{SkipReason, SkippedPath};

fn written(report: &Report) -> String {
    let mut out = Vec::new();
    write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..Default::default() };
    Document::parse_with_options(page, options).unwrap()
}

/// Profiles of a made-up model: layers of eight roles, and an embedding outside.
fn profiles(layers: u64) -> Vec<Profile> {
    let roles = ["attention.query", "attention.key", "attention.value", "attention.output"];
    let roles = roles.iter().chain(&["mlp.up", "mlp.down", "norm.before", "norm.after"]);
    let mut all: Vec<Profile> = (0..layers)
        .flat_map(|layer| roles.clone().map(move |role| (layer, *role)))
        .map(|(layer, role)| Profile {
            tensor: format!("layers.{layer}.{role}"),
            file: "model.safetensors".to_owned(),
            dtype: "BF16".to_owned(),
            shape: vec![512, 512],
            bytes: 524_288,
            role: role.to_owned(),
            depth: Some(layer),
            exponents: (-30..=-2).map(|e| (e, 1 << (e + 30).min(20))).chain([(117, 1)]).collect(),
            exponents_before: (-30..=-2).map(|e| (e, 1 << (e + 30).min(20))).collect(),
            low_bits: vec![LowBitCounts { bits: 4, bytes: (0..256).map(|b| 900 + b).collect() }],
            ..Profile::default()
        })
        .collect();
    all.push(Profile {
        tensor: "embed".to_owned(),
        role: "embedding".to_owned(),
        ..Profile::default()
    });
    all
}

fn report(layers: u64, every: usize) -> Report {
    let mut report = Report::new("audit", "model");
    report.model = ModelSummary { files: 1, tensors: layers * 8 + 1, ..report.model };
    report.profiles = profiles(layers);
    for profile in report.profiles.iter().step_by(every) {
        let finding = Finding::new("weights/exponent-outlier", "1 value far above the rest")
            .in_file(&profile.file)
            .in_tensor(&profile.tensor)
            .with("gap", 119)
            .with("max_sealed", 0.3)
            .with("max_found", 2.5e36);
        report.findings.push(finding);
    }
    report.judge(Severity::Medium);
    report
}

#[test]
fn the_page_is_well_formed_and_allows_nothing() {
    let report = report(6, 7);
    let page = written(&report);
    assert_eq!(page, written(&report), "the same bytes each time");
    assert!(!STYLE.contains(['<', '&']), "style sheets are not parsed as markup");
    let document = parsed(&page);
    let names: std::collections::BTreeSet<_> =
        document.descendants().filter(|n| n.is_element()).map(|n| n.tag_name().name()).collect();
    for forbidden in ["script", "iframe", "img", "link", "object", "form", "base"] {
        assert!(!names.contains(forbidden), "{forbidden}");
    }
    let attributes = document.descendants().flat_map(|node| node.attributes());
    for attribute in attributes {
        assert!(!attribute.name().starts_with("on") && attribute.name() != "style");
        if attribute.name() == "href" {
            assert!(attribute.value().starts_with('#'), "{}", attribute.value());
        }
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-"), "{page}");
}

#[test]
fn templates_exempt_only_markup_of_the_program_from_escaping() {
    let templates = [
        include_str!("../../templates/page.html"),
        include_str!("../../templates/report.html"),
        include_str!("../../templates/facts.html"),
        include_str!("../../templates/policy.html"),
        include_str!("../../templates/map.html"),
        include_str!("../../templates/findings.html"),
        include_str!("../../templates/tensors.html"),
        include_str!("../../templates/registry.html"),
        include_str!("../../templates/group.html"),
        include_str!("../../templates/model.html"),
    ];
    let exempt = templates.iter().flat_map(|text| text.split("{{").skip(1)).filter_map(|rest| {
        let (expression, _) = rest.split_once("}}")?;
        expression.trim().strip_suffix("|safe")
    });
    let exempt: Vec<&str> = exempt.collect();
    let expected =
        ["page::STYLE", "plot.drawing", "self.alarms()", "self.reviews()", "self.others()"];
    assert_eq!(exempt, [&expected[..], &["self.rows()"]].concat());
    assert_eq!(templates.concat().matches("safe").count(), exempt.len());
}

#[test]
fn every_link_has_a_target_and_every_id_is_there_once() {
    let page = written(&report(90, 3));
    let document = parsed(&page);
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let once: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), once.len());
    let named = ["href", "aria-labelledby"];
    for (name, value) in named.iter().flat_map(|name| {
        document.descendants().filter_map(move |node| Some((*name, node.attribute(*name)?)))
    }) {
        assert!(once.contains(value.trim_start_matches('#')), "{name} {value}");
    }
}

#[test]
fn the_map_has_its_rows_and_cells() {
    let page = written(&report(6, 7));
    let document = parsed(&page);
    let map = document.descendants().find(|n| n.attribute("class") == Some("map")).unwrap();
    let rows: Vec<_> = map.descendants().filter(|n| n.has_tag_name("tr")).collect();
    assert_eq!(rows.len(), 1 + 1 + 6, "head, outside, layers");
    let high = map.descendants().filter(|n| n.attribute("class") == Some("high")).count();
    assert_eq!(high, 7, "every seventh of 49 tensors");
    assert_eq!(map.descendants().filter(|n| n.attribute("class") == Some("clean")).count(), 42);
}

#[test]
fn without_profiles_there_is_no_map() {
    let mut report = report(1, 1);
    report.profiles.clear();
    let page = written(&report);
    assert!(!page.contains("id=\"map\"") && !page.contains("<svg"));
    report.findings.clear();
    report.judge(Severity::Medium);
    assert!(written(&report).contains("PASS"));
}

#[test]
fn thirty_thousand_tensors_are_a_small_page() {
    let many = report(3750, 1);
    assert!(many.profiles.len() > 30_000 && many.findings.len() > 30_000);
    let page = written(&many);
    assert!(page.len() < 1_500_000, "{}", page.len());
    assert!(page.contains("… and 29,961 more"), "what is left out is counted");
    assert!(page.contains("and 29,961 more tensors with findings, not plotted"));
    parsed(&page);
}

#[test]
fn thousands_of_roles_are_one_column_more() {
    let mut report = report(2, 1);
    for (index, profile) in report.profiles.iter_mut().enumerate() {
        profile.depth = Some(u64::MAX - index as u64);
    }
    for index in 0..5000u64 {
        report.profiles.push(Profile {
            tensor: format!("x{index}"),
            role: format!("role {index}"),
            depth: Some(index),
            ..Profile::default()
        });
    }
    let page = written(&report);
    let document = parsed(&page);
    let map = document.descendants().find(|n| n.attribute("class") == Some("map")).unwrap();
    let cells = map.descendants().filter(|n| n.has_tag_name("td")).count();
    assert!(cells <= 65 * 24, "{cells}");
    assert!(page.contains("all other roles"));
}

/// Relative luminance of `#rrggbb` (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { libm::pow((value + 0.055) / 1.055, 2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

#[test]
fn text_can_be_read_on_every_ground() {
    // Light, dark, print.
    let palettes: Vec<HashMap<&str, &str>> = STYLE
        .split(":root {")
        .skip(1)
        .map(|block| block.split('}').next().unwrap())
        .map(|block| block.split(';').filter_map(|rule| rule.trim().split_once(": ")).collect())
        .collect();
    assert_eq!(palettes.len(), 3);
    for palette in palettes {
        let mut pairs = vec![("--ink", "--page"), ("--ink", "--card"), ("--soft", "--page")];
        pairs.extend([("--soft", "--card"), ("--link", "--card"), ("--far", "--card")]);
        let named: Vec<(String, String)> = ["critical", "high", "medium", "low", "info", "clean"]
            .iter()
            .chain(&["pass", "fail", "incomplete"])
            .map(|name| (format!("--on-{name}"), format!("--{name}")))
            .collect();
        pairs.extend(named.iter().map(|(a, b)| (a.as_str(), b.as_str())));
        for (text, ground) in pairs {
            let (a, b) = (luminance(palette[text]), luminance(palette[ground]));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
        }
    }
}

/// A report in which everything that can come from a model is `name`.
fn hostile(name: &str) -> Report {
    let mut report = report(2, 5);
    report.model.path = name.to_owned();
    report.model.root = Some(name.to_owned());
    report.error = Some(name.to_owned());
    report.seal = Some(SealUsed {
        digest: Some(name.to_owned()),
        source: name.to_owned(),
        signed_by: Some(name.to_owned()),
        compared: None,
    });
    let left_out =
        SkippedPath { path: name.to_owned(), reason: name.to_owned(), kind: SkipReason::Problem };
    report.coverage.not_covered.push(left_out);
    for profile in &mut report.profiles {
        profile.role = name.to_owned();
        profile.file = name.to_owned();
        profile.dtype = name.to_owned();
    }
    report.profiles[0].tensor = name.to_owned();
    let finding = &mut report.findings[0];
    finding.message = name.to_owned();
    finding.tensor = Some(name.to_owned());
    finding.file = Some(name.to_owned());
    finding.other_tensor = Some(name.to_owned());
    finding.evidence.insert("text", name.into());
    finding.evidence.insert("list", serde_json::json!([name, {name: [name]}]));
    report
}

fn elements(page: &str) -> Vec<String> {
    let document = parsed(page);
    let elements = document.descendants().filter(|node| node.is_element());
    elements.map(|node| node.tag_name().name().to_owned()).collect()
}

#[test]
fn a_hostile_name_is_shown_as_it_is() {
    let page = written(&hostile("<script>alert(1)</script>"));
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    let page = written(&hostile("\u{202e}gpj.exe\0\u{7}"));
    assert!(!page.contains(['\u{202e}', '\0', '\u{7}']) && page.contains("\\u{202e}"));
    let page = written(&hostile(&"n".repeat(65_536)));
    assert!(page.len() < 100_000 && page.contains("… (65536 bytes)"), "{}", page.len());
}

#[test]
fn the_rules_of_a_policy_are_a_table() {
    let report = crate::policy::tests::report("<script>");
    let page = written(&report);
    let document = parsed(&page);
    let policy =
        document.descendants().find(|node| node.attribute("aria-labelledby") == Some("policy"));
    let rows = policy.unwrap().descendants().filter(|node| node.has_tag_name("tr")).count();
    assert_eq!(rows, 1 + 4);
    let elements = |report| {
        let page = written(report);
        parsed(&page).descendants().filter(roxmltree::Node::is_element).count()
    };
    assert_eq!(elements(&report), elements(&crate::policy::tests::report("n")));
    assert!(page.contains("allowed until 1970-01-31: &lt;script&gt;"), "{page}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_name_changes_the_structure(
        name in any::<String>(),
        evil in "[<>\"'&;/=a-c!\\-\\[\\]\\x00-\\x1f\u{202a}-\u{202e}\u{fffe}\u{ffff}]{1,24}",
    ) {
        let name = format!("{evil}{name}");
        let page = written(&hostile(&name));
        prop_assert_eq!(elements(&page), elements(&written(&hostile("x"))));
        let document = parsed(&page);
        let title = document.descendants().find(|n| n.has_tag_name("h1")).unwrap();
        let text: String = title.descendants().filter_map(|n| n.text()).next().unwrap_or("").to_owned();
        prop_assert_eq!(text, crate::safe_text::name(&name));
    }
}
