//! The page, held to its structure by a strict XML parser.

use super::*;
use crate::registry::sample_registry;
use proptest::prelude::*;
use roxmltree::{Document, ParsingOptions};
use tensorseal_base::severity::Severity;
use tensorseal_core::record::{ModelRecords, RegistrySummary};

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..Default::default() };
    Document::parse_with_options(page, options).unwrap()
}

fn page(name: &str) -> String {
    sample_registry::written(name, |overview, out| write(overview, None, out))
}

fn elements(page: &str) -> Vec<String> {
    let document = parsed(page);
    let elements = document.descendants().filter(|node| node.is_element());
    elements.map(|node| node.tag_name().name().to_owned()).collect()
}

#[test]
fn the_page_is_well_formed_and_runs_nothing() {
    let page = page("c");
    let document = parsed(&page);
    for node in document.descendants().filter(|node| node.is_element()) {
        let name = node.tag_name().name();
        assert!(!["script", "iframe", "img", "link", "object", "form", "base"].contains(&name));
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on") && attribute.name() != "style");
        }
    }
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let links = document.descendants().filter_map(|node| node.attribute("href"));
    let labels = document.descendants().filter_map(|node| node.attribute("aria-labelledby"));
    for target in links.chain(labels) {
        assert!(ids.contains(&target.trim_start_matches('#')), "{target}");
    }
    assert!(page.contains("<title>FAIL: 6 models (tensorseal registry scan)</title>"));
}

#[test]
fn what_must_be_looked_at_comes_first() {
    let page = page("c");
    let document = parsed(&page);
    let tables: Vec<_> =
        document.descendants().filter(|n| n.attribute("class") == Some("models")).collect();
    let models: Vec<Vec<String>> = tables
        .iter()
        .map(|table| {
            let rows = table.descendants().filter(|n| n.attribute("scope") == Some("row"));
            let name = rows.map(|row| row.descendants().find(|n| n.has_tag_name("bdi")).unwrap());
            name.map(|bdi| bdi.text().unwrap().to_owned()).collect()
        })
        .collect();
    assert_eq!(models, [vec!["b", "c"], vec!["e", "f"], vec!["a", "d"]]);
    assert!(page.contains("its detail is missing") && !page.contains("its detail is new"));
    let bars = document.descendants().filter(|n| n.has_tag_name("rect")).count();
    assert_eq!(bars, 6, "five ages, and never");
}

#[test]
fn a_link_is_a_path_beside_the_page() {
    let report = |model: &ModelRecord| match model.name.as_str() {
        "b" => Some("javascript:alert(1)/\"><b>.html".to_owned()),
        _ => None,
    };
    let page = sample_registry::written("c", |overview, out| write(overview, Some(&report), out));
    let document = parsed(&page);
    let links: Vec<&str> = document
        .descendants()
        .filter_map(|node| node.attribute("href"))
        .filter(|link| !link.starts_with('#'))
        .collect();
    assert_eq!(links, ["./javascript%3Aalert%281%29/%22%3E%3Cb%3E.html"]);
}

#[test]
fn an_empty_registry_is_a_page() {
    let (summary, models) = (RegistrySummary::empty(), Vec::new());
    let mut out = Vec::new();
    write(&sample_registry::overview(&summary, &models), None, &mut out).unwrap();
    let page = String::from_utf8(out).unwrap();
    assert!(page.contains("The registry has no models.") && page.contains("<dd>none</dd>"));
    assert!(!elements(&page).contains(&"svg".to_owned()));
}

#[test]
fn thousands_of_models_are_a_page_that_opens() {
    let mut models: Vec<_> = (0..12_000)
        .map(|i| sample_registry::model("/models", &format!("org/model-{i}"), ModelState::Ok))
        .collect();
    models[7].findings =
        vec![sample_registry::finding(Severity::Critical, "integrity/file-changed"); 300];
    let summary = sample_registry::summary(&models);
    let mut out = Vec::new();
    write(&sample_registry::overview(&summary, &models), None, &mut out).unwrap();
    let page = String::from_utf8(out).unwrap();
    assert!(page.len() < 4_000_000, "{}", page.len());
    assert!(page.contains("… and 1,999 more (see the CSV inventory)"));
    assert!(page.contains("<li>… and 295 more</li>"));
    parsed(&page);
}

/// Models that can be counted, but not read a second time.
struct ReadOnce(std::cell::Cell<bool>);

impl ModelRecords for ReadOnce {
    fn each(&self, each: &mut dyn FnMut(&ModelRecord) -> io::Result<()>) -> io::Result<()> {
        if self.0.replace(true) {
            return Err(io::Error::other("the database is damaged"));
        }
        sample_registry::models("c").iter().try_for_each(each)
    }
}

#[test]
fn the_page_names_the_error_of_reading_the_models() {
    let (summary, models) = (sample_registry::summary(&sample_registry::models("c")), Vec::new());
    let records = ReadOnce(std::cell::Cell::new(false));
    let overview = Overview { records: &records, ..sample_registry::overview(&summary, &models) };
    let error = write(&overview, None, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the database is damaged");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_name_changes_the_structure(
        name in any::<String>(),
        evil in "[<>\"'&;/=a-c!\\-\\[\\]\\x00-\\x1f\u{202a}-\u{202e}\u{fffe}\u{ffff}]{1,24}",
    ) {
        let name = format!("{evil}{name}");
        prop_assert_eq!(elements(&page(&name)), elements(&page("x")));
    }
}
