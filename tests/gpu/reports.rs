//! What the program reports is the same whichever engine measured: audits, marks, marks of other schemes.

use crate::common::audited::{damage, judged, real};
use crate::common::golden_marks::{detect, golden, parsed, write_key};
use crate::common::marked::{PAYLOAD, world};
use crate::common::*;
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn every_engine_gives_the_same_report() {
    let dir = TempDir::new().unwrap();
    let path = real(dir.path());
    let clean = judged(&path, &["--device", "cpu"]);
    assert_eq!(clean.0, 0, "{:#}", clean.1["findings"]);
    damage(&path);
    let (code, report) = judged(&path, &["--device", "cpu", "--threads", "1"]);
    assert_eq!(code, 1);
    let found: Vec<String> = rules(&report).into_iter().map(|(rule, _)| rule).collect();
    for rule in [
        "weights/exponent-outlier",
        "weights/constant-run",
        "weights/page-duplicate",
        "payload/file-magic",
    ] {
        assert!(found.iter().any(|other| other == rule), "{rule}: {found:?}");
    }
    for device in ["gpu", "cpu+llvmpipe"] {
        let other = judged(&path, &["--device", device]);
        assert!(other == (code, report.clone()), "{device}");
    }
    let checked = judged(&path, &["--device", "cpu+llvmpipe", "--cross-check", "20"]);
    assert!(checked == (code, report));
}

#[test]
fn golden_marks_are_found_on_every_engine() {
    for (scheme, model, key, matching, bits) in golden() {
        let path = write_key(&key);
        let essence = |device: &str| {
            let ran = detect(
                &model.path(),
                scheme,
                &["--key", &path, "--device", device, "--format", "json"],
            );
            let mut report = parsed(&ran);
            report["engine"].take();
            assert_eq!(ran.code, 0, "{scheme} on {device}: {report:#}");
            report
        };
        let report = essence("cpu");
        let found = &report["watermark"];
        assert_eq!((&found["verdict"], &found["scheme"]), (&"present".into(), &scheme.into()));
        assert_eq!(found["evidence"]["bits"], bits, "{scheme}");
        assert_eq!(found["evidence"]["matching"], matching, "{scheme}");
        assert_eq!(found["key_id"], key.read().id());
        assert_eq!(found["mode"], if scheme == "emmark" { "informed" } else { "blind" });
        for device in ["gpu", "cpu+llvmpipe", "auto"] {
            assert_eq!(essence(device), report, "{scheme} on {device}");
        }
        let said = detect(&model.path(), scheme, &["--key", &path, "--device", "cpu"]).stdout;
        let words = format!("matching {matching}");
        assert!(said.contains("PRESENT") && said.contains(&words), "{said}");
        assert!(said.contains("none: the key has no id published before the model"), "{said}");
    }
}

/// Every engine measures the same, many keys at once, blind and informed.
#[test]
fn every_engine_detects_the_same() {
    let w = world();
    assert_eq!(w.embed(&w.model, "out", &["--payload", PAYLOAD, "--force"]).0, 0);
    let (out, other) = (w.path("out"), w.key("other.json"));
    let essence = |device: &str| {
        let ran = w.try_detect(
            &out,
            &[
                "--key",
                arg(&other),
                "--original",
                arg(&w.model),
                "--format",
                "json",
                "--device",
                device,
            ],
        );
        let mut report: Value = serde_json::from_str(&ran.stdout).unwrap();
        validate("tensorseal.report.2", &report);
        let engine = report["engine"].take();
        (ran.code, report, engine["device"].clone())
    };
    let expected = essence("cpu");
    assert_eq!((expected.0, &expected.2), (1, &"cpu".into()), "one of the keys is another");
    assert_eq!(expected.1["watermark"][0]["mode"], "informed");
    assert!(expected.1["watermark"][0]["z"].as_f64().unwrap() > 200.0);
    assert_eq!(expected.1["watermark"][1]["verdict"], "absent");
    for device in ["gpu", "cpu+llvmpipe", "auto"] {
        let found = essence(device);
        assert_eq!((found.0, &found.1), (expected.0, &expected.1), "{device}");
        assert_eq!(found.2 == "gpu", device == "gpu");
    }
    let checked = w.try_detect(&out, &["--device", "gpu", "--cross-check", "100"]);
    assert!(checked.stdout.contains("on both engines, with equal results"), "{}", checked.stdout);
}
