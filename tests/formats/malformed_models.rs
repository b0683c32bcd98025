//! Every malformed model gives its named problem, every legal oddity none.

use crate::common::malformed;
use crate::common::malformed::{MODEL, cases, legal, sound, write};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};
use tensorseal_base::severity::Severity;
use tensorseal_format::{
    Checkpoint, FileKind, LinkTarget, ModelFile, OpenError, OpenOptions, SkipReason,
};

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &OpenOptions::default()).unwrap()
}

fn names(model: &Checkpoint) -> Vec<&str> {
    model.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

/// What holds for any model, however malformed.
fn check_invariants(name: &str, model: &Checkpoint) {
    let mut seen = HashSet::new();
    let mut last = (0, 0);
    for tensor in &model.tensors {
        assert!(seen.insert(&tensor.name), "{name}: {} twice", tensor.name);
        let file = &model.files[tensor.file];
        let from = if last.0 == tensor.file { last.1 } else { 0 };
        assert!(tensor.offset >= from && tensor.offset + tensor.bytes <= file.bytes, "{name}");
        assert_eq!(file.kind, FileKind::Tensors, "{name}");
        last = (tensor.file, tensor.offset + tensor.bytes);
    }
    assert!(model.model_files().is_sorted_by(|a, b| a.path < b.path), "{name}");
    for (at, file) in model.files.iter().enumerate() {
        let inside: u64 = model.tensors_of(at).iter().map(|tensor| tensor.bytes).sum();
        let outside: u64 = model.gaps(at).iter().map(|[from, to]| to - from).sum();
        assert_eq!(inside + outside, file.bytes, "{name}: {}", file.path);
    }
    for problem in model.problems.iter().chain(&model.remarks) {
        assert!(!problem.message.chars().any(char::is_control), "{name}: {:?}", problem.message);
        assert!(problem.message.len() < 2000, "{name}: {}", problem.message);
        assert!(problem.rule.starts_with("format/"), "{name}: {}", problem.rule);
        if let Some([from, to]) = problem.byte_range {
            assert!(from <= to, "{name}: {problem:?}");
        }
    }
    assert!(model.problems.len() < 100, "{name}");
}

#[test]
fn every_malformed_model_gives_its_problem() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut seen = HashSet::new();
    let mut failures = Vec::new();
    for case in cases {
        assert!(seen.insert(case.name), "{} twice", case.name);
        let dir = tempfile::tempdir().unwrap();
        let path = (case.build)(dir.path());
        let start = Instant::now();
        let model = open(&path);
        let took = start.elapsed();
        check_invariants(case.name, &model);
        let rules: BTreeSet<_> = model.problems.iter().map(|problem| problem.rule).collect();
        let found = model.problems.iter().any(|p| p.rule == case.rule && p.file == case.file);
        if !found || rules.len() != 1 || took > Duration::from_secs(10) {
            failures.push(format!("{} ({took:?}): {:#?}", case.name, model.problems));
        }
        if std::env::var_os("TENSORSEAL_SHOW").is_some() {
            let problem = &model.problems[0];
            println!("{}: {} {}", case.name, problem.rule, problem.message);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn legal_oddities_give_no_problem() {
    let mut seen = HashSet::new();
    for case in legal() {
        assert!(seen.insert(case.name), "{} twice", case.name);
        let dir = tempfile::tempdir().unwrap();
        let model = open(&(case.build)(dir.path()));
        check_invariants(case.name, &model);
        assert_eq!(model.problems, [], "{}", case.name);
        assert_eq!(model.tensors.len(), case.tensors, "{}", case.name);
    }
}

#[test]
fn what_cannot_be_examined_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = Checkpoint::open(&missing, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotFound { .. }));
    assert!(error.to_string().contains("missing"), "{error}");
    #[cfg(unix)]
    {
        let pipe = dir.path().join("pipe");
        malformed::fifo(&pipe);
        let error = Checkpoint::open(&pipe, &OpenOptions::default()).unwrap_err();
        assert!(matches!(error, OpenError::Special { .. }), "{error}");
    }
}

#[test]
fn a_truncated_file_keeps_its_sound_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = sound(&["a", "b", "c"]);
    write(dir.path(), "unet/model.safetensors", &bytes[..bytes.len() - 9]);
    let model = open(dir.path());
    assert_eq!(names(&model), ["unet/a"]);
    let [problem] = &model.problems[..] else { panic!("{:?}", model.problems) };
    assert_eq!(problem.affected, ["unet/b", "unet/c"]);
    let end = bytes.len() as u64;
    assert_eq!(problem.byte_range, Some([end - 9, end]));
    assert_eq!(problem.severity, Severity::High);
}

