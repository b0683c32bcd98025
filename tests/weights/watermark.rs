//! Marks through the program: keys, claims, embedding, detection, and everything that can be wrong.

use crate::common::marked::{PAYLOAD, World, f32s, tensors, world};
use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

impl World {
    fn detect(&self, model: &Path, extra: &[&str]) -> (i32, Value) {
        detect(model, &self.key, extra)
    }
}

fn detect(model: &Path, key: &Path, extra: &[&str]) -> (i32, Value) {
    let mut args = vec!["watermark", "detect", arg(model), "--key", arg(key)];
    args.extend(extra);
    report(&args)
}

fn write_tensors(path: &Path, tensors: &[Tensor]) {
    fs::write(path, safetensors(tensors)).unwrap();
}

#[test]
fn keys_are_private_new_and_named() {
    let mut w = world();
    w.key = w.path("new.json");
    assert_eq!(run(&["watermark", "keygen", "-o", arg(&w.key)]).code, 0);
    let mode = fs::metadata(&w.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read_to_string(&w.key).unwrap();
    let again = run(&["watermark", "keygen", "-o", arg(&w.key)]);
    assert_eq!((again.code, again.stdout.as_str()), (2, ""));
    assert!(again.stderr.contains("never overwritten"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&w.key).unwrap(), before);
    let other = w.path("other.json");
    let made = run(&["watermark", "keygen", "-o", arg(&other), "--note", "for my model"]);
    let text: Value = serde_json::from_str(&fs::read_to_string(&other).unwrap()).unwrap();
    assert_eq!((&text["note"], made.code), (&"for my model".into(), 0));
    assert!(made.stdout.contains(text["key_id"].as_str().unwrap()));
    // The secret is in the file and nowhere else.
    assert!(!(made.stdout + &made.stderr).contains(text["key"].as_str().unwrap()));
    let ran = run(&["watermark", "keygen", "-o", "/nonexistent/key"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
}

#[test]
fn a_mark_in_every_type_is_embedded_again_the_same_and_found() {
    let w = world();
    let (code, embedded) = w.embed(&w.model, "out", &["--payload", PAYLOAD, "--force"]);
    assert_eq!(code, 0, "{embedded:#}");
    let mark = &embedded["watermark"];
    assert_eq!((&mark["payload"], &mark["carriers"]), (&PAYLOAD.into(), &4.into()));
    assert!((mark["z"].as_f64().unwrap() - 60.0).abs() < 5.0, "{mark:#}");
    let out = w.path("out");
    // The key decides everything: once more is the same.
    assert_eq!(w.embed(&w.model, "again", &["--payload", PAYLOAD, "--force"]).0, 0);
    let bytes = |path: &Path| fs::read(path.join("model.safetensors")).unwrap();
    assert!(bytes(&out) == bytes(&w.path("again")));
    assert_eq!(
        fs::read(out.join("config.json")).unwrap(),
        fs::read(w.model.join("config.json")).unwrap()
    );
    let (code, found) = w.detect(&out, &[]);
    let found = &found["watermark"];
    assert_eq!(
        (code, &found["verdict"], &found["payload"]),
        (0, &"present".into(), &PAYLOAD.into())
    );
    assert_eq!((&found["payload_ok"], &found["committed"]), (&true.into(), &false.into()));
    // Measured at the time of embedding is measured again.
    assert_eq!(found["z"], mark["z"]);
    assert_eq!(found["z_pilot"], mark["z_pilot"]);
    assert_eq!((&found["elements"], &found["blocks"]), (&mark["elements"], &mark["blocks"]));
    let groups: Vec<&str> =
        found["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(groups, ["embed_tokens", "layers.0", "layers.1"], "the tied head counts once");
    // What is no carrier, and the bytes around tensors, are as they were; the tied head is marked.
    let (before, after) = (bytes(&w.model), bytes(&out));
    let read = safetensors::SafeTensors::deserialize;
    let (before, after) = (read(&before).unwrap(), read(&after).unwrap());
    for name in ["model.layers.1.norm.weight", "model.layers.1.ids"] {
        assert_eq!(before.tensor(name).unwrap().data(), after.tensor(name).unwrap().data());
    }
    let tied = ["model.embed_tokens.weight", "lm_head.weight"].map(|n| after.tensor(n).unwrap());
    assert_eq!(tied[0].data(), tied[1].data());
    // For people, and the words that must be said.
    let said = w.try_detect(&out, &[]);
    assert!(said.stdout.contains("PRESENT") && said.stdout.contains(PAYLOAD), "{}", said.stdout);
    let evidence = "\nevidence  none: the key has no claim published before the model\n";
    assert!(said.stdout.contains(evidence), "{}", said.stdout);
    // A single file is marked to a single file; it need not have the same name.
    let file = w.model.join("model.safetensors");
    assert_eq!(w.embed(&file, "one.safetensors", &["--payload", PAYLOAD, "--force"]).0, 0);
    assert!(fs::read(w.path("one.safetensors")).unwrap() == bytes(&out));
}

#[test]
fn a_sharded_model_stays_sharded() {
    let w = world();
    let shards = w.path("shards");
    fs::create_dir(&shards).unwrap();
    write_shards(&shards, &tensors(), 3);
    fs::create_dir(shards.join("more")).unwrap();
    fs::write(shards.join("more/notes.txt"), "kept").unwrap();
    assert_eq!(w.embed(&shards, "out", &["--payload", PAYLOAD, "--force"]).0, 0);
    let out = w.path("out");
    assert_eq!(fs::read_to_string(out.join("more/notes.txt")).unwrap(), "kept");
    let index = "model.safetensors.index.json";
    assert_eq!(fs::read(out.join(index)).unwrap(), fs::read(shards.join(index)).unwrap());
    assert_eq!(w.embed(&w.model, "whole", &["--payload", PAYLOAD, "--force"]).0, 0);
    let marks = [out, w.path("whole")].map(|path| w.detect(&path, &[]).1["watermark"].clone());
    assert_eq!(marks[0], marks[1], "shards change nothing");
}

#[test]
fn a_claim_binds_key_payload_strength_and_model() {
    let w = world();
    let claim = w.path("claim.json");
    let claim_of = |key: &Path, out: &Path, extra: &[&str]| {
        let mut args = vec!["watermark", "claim", arg(&w.model), "--key", arg(key), "-o", arg(out)];
        args.extend(extra);
        run(&args)
    };
    let strength = ["--payload", PAYLOAD, "--target-z", "50"];
    let ran = claim_of(&w.key, &claim, &strength);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let document: Value = serde_json::from_str(&fs::read_to_string(&claim).unwrap()).unwrap();
    validate("tensorseal.watermark-claim.1", &document);
    assert!(ran.stdout.contains(document["commitment"].as_str().unwrap()));
    let names = json!([
        "embed_tokens.weight",
        "layers.0.k_proj.weight",
        "layers.0.q_proj.weight",
        "layers.1.q_proj.weight"
    ]);
    assert_eq!(document["carriers"], names);
    // Never over something else, and the same on standard output.
    assert_eq!(claim_of(&w.key, &claim, &strength).code, 2);
    let mut args = vec!["watermark", "claim", arg(&w.model), "--key", arg(&w.key)];
    args.extend(strength);
    assert_eq!(run(&args).stdout, fs::read_to_string(&claim).unwrap());

    let (code, embedded) = w.embed(&w.model, "out", &["--claim", arg(&claim), "--force"]);
    assert_eq!(code, 0);
    assert_eq!(embedded["watermark"]["alpha"], document["alpha"]);
    let (code, found) = w.detect(&w.path("out"), &["--claim", arg(&claim)]);
    assert_eq!((code, &found["watermark"]["committed"]), (0, &true.into()));
    assert_eq!(found["watermark"]["tests"].as_array().unwrap().len(), 1);
    assert!(rules(&found).is_empty(), "{found:#}");
    let said = w.try_detect(&w.path("out"), &["--claim", arg(&claim)]).stdout;
    assert!(said.contains("the key opens the claim"), "{said}");

    // The claim of another key, another model, another payload.
    let other = w.key("other.json");
    let (code, found) = detect(&w.path("out"), &other, &["--claim", arg(&claim)]);
    assert_eq!(code, 1);
    let said: Vec<String> = rules(&found).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(said, ["watermark/claim-not-opened", "watermark/absent"]);
    let wrong_key =
        ["watermark", "embed", arg(&w.model), "--key", arg(&other), "--claim", arg(&claim)];
    let target = w.path("never");
    let ran = run(&[&wrong_key[..], &["-o", arg(&target)]].concat());
    assert!(ran.code == 2 && ran.stderr.contains("this claim belongs to key"), "{}", ran.stderr);
    let elsewhere = write_model(&w.path("elsewhere"), &tensors()[1..3]);
    let (code, refused) = w.embed(&elsewhere, "never", &["--claim", arg(&claim)]);
    assert_eq!(code, 2);
    assert!(refused["error"].as_str().unwrap().contains("root"), "{refused:#}");
    let mut forged = document.clone();
    forged["payload"] = "1111111111111111".into();
    let path = w.path("forged.json");
    fs::write(&path, forged.to_string()).unwrap();
    let (code, found) = w.detect(&w.path("out"), &["--claim", arg(&path)]);
    assert_eq!((code, rules(&found)[0].0.as_str()), (1, "watermark/claim-not-opened"));
    assert_eq!(found["watermark"]["verdict"], "present", "the key is looked for all the same");

    // A mark that says something else than its claim.
    let other_claim = w.path("other-claim.json");
    let payload = ["--payload", "1111111111111111", "--target-z", "50"];
    assert_eq!(claim_of(&w.key, &other_claim, &payload).code, 0);
    let (code, found) = w.detect(&w.path("out"), &["--claim", arg(&other_claim)]);
    assert_eq!((code, rules(&found)[0].0.as_str()), (1, "watermark/other-payload"));
    assert_eq!(found["watermark"]["payload_read"], PAYLOAD);

    // Damaged claims are findings, one that is not there is a mistake.
    for text in ["", "[]", "{}", "{\"schema\": 1}", &document.to_string()[..200]] {
        fs::write(&path, text).unwrap();
        let (code, found) = w.detect(&w.path("out"), &["--claim", arg(&path)]);
        assert_eq!((code, rules(&found)[0].0.as_str()), (1, "watermark/claim-invalid"), "{text}");
    }
    let ran = w.try_detect(&w.path("out"), &["--claim", "/nonexistent"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn what_must_not_be_written_is_refused() {
    let w = world();
    let payload = ["--payload", PAYLOAD];
    let refused = |out: &str, extra: &[&str], code: i32, words: &str| {
        let (found, report) = w.embed(&w.model, out, extra);
        let error = report["error"].as_str().unwrap();
        assert!(found == code && error.contains(words), "{found} {error}");
    };
    refused("out", &["--in-place"], 2, "always written as a copy");
    refused("model", &payload, 2, "exists");
    refused("model/inside", &payload, 2, "is inside");
    refused("no/such/directory", &payload, 3, "does not exist");
    // 60 needs 3.6 million elements of full precision; F8 adds the noise of its steps.
    refused("out", &["--target-z", "90"], 2, "--target-z 5");
    refused("out", &["--target-z", "40"], 2, "more than allowed");
    refused("out", &["--target-z", "5000"], 2, "as large as the weights");
    assert!(!w.path("out").exists());
    let left = |directory: &Path| fs::read_dir(directory).unwrap().count();
    assert_eq!(left(w.dir.path()), 2, "model and key: nothing is left behind");

    // A key among the files of the model would be published with it.
    let key = w.model.join("secret.json");
    fs::copy(&w.key, &key).unwrap();
    refused("out", &payload, 2, "secret.json: this secret key");
    fs::remove_file(key).unwrap();

    // The same key twice is one mark that is too strong.
    assert_eq!(w.embed(&w.model, "out", &["--payload", PAYLOAD, "--force"]).0, 0);
    let (code, report) = w.embed(&w.path("out"), "twice", &["--target-z", "30"]);
    assert_eq!(code, 2);
    assert!(report["error"].as_str().unwrap().contains("already"), "{report:#}");
    let claim = run(&["watermark", "claim", arg(&w.path("out")), "--key", arg(&w.key)]);
    assert!(claim.code == 2 && claim.stderr.contains("already"), "{}", claim.stderr);

    for bad in [
        &["--payload", "12"][..],
        &["--alpha", "1"],
        &["--target-z", "nan"],
        &["--alpha", "0.1", "--target-z", "3"],
    ] {
        let out = w.path("never");
        let mut args =
            vec!["watermark", "embed", arg(&w.model), "--key", arg(&w.key), "-o", arg(&out)];
        args.extend(bad);
        assert_eq!(run(&args).code, 2, "{bad:?}");
    }
}

#[test]
fn loud_weak_and_faint_marks_are_warned_of() {
    let w = world();
    let marked = |out: &str, extra: &[&str]| {
        let (code, report) = w.embed(&w.model, out, extra);
        assert_eq!(code, 0, "{report:#}");
        rules(&report).into_iter().map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    assert_eq!(
        marked("a", &["--payload", PAYLOAD, "--target-z", "15"]),
        ["watermark/loud", "watermark/payload-weak"]
    );
    assert_eq!(
        marked("b", &["--target-z", "3", "--fail-on", "high"]).last().unwrap(),
        "watermark/faint"
    );
    // A mark for presence alone is found without a payload.
    assert!(marked("c", &["--target-z", "25"]).contains(&"watermark/loud".to_owned()));
    let (code, found) = w.detect(&w.path("c"), &[]);
    let found = &found["watermark"];
    assert_eq!((code, &found["payload"], &found["payload_ok"]), (0, &Value::Null, &false.into()));
    assert!((found["z"].as_f64().unwrap() - 25.0).abs() < 5.0);
}

#[test]
fn expectations_decide_the_exit_code() {
    let w = world();
    assert_eq!(w.embed(&w.model, "out", &["--payload", PAYLOAD, "--force"]).0, 0);
    let (out, other) = (w.path("out"), w.key("other.json"));
    let absent = ["--expect", "absent"];
    let outcome = |(code, report): (i32, Value)| {
        let rules: Vec<String> = rules(&report).into_iter().map(|(rule, _)| rule).collect();
        (code, rules)
    };
    assert_eq!(outcome(w.detect(&out, &[])), (0, vec![]));
    assert_eq!(outcome(w.detect(&out, &absent)), (1, vec!["watermark/present".into()]));
    assert_eq!(outcome(detect(&out, &other, &[])), (1, vec!["watermark/absent".into()]));
    assert_eq!(outcome(detect(&out, &other, &absent)), (0, vec![]));
    assert_eq!(outcome(w.detect(&w.model, &absent)), (0, vec![]));
    // All keys must be as expected.
    let both = ["--key", arg(&other)];
    assert_eq!(outcome(w.detect(&out, &both)), (1, vec!["watermark/absent".into()]));
    let mut both = both.to_vec();
    both.extend(absent);
    assert_eq!(outcome(w.detect(&out, &both)), (1, vec!["watermark/present".into()]));
    assert_eq!(w.try_detect(&out, &["--key", arg(&w.key)]).code, 2, "a key given twice");
}

#[test]
fn an_original_shows_more_and_is_evidence_only_when_published() {
    let w = world();
    assert_eq!(w.embed(&w.model, "out", &["--payload", PAYLOAD, "--force"]).0, 0);
    let (out, original) = (w.path("out"), arg(&w.model).to_owned());
    let (_, blind) = w.detect(&out, &[]);
    let (code, found) = w.detect(&out, &["--original", &original]);
    assert_eq!((code, &found["watermark"]["mode"]), (0, &"informed".into()));
    assert!(found["watermark"]["z"].as_f64() > blind["watermark"]["z"].as_f64());
    assert_eq!(found["watermark"]["tests"].as_array().unwrap().len(), 6, "both ways are counted");
    let remarks = |report: &Value| -> Vec<String> {
        let all = report["findings"].as_array().unwrap();
        all.iter().map(|f| f["rule"].as_str().unwrap().to_owned()).collect()
    };
    let unpublished = "watermark/unpublished-original".to_owned();
    assert!(remarks(&found).contains(&unpublished));
    let (_, inspected) =
        report(&["verify", &original, "--expect-root", &format!("blake3:{}", "0".repeat(64))]);
    let root = inspected["model"]["root"].as_str().unwrap();
    let (code, found) = w.detect(&out, &["--original", &original, "--original-root", root]);
    assert!(code == 0 && !remarks(&found).contains(&unpublished), "{found:#}");
    let zeros = format!("blake3:{}", "0".repeat(64));
    let (code, found) = w.detect(&out, &["--original", &original, "--original-root", &zeros]);
    assert_eq!((code, rules(&found)[0].0.as_str()), (1, "watermark/other-original"));
    assert_eq!(found["watermark"]["mode"], "blind");
    // An original with nothing in common.
    let strange = w.path("strange.safetensors");
    write_tensors(&strange, &[("x", "F32", &[256, 256], f32s(9, 1 << 16))]);
    let (code, found) = w.detect(&out, &["--original", arg(&strange)]);
    assert_eq!((code, rules(&found)[0].0.as_str()), (1, "watermark/other-original"));
}

#[test]
fn keys_that_are_none_are_refused() {
    let w = world();
    let sound = fs::read_to_string(&w.key).unwrap();
    let secret = serde_json::from_str::<Value>(&sound).unwrap()["key"].as_str().unwrap().to_owned();
    let key = w.path("bad.json");
    let refused = |text: &str, mode: u32, words: &str| {
        fs::remove_file(&key).ok();
        fs::write(&key, text).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let out = w.path("out");
        for args in [
            &["watermark", "detect", arg(&w.model), "--key", arg(&key)][..],
            &["watermark", "embed", arg(&w.model), "--key", arg(&key), "-o", arg(&out)],
            &["watermark", "claim", arg(&w.model), "--key", arg(&key)],
        ] {
            let ran = run(args);
            assert!(ran.code == 2 && ran.stderr.contains(words), "{} {}", ran.code, ran.stderr);
            assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{}", ran.stderr);
            assert!(!ran.stderr.contains(&secret[..16]));
        }
    };
    let chmod = format!("chmod 600 {}", arg(&key));
    refused(&sound, 0o644, &chmod);
    refused(&sound[..sound.len() / 2], 0o600, "ends early");
    refused("", 0o600, "ends early");
    refused(&sound.replace("ts-spread/1", "uchida"), 0o600, "\"uchida\"");
    refused("{\"schema\": \"tensorseal.seal/1\"}", 0o600, "schema");
    refused("not a key", 0o600, "malformed");
    let ran = run(&["watermark", "detect", arg(&w.model), "--key", "/nonexistent"]);
    assert_eq!(ran.code, 2);
    assert_eq!(run(&["watermark", "detect", arg(&w.model)]).code, 2, "no key");
}

/// Models with little or nothing to say.
#[test]
fn models_that_carry_nothing_have_a_clear_outcome() {
    let w = world();
    let file = w.path("odd.safetensors");
    let nan: Vec<u8> = (0..1 << 16).flat_map(|_| f32::NAN.to_le_bytes()).collect();
    for (tensor, code, words) in [
        (("x", "F32", &[7, 73][..], f32s(1, 511)), 4, "no tensor can carry a watermark"),
        (("x", "I32", &[512, 512], noise(2, 1 << 20)), 4, "no tensor can carry a watermark"),
        (("x", "F64", &[256, 256], noise(3, 1 << 19)), 4, "no tensor can carry a watermark"),
        (("x", "F32", &[256, 256], nan), 1, "no carrier has a finite non-zero element"),
        (
            ("x", "F32", &[256, 256], vec![0; 1 << 18]),
            1,
            "no carrier has a finite non-zero element",
        ),
        // 128 blocks: a mark that is not forced could not be seen.
        (("x", "F32", &[256, 256], f32s(4, 1 << 16)), 1, "could go undetected"),
    ] {
        write_tensors(&file, &[tensor]);
        let ran = w.try_detect(&file, &[]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(ran.code == code && said.contains(words), "{} {said}", ran.code);
        // Where nothing can be found, absence is not shown, either.
        assert_eq!(w.try_detect(&file, &["--expect", "absent"]).code, code);
        let (code, report) = w.embed(&file, "never.safetensors", &["--payload", PAYLOAD]);
        assert!(code == 2 || code == 4, "{report:#}");
        assert!(!w.path("never.safetensors").exists());
    }
    // Damaged where a result must be produced.
    let whole = safetensors(&tensors()[1..2]);
    fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(w.try_detect(&file, &[]).code, 3);
    assert_eq!(w.embed(&file, "never.safetensors", &[]).0, 3);
    assert_eq!(w.try_detect(&w.path("nothing"), &[]).code, 3);
}

/// Part of a model is damaged, the rest shows the mark.
#[test]
fn damaged_tensors_do_not_hide_a_mark() {
    let w = world();
    assert_eq!(w.embed(&w.model, "out", &["--payload", PAYLOAD, "--force"]).0, 0);
    let path = w.path("out/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let marked = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let place = |name: &str| {
        let data = marked.tensor(name).unwrap().data();
        let start = data.as_ptr() as usize - bytes.as_ptr() as usize;
        start..start + data.len()
    };
    let (nan, zero) =
        (place("model.layers.0.q_proj.weight"), place("model.layers.1.q_proj.weight"));
    bytes[nan].fill(0xFF);
    bytes[zero].fill(0);
    fs::write(&path, bytes).unwrap();
    let (code, found) = w.detect(&w.path("out"), &[]);
    assert_eq!((code, &found["watermark"]["payload"]), (0, &PAYLOAD.into()));
    assert_eq!(found["watermark"]["elements"], 1_101_100 + 1_000_000);
}
