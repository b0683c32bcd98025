//! Where there is nothing to judge, that is no pass; where there is nothing but bytes, bytes are signed.

use super::files::calling;
use super::table::*;
use crate::common::archives::pickled;
use crate::common::contents::*;
use crate::common::*;
use std::fs;

/// Directories without one tensor.
fn without_weights() -> Vec<(&'static str, Files)> {
    vec![
        ("card", vec![file("README.md", "# A model\n")]),
        (
            "tokenizer",
            vec![
                file("tokenizer.json", "{\"model\": {}}"),
                file("tokenizer_config.json", "{}"),
                file("spiece.model", sentence_piece()),
            ],
        ),
        (
            "skill",
            vec![
                file("SKILL.md", "---\nname: x\n---\nDo it.\n"),
                file("scripts/run.py", "print('x')\n"),
            ],
        ),
        ("onnx", vec![file("model.onnx", onnx("", None)), file("config.json", "{}")]),
        (
            "trainer state",
            vec![
                file("trainer_state.json", "{}"),
                file("scheduler.pt", pickled::whole(pickled::dict(&[("last", pickled::int(3))]))),
            ],
        ),
    ]
}

#[test]
fn verbs_that_judge_weights_end_with_4_without_them() {
    let mut rows = Vec::new();
    for (name, files) in without_weights() {
        for command in ["audit {m}", "inspect {m}", "compare {m} {m}"] {
            rows.push(row(name, files.clone(), command, 4, "", "weights found"));
        }
        let sound = beside(Vec::new()).into_iter().map(|(path, bytes)| {
            let path =
                if path == "config.json" { "../b/config.json" } else { "../b/m.safetensors" };
            (path, bytes)
        });
        let both = files.into_iter().chain(sound).collect();
        rows.push(row(name, both, "compare {o}/b {m}", 4, "", "weights found"));
    }
    hold(rows);
}

#[test]
fn verbs_that_work_on_bytes_do_not_need_weights() {
    let mut rows = Vec::new();
    for (name, files) in without_weights() {
        rows.push(row(name, files, "seal {m} -o {o}/seal", 0, "", "sealed"));
    }
    hold(rows);
    for (name, files) in without_weights() {
        let laid = Laid::new(&files);
        let (model, outer) = (laid.model(), laid.outer());
        let seal = outer.join("seal.json");
        let sealed = run(&["seal", arg(&model), "-o", arg(&seal), "--device", "cpu"]);
        assert_eq!(sealed.code, 0, "{name}: {}", sealed.stderr);
        let verify = || report(&["verify", arg(&model), "--seal", arg(&seal)]);
        assert_eq!(verify().0, 0, "{name}");
        let (path, bytes) = &files[0];
        let mut changed = bytes.clone();
        changed[0] ^= 1;
        fs::write(model.join(path), changed).unwrap();
        let (code, found) = verify();
        assert_eq!(code, 1, "{name}: {found:#}");
        assert!(
            rules(&found).iter().any(|(rule, at)| rule == "integrity/file-changed" && at == path),
            "{name}: {found:#}"
        );
    }
}

#[test]
fn a_file_by_itself_is_what_it_is() {
    let at = |path: &'static str, bytes: &[u8]| vec![file(path, bytes)];
    hold(vec![
        row(
            "onnx",
            at("model.onnx", &onnx("", None)),
            "audit {m}/model.onnx",
            4,
            "format/not-read",
            "onnx",
        ),
        row(
            "onnx, inspected",
            at("model.onnx", &onnx("", None)),
            "inspect {m}/model.onnx",
            4,
            "format/not-read",
            "onnx",
        ),
        row(
            "onnx, sealed",
            at("model.onnx", &onnx("", None)),
            "seal {m}/model.onnx -o {o}/s",
            0,
            "",
            "sealed",
        ),
        row("text", at("README.md", b"# Hello\n"), "audit {m}/README.md", 4, "", "text"),
        row("JSON", at("config.json", b"{}"), "audit {m}/config.json", 4, "", "json"),
        row("picture", at("logo.png", &png()), "audit {m}/logo.png", 4, "", "image"),
        row(
            "unknown",
            at("model.xyz", &unknown(700)),
            "audit {m}/model.xyz",
            1,
            "format/unknown",
            "FAIL",
        ),
        row("empty", at("model.safetensors", b""), "audit {m}/model.safetensors", 1, "", "FAIL"),
        row("program", at("model.gguf", &elf()), "audit {m}/model.gguf", 1, "", "FAIL"),
    ]);
}

#[test]
fn codes_have_an_order() {
    let call = || vec![file("state.bin", calling())];
    hold(vec![
        // 2 before 1, 1 before 3 and 4, 3 before 4.
        row("2 before 1", call(), "audit {m} --baseline {o}/none", 2, "", "no baseline"),
        row("1 before 4", call(), "audit {m}", 1, "format/pickle-global", "FAIL"),
        row(
            "1 before 3",
            beside(vec![file("x.bin", calling()), file("m.onnx", onnx("", None))]),
            "audit {m} --require-all",
            1,
            "format/pickle-global",
            "FAIL",
        ),
        row(
            "3 before 4",
            vec![file("m.onnx", onnx("", None))],
            "audit {m} --require-all",
            3,
            "",
            "--require-all",
        ),
        row("4", vec![file("m.onnx", onnx("", None))], "audit {m}", 4, "", "weights found"),
        row(
            "4 at a higher limit",
            call(),
            "audit {m} --fail-on critical",
            4,
            "format/pickle-global",
            "weights found",
        ),
        row("no directory", Vec::new(), "audit {o}/nowhere", 3, "", "no such file"),
        row("an empty directory", Vec::new(), "audit {m}", 4, "", "the directory is empty"),
    ]);
}