#[test]
fn the_tensor_of_a_problem_has_the_name_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = malformed::safetensors(
        format!("{{{}}}", malformed::entry("x", "f32", "[2]", 0, 8)),
        &[0; 8],
    );
    write(dir.path(), "unet/model.safetensors", bytes);
    let model = open(dir.path());
    assert_eq!(model.problems[0].tensor.as_deref(), Some("unet/x"));
    assert_eq!(model.files[0].kind, FileKind::Damaged);
}

#[test]
fn names_are_qualified_where_they_must_be() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, MODEL, sound(&["a", "b"]));
    write(d, "model.fp16.safetensors", sound(&["a", "b"]));
    write(d, "other.safetensors", sound(&["c"]));
    write(d, "unet/model.safetensors", sound(&["a"]));
    let model = open(d);
    assert_eq!(
        names(&model),
        [
            "model.fp16.safetensors:a",
            "model.fp16.safetensors:b",
            "model.safetensors:a",
            "model.safetensors:b",
            "c",
            "unet/a"
        ]
    );
    assert_eq!(model.remarks.len(), 2);
    assert!(model.remarks.iter().all(|remark| remark.rule == "format/shared-names"));
}

#[test]
fn an_added_file_renames_nothing_that_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, MODEL, sound(&["a", "b"]));
    write(d, "unet/x.safetensors", sound(&["u"]));
    let expected = open(d).files.into_iter().map(|file| file.path).collect();
    // A variant, an index that speaks for neither, and a file that takes a qualified name.
    write(d, "aaa.safetensors", sound(&["a", "unet/u"]));
    let text = r#"{"weight_map":{"a":"aaa.safetensors","u":"unet/x.safetensors"}}"#;
    write(d, "model.safetensors.index.json", text);
    let mut options = OpenOptions::default();
    options.expected_files = Some(expected);
    let model = Checkpoint::open(d, &options).unwrap();
    let of = |path: &str| {
        let file = model.files.iter().position(|file| file.path == path).unwrap();
        model.tensors_of(file).iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(MODEL), ["a", "b"]);
    assert_eq!(of("unet/x.safetensors"), ["unet/u"]);
    assert_eq!(of("aaa.safetensors"), ["aaa.safetensors:a", "aaa.safetensors:unet/u"]);
}

#[test]
fn of_two_indexes_the_plain_one_names_the_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    for variant in ["", ".fp16"] {
        let shard = format!("diffusion{variant}-1.safetensors");
        write(d, &shard, sound(&["a"]));
        let index = format!("diffusion.safetensors.index{variant}.json");
        let index = index.replace(".safetensors.index.fp16", ".fp16.safetensors.index");
        write(d, &index, format!(r#"{{"weight_map":{{"a":"{shard}"}}}}"#));
    }
    let model = open(d);
    assert_eq!(model.problems, []);
    assert_eq!(names(&model), ["a", "diffusion.fp16-1.safetensors:a"]);
}

#[test]
fn what_is_left_out_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, MODEL, sound(&["a"]));
    write(d, ".git/config", "");
    write(d, "sub/.git/config", "");
    write(d, ".cache/huggingface/x", "");
    write(d, ".cache/y", "");
    write(d, "tensorseal.seal.json", "{}");
    let exclude = vec!["tensorseal.seal.json".to_owned(), "absent".to_owned()];
    let model = Checkpoint::open(d, &{
        let mut options = OpenOptions::default();
        options.exclude = exclude;
        options
    })
    .unwrap();
    let left: Vec<_> = model.skipped.iter().map(|left| left.path.as_str()).collect();
    assert_eq!(left, [".cache/huggingface", ".git", "tensorseal.seal.json"]);
    let files: Vec<_> = model.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, [".cache/y", MODEL, "sub/.git/config"]);
}

/// What a signature covers and no seal does is listed behind the model, and changes nothing of it.
#[test]
fn what_is_beside_the_model_is_listed_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, MODEL, sound(&["a"]));
    write(d, "config.json", "{}");
    write(d, ".gitattributes", "");
    write(d, ".cache/huggingface/download/x.safetensors", sound(&["b"]));
    write(d, ".cache/huggingface/model.safetensors.index.json", "not an index");
    write(d, "tensorseal.seal.json", "{}");
    write(d, "model.sig", "{}");
    let mut options = OpenOptions::default();
    options.exclude = vec!["model.sig".to_owned()];
    options.seals = vec!["tensorseal.seal.json".to_owned()];
    let plain = Checkpoint::open(d, &options).unwrap();
    let model = Checkpoint::open(d, &{
        let mut options = options;
        options.list_signed_only = true;
        options
    })
    .unwrap();
    check_invariants("beside", &model);
    assert_eq!((&model.problems, &model.remarks), (&plain.problems, &plain.remarks));
    assert_eq!((&model.tensors, &model.skipped), (&plain.tensors, &plain.skipped));
    let paths = |files: &[ModelFile]| files.iter().map(|f| f.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(model.model_files()), ["config.json", MODEL]);
    assert_eq!(paths(&plain.files), paths(model.model_files()));
    let beside: Vec<_> =
        model.files[2..].iter().map(|f| (&*f.path, f.signed_only, f.kind)).collect();
    let notes = Some(SkipReason::Downloader);
    assert_eq!(
        beside,
        [
            (".cache/huggingface/download/x.safetensors", notes, FileKind::Other),
            (".cache/huggingface/model.safetensors.index.json", notes, FileKind::Other),
            ("tensorseal.seal.json", Some(SkipReason::Seal), FileKind::Other),
        ]
    );
    let kinds: Vec<_> = model.skipped.iter().map(|left| (&*left.path, left.kind)).collect();
    assert_eq!(
        kinds,
        [
            (".cache/huggingface", SkipReason::Downloader),
            (".gitattributes", SkipReason::Git),
            ("model.sig", SkipReason::Excluded),
            ("tensorseal.seal.json", SkipReason::Seal),
        ]
    );
}

