//! Text for people is plain English: help, rules and documents do not use the words of `testdata/words.toml`.

use crate::common::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use tensorseal_testing::workspace;

/// Characters of context that are shown before and after a word.
const CONTEXT: usize = 40;

/// The words that are not used, each with what to write instead.
fn list() -> BTreeMap<String, String> {
    #[derive(serde::Deserialize)]
    struct Words {
        instead: BTreeMap<String, String>,
    }
    let text = fs::read_to_string(workspace().join("testdata/words.toml")).unwrap();
    toml::from_str::<Words>(&text).unwrap().instead
}

/// Lower case, straight apostrophes, and a single space for each run of white space, without names in backquotes.
fn plain(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    let is_name = |(at, piece): &(usize, &str)| at % 2 == 1 && !piece.contains(char::is_whitespace);
    let text: Vec<&str> = pieces.filter(|piece| !is_name(piece)).map(|(_, piece)| piece).collect();
    let text = text.join("`").to_lowercase().replace('’', "'");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The places of a word in plain text, as whole words only.
fn places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let found = text.match_indices(word).map(|(at, _)| at);
    found.filter(move |at| {
        let (before, after) = (&text[..*at], &text[at + word.len()..]);
        !is_part(before.chars().next_back()) && !is_part(after.chars().next())
    })
}

/// A line for each word of the list that a text uses: where, in what context, and what to write instead.
fn used(place: &str, text: &str) -> Vec<String> {
    let text = plain(text);
    let mut lines = Vec::new();
    for (word, instead) in list() {
        for at in places(&text, &word) {
            let before: Vec<char> = text[..at].chars().rev().take(CONTEXT).collect();
            let before: String = before.into_iter().rev().collect();
            let after: String = text[at..].chars().take(word.len() + CONTEXT).collect();
            lines.push(format!("{place}: {word:?} in \"…{before}{after}…\": write {instead}"));
        }
    }
    lines
}

fn assert_none(lines: &[String]) {
    assert!(lines.is_empty(), "{} words are not plain:\n{}", lines.len(), lines.join("\n"));
}

/// The help of a command and of all that are below it.
fn helps(command: &[&str], all: &mut Vec<(String, String)>) {
    let ran = run(&[command, &["--help"]].concat());
    assert_eq!(ran.code, 0, "{command:?}: {}", ran.stderr);
    let has_commands =
        ran.stdout.lines().any(|line| line.starts_with("Usage:") && line.contains("COMMAND"));
    if has_commands {
        for line in ran.stdout.lines() {
            let Some(rest) = line.strip_prefix("  ") else { continue };
            let name = rest.split("  ").next().unwrap_or_default();
            let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let next = [command, &[name]].concat();
            if is_name && name != "help" && run(&[&next[..], &["--help"]].concat()).code == 0 {
                helps(&next, all);
            }
        }
    }
    all.push((format!("tensorseal {} --help", command.join(" ")), ran.stdout));
}

#[test]
fn help_is_plain() {
    let mut all = Vec::new();
    helps(&[], &mut all);
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    for command in ["verify", "watermark detect", "registry scan", "explain"] {
        assert!(names.contains(&&format!("tensorseal {command} --help")[..]), "{names:?}");
    }
    let lines: Vec<String> = all.iter().flat_map(|(name, text)| used(name, text)).collect();
    assert_none(&lines);
}

#[test]
fn rules_are_plain() {
    let said = run(&["explain", "--format", "json"]).stdout;
    let document: Value = serde_json::from_str(&said).unwrap();
    let rules = document["rules"].as_array().unwrap();
    assert!(rules.len() > 200, "{}", rules.len());
    let mut lines = Vec::new();
    for rule in rules {
        let id = rule["id"].as_str().unwrap();
        for member in ["title", "meaning", "limits", "measured", "false_alarms", "action"] {
            lines.extend(used(&format!("{id}, {member}"), rule[member].as_str().unwrap()));
        }
    }
    lines.extend(used("the policy that is printed", &run(&["gate", "--print-policy"]).stdout));
    assert_none(&lines);
}

#[test]
fn documents_are_plain() {
    let top = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
    let mut files: Vec<PathBuf> = top.iter().map(|name| workspace().join(name)).collect();
    for (folder, ending) in [("docs", "md"), ("docs/schema", "json")] {
        let listed = fs::read_dir(workspace().join(folder)).unwrap();
        let listed = listed.map(|entry| entry.unwrap().path());
        files.extend(listed.filter(|path| path.extension().is_some_and(|found| found == ending)));
    }
    assert!(files.len() > 20, "{files:?}");
    let mut lines = Vec::new();
    for file in files {
        let name = file.strip_prefix(workspace()).unwrap().display().to_string();
        lines.extend(used(&name, &fs::read_to_string(&file).unwrap()));
    }
    assert_none(&lines);
}

#[test]
fn words_are_found_as_they_are_written() {
    for text in ["it is Put back", "is\n    put  back.", "(put back)", "```\nput back 1\n```"] {
        assert_eq!(used("", text).len(), 1, "{text}");
    }
    for text in ["input back", "put backwards", "`beside`", "`what_is_put_back`", "put it back"] {
        assert!(used("", text).is_empty(), "{text}");
    }
    assert_eq!(used("", "git’s own").len(), 1);
    for (word, instead) in list() {
        assert_eq!(word, plain(&word));
        assert!(used("", &instead).is_empty(), "{word}: {instead}");
    }
}
