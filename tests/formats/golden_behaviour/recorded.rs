//! The file of what is recorded, and what differs from it.

use super::models::testdata;
use super::outcome::Outcome;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

pub(super) fn file() -> PathBuf {
    testdata("golden-behaviour.json")
}

/// The file: a case on a line of its own, and each finding.
pub(super) fn written(all: &BTreeMap<String, Outcome>) -> String {
    let entries: Vec<String> = all
        .iter()
        .map(|(name, outcome)| {
            let findings = std::mem::take(&mut outcome.clone().findings);
            let head = serde_json::to_string(&Outcome { findings: Vec::new(), ..outcome.clone() });
            let mut text = format!("{}: {}", json!(name), head.unwrap());
            if !findings.is_empty() {
                let lines: Vec<String> =
                    findings.iter().map(|finding| format!("  {}", json!(finding))).collect();
                text.truncate(text.len() - 1);
                text.push_str(&format!(",\"findings\":[\n{}\n]}}", lines.join(",\n")));
            }
            text
        })
        .collect();
    format!("{{\n{}\n}}\n", entries.join(",\n"))
}

/// What is in one list and not in the other, as often.
fn without<'a>(list: &'a [Value], other: &[Value]) -> Vec<&'a Value> {
    let mut other: Vec<&Value> = other.iter().collect();
    let mut left = Vec::new();
    for item in list {
        match other.iter().position(|found| *found == item) {
            Some(at) => drop(other.swap_remove(at)),
            None => left.push(item),
        }
    }
    left
}

/// What differs between two outcomes, member by member.
fn difference(old: &Outcome, new: &Outcome) -> String {
    let [old, new] = [old, new].map(|outcome| serde_json::to_value(outcome).unwrap());
    let mut members: Vec<&String> = old.as_object().unwrap().keys().collect();
    members.extend(new.as_object().unwrap().keys());
    members.sort();
    members.dedup();
    let mut said = String::new();
    for member in members.into_iter().filter(|member| old[*member] != new[*member]) {
        if old[member].is_array() || new[member].is_array() {
            let [old, new] =
                [&old, &new].map(|all| all[member].as_array().cloned().unwrap_or_default());
            let (gone, come) = (without(&old, &new), without(&new, &old));
            gone.iter().for_each(|item| said.push_str(&format!("    {member}: no more: {item}\n")));
            come.iter().for_each(|item| said.push_str(&format!("    {member}: now: {item}\n")));
            if gone.is_empty() && come.is_empty() {
                said.push_str(&format!("    {member}: in another order: {new:?}\n"));
            }
        } else {
            said.push_str(&format!("    {member}: was {}, is {}\n", old[member], new[member]));
        }
    }
    said
}

/// Holds outcomes to the file; `whole` when none may be missing.
pub(super) fn hold(all: &BTreeMap<String, Outcome>, whole: bool) {
    let text = fs::read_to_string(file()).unwrap();
    let recorded: BTreeMap<String, Outcome> = serde_json::from_str(&text).unwrap();
    let mut said = Vec::new();
    for (name, new) in all {
        match recorded.get(name) {
            None => said.push(format!("{name}: not recorded\n")),
            Some(old) if old != new => said.push(format!("{name}:\n{}", difference(old, new))),
            Some(_) => (),
        }
    }
    if whole {
        let gone = recorded.keys().filter(|name| !all.contains_key(*name));
        said.extend(gone.map(|name| format!("{name}: recorded, and not run\n")));
    }
    assert!(
        said.is_empty(),
        "{} of {} cases are not as recorded in {}:\n{}",
        said.len(),
        all.len(),
        file().display(),
        said.concat()
    );
}