#[cfg(unix)]
#[test]
fn files_tell_where_links_to_them_lead() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let model = d.join("models--a--b/snapshots/0123");
    write(d, "models--a--b/blobs/5a", sound(&["a"]));
    write(d, "elsewhere/notes.txt", "");
    write(d, "models--a--b/snapshots/0123/config.json", "{}");
    symlink("../../blobs/5a", model.join(MODEL)).unwrap();
    symlink("config.json", model.join("copy.json")).unwrap();
    symlink(d.join("elsewhere"), model.join("more")).unwrap();
    symlink(model.join("config.json"), d.join("elsewhere/back.json")).unwrap();
    let mut options = OpenOptions::default();
    options.allow_symlinks = true;
    let opened = Checkpoint::open(&model, &options).unwrap();
    assert_eq!(opened.problems, []);
    let links: Vec<_> = opened.files.iter().map(|f| (&*f.path, f.link)).collect();
    assert_eq!(
        links,
        [
            ("config.json", None),
            ("copy.json", Some(LinkTarget::Inside)),
            (MODEL, Some(LinkTarget::Blobs)),
            ("more/back.json", Some(LinkTarget::Outside)),
            ("more/notes.txt", Some(LinkTarget::Outside)),
        ]
    );
    let alone = Checkpoint::open(&model.join(MODEL), &OpenOptions::default()).unwrap();
    assert_eq!(alone.files[0].link, Some(LinkTarget::Blobs));
}

#[cfg(unix)]
#[test]
fn links_out_are_followed_when_allowed() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(d, "outside/model.safetensors", sound(&["b"]));
    write(d, "weights", sound(&["a"]));
    write(d, "model/config.json", "{}");
    symlink("../weights", d.join("model/model.safetensors")).unwrap();
    symlink("../outside", d.join("model/more")).unwrap();
    symlink("../outside", d.join("model/once-more")).unwrap();
    symlink("..", d.join("outside/up")).unwrap();
    let mut options = OpenOptions::default();
    options.allow_symlinks = true;
    let model = Checkpoint::open(&d.join("model"), &options).unwrap();
    check_invariants("allowed", &model);
    assert_eq!(names(&model), ["a", "more/b"]);
    assert!(model.remarks.iter().all(|remark| remark.rule == "format/link-followed"));
    // `more/up` leads to a directory that it stands in.
    assert_eq!(model.problems.len(), 1, "{:?}", model.problems);
    assert_eq!(model.problems[0].rule, "format/link-cycle");
    assert!(model.skipped.iter().any(|left| left.path == "once-more"));
    let links: Vec<_> = model.links.iter().map(|link| (&*link.path, &*link.target)).collect();
    assert_eq!(links, [("once-more", "more")], "a directory that is covered under another path");
}

#[test]
fn many_tensors_are_listed_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> =
        (0..100_000).map(|n| format!("model.layers.{n}.self_attn.q_proj.weight")).collect();
    write(dir.path(), MODEL, sound(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    let start = Instant::now();
    let model = open(dir.path());
    println!("100,000 tensors: {:?}", start.elapsed());
    assert_eq!((model.tensors.len(), model.problems.len()), (100_000, 0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn hostile_sizes_take_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let map: Vec<String> =
        (0..200_000).map(|n| format!(r#""t{n}":"shard-{n}.safetensors""#)).collect();
    let text = format!(r#"{{"weight_map":{{{}}}}}"#, map.join(","));
    write(dir.path(), "model.safetensors.index.json", text);
    let long = "n".repeat(20_000_000);
    let header = format!(r#"{{"{long}":{{"dtype":"{long}","shape":[],"{long}":[]}}}}"#);
    write(dir.path(), MODEL, malformed::safetensors(header, &[]));
    let start = Instant::now();
    let model = open(dir.path());
    check_invariants("hostile sizes", &model);
    println!("hostile sizes: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20));
}
