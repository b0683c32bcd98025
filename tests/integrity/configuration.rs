//! Defaults from files and from the environment, and the options that every verb has.

use crate::common::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A sealed model in a directory that holds nothing else.
struct Place {
    dir: TempDir,
}

/// A tensor that an audit finds nothing in: sums of twelve random bytes are nearly normal.
fn weights() -> Tensor<'static> {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| f32::from(*byte)).sum::<f32>();
    let values = noise(1, 12 * 512 * 256);
    let values = values.chunks_exact(12).map(|bytes| (sum(bytes) - 1530.0) / 12800.0);
    ("weight", "F32", &[512, 256], values.flat_map(f32::to_le_bytes).collect())
}

impl Place {
    fn new() -> Place {
        let dir = TempDir::new().unwrap();
        let model = write_model(&dir.path().join("model"), &[weights()]);
        let ran = run(&["seal", arg(&model), "--device", "cpu"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        Place { dir }
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs the program in the directory.
    fn run(&self, args: &[&str], environment: &[(&str, &Path)]) -> Ran {
        let mut command = program(args);
        command.envs(environment.iter().copied()).current_dir(self.dir.path());
        finished(command.output().expect("the program starts"))
    }
}

/// Whether a report was printed as JSON.
fn is_json(ran: &Ran) -> bool {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout.starts_with('{')
}

#[test]
fn flag_before_environment_before_file_before_built_in() {
    let place = Place::new();
    let file = place.write("named.toml", "[defaults]\nformat = \"json\"\ndevice = \"cpu\"\n");
    let named: &[(&str, &Path)] = &[("TENSORSEAL_CONFIG", &file)];
    let human: &[(&str, &Path)] = &[named[0], ("TENSORSEAL_FORMAT", Path::new("human"))];
    let verify = ["verify", "model"];
    assert!(!is_json(&place.run(&verify, &[])), "built in");
    assert!(is_json(&place.run(&verify, named)), "file");
    assert!(!is_json(&place.run(&verify, human)), "environment before file");
    let flag = ["verify", "model", "--format", "json"];
    assert!(is_json(&place.run(&flag, human)), "flag before environment");
    assert!(!is_json(&place.run(&["verify", "model", "--no-config"], named)), "no file");
    let by_flag = ["verify", "model", "--config", arg(&file)];
    assert!(is_json(&place.run(&by_flag, &[])), "named by flag");
}

#[test]
fn the_file_of_the_user_is_read_and_named_in_the_log() {
    let place = Place::new();
    let file = place.write("config/tensorseal/tensorseal.toml", "[defaults]\nformat = \"json\"\n");
    let config = place.dir.path().join("config");
    let ran = place.run(&["verify", "model", "-v"], &[("XDG_CONFIG_HOME", &config)]);
    assert!(is_json(&ran));
    assert!(ran.stderr.contains(arg(&file)), "{}", ran.stderr);
}

/// A gate runs in directories that others fill.
#[test]
fn neither_the_working_directory_nor_the_model_is_searched() {
    let place = Place::new();
    for path in [
        "tensorseal.toml",
        ".config/tensorseal/tensorseal.toml",
        "tensorseal/tensorseal.toml",
        "model/tensorseal.toml",
    ] {
        place.write(path, "[defaults]\nformat = \"json\"\nnonsense = 1\n");
    }
    let relative: &[(&str, &Path)] =
        &[("XDG_CONFIG_HOME", Path::new(".")), ("HOME", Path::new("."))];
    let ran = place.run(&["inspect", "model", "-v"], relative);
    assert!(!is_json(&ran));
    assert!(ran.stderr.contains("no configuration file"), "{}", ran.stderr);
}

#[test]
fn what_decides_a_verdict_is_refused() {
    let place = Place::new();
    for (text, words) in [
        ("fail-on = \"critical\"", "use --fail-on or a policy"),
        ("allow-symlinks = true", "use --allow-symlinks or a policy"),
        ("expect-root = \"blake3:00\"", "use --expect-root or a policy"),
        ("treads = 2", "unknown key `treads`"),
        ("threads = \"two\"", "key `threads`"),
    ] {
        let file = place.write("bad.toml", &format!("[defaults]\n\n{text}\n"));
        let ran = place.run(&["verify", "model", "--config", arg(&file)], &[]);
        assert_eq!(ran.code, 2, "{text}");
        assert_eq!(ran.stdout, "");
        let expected = format!("{}: line 3: ", file.display());
        assert!(ran.stderr.contains(&expected) && ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    let ran = place.run(&["verify", "model", "--config", "absent.toml"], &[]);
    assert!(ran.code == 2 && ran.stderr.contains("absent.toml"), "{}", ran.stderr);
}

/// The table of the documentation is what the program takes.
#[test]
fn documented_keys_and_variables_are_those_that_there_are() {
    let place = Place::new();
    let text = include_str!("../../docs/configuration.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let help = place.run(&["verify", "--help"], &[]).stdout;
    for row in &rows {
        let (key, variable) = (row[1], row[2]);
        assert!(help.contains(&format!("--{key}")), "{key}");
        assert!(help.contains(&format!("[env: {variable}]")), "{variable}");
    }
    assert_eq!(rows.len(), help.matches("[env: ").count());
    let file = place.write("bad.toml", "[defaults]\nnonsense = 1\n");
    let error = place.run(&["verify", "model", "--config", arg(&file)], &[]).stderr;
    let known = error.trim_end().split("the keys are ").nth(1).unwrap();
    let documented: Vec<&str> = rows.iter().map(|row| row[1]).collect();
    assert_eq!(known, documented.join(", "));
    // The example of the file, and its variables.
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let file = place.write("example.toml", example);
    let environment: &[(&str, &Path)] = &[
        ("TENSORSEAL_CONFIG", &file),
        ("TENSORSEAL_THREADS", Path::new("1")),
        ("TENSORSEAL_CROSS_CHECK", Path::new("0")),
        ("TENSORSEAL_QUIET", Path::new("0")),
        ("TENSORSEAL_VERBOSE", Path::new("1")),
    ];
    let ran = place.run(&["verify", "model"], environment);
    assert!(ran.code == 0 && ran.stdout.contains("PASS"), "{} {}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("threads=1"), "{}", ran.stderr);
    let quiet = [environment[0], ("TENSORSEAL_QUIET", Path::new("1"))];
    assert_eq!(place.run(&["verify", "model"], &quiet).stdout, "");
}

/// The log says what was opened and measured, leaves the report alone, and has nothing of other libraries.
#[test]
fn the_log_goes_to_standard_error() {
    let place = Place::new();
    let args = ["verify", "model", "--format", "json", "--device", "cpu"];
    let plain = place.run(&args, &[]);
    assert!(!plain.stderr.contains("DEBUG"), "{}", plain.stderr);
    let some = place.run(&[&args[..], &["-v"]].concat(), &[]);
    for words in ["opened the model", "model.safetensors", "read the seal", "finished measuring"] {
        assert!(some.stderr.contains(words), "{words}: {}", some.stderr);
    }
    assert!(!some.stderr.contains("TRACE"), "{}", some.stderr);
    assert!(is_json(&some));
    let more = place.run(&[&args[..], &["-vv"]].concat(), &[]);
    assert!(more.stderr.contains("config.json") && more.stderr.contains("TRACE"));
    let filter: &[(&str, &Path)] = &[("TENSORSEAL_LOG", Path::new("tensorseal_engine=debug"))];
    let filtered = place.run(&args, filter);
    let mut lines = filtered.stderr.lines().filter(|line| line.contains("DEBUG")).peekable();
    assert!(lines.peek().is_some());
    assert!(lines.all(|line| line.contains("tensorseal_engine")), "{}", filtered.stderr);
    let wrong = place.run(&args, &[("TENSORSEAL_LOG", Path::new("a=b=c"))]);
    assert!(wrong.code == 2 && wrong.stderr.contains("TENSORSEAL_LOG"), "{}", wrong.stderr);
}

#[test]
fn findings_that_are_not_shown_say_how_to_show_them() {
    let place = Place::new();
    // Unused bytes behind the data are worth knowing, and no more.
    let model = place.dir.path().join("linked");
    write_model(&model, &small_tensors(1));
    let target = place.write("outside/config.json", "{}");
    std::os::unix::fs::symlink(&target, model.join("linked.json")).unwrap();
    let args = ["inspect", "linked", "--allow-symlinks"];
    let plain = place.run(&args, &[]);
    let hint = "1 info finding not shown; show it with --show info\n";
    assert!(plain.stdout.contains(hint), "{}", plain.stdout);
    let shown = place.run(&[&args[..], &["--show", "info"]].concat(), &[]);
    assert!(!shown.stdout.contains("not shown"), "{}", shown.stdout);
    assert!(shown.stdout.contains("\ninfo      format/link-followed"), "{}", shown.stdout);
    assert_eq!(plain.code, shown.code);
    // What fails is always shown.
    let failing = [&args[..], &["--show", "critical", "--fail-on", "info"]].concat();
    let failing = place.run(&failing, &[]);
    assert!(failing.code == 1 && failing.stdout.contains("format/link-followed"));
}

/// From the first command to a gated model, by what the program prints.
#[test]
fn every_step_names_the_next() {
    let place = Place::new();
    let next = |ran: &Ran| {
        let line = ran.stderr.lines().find(|line| line.contains("next: "));
        line.unwrap_or_else(|| panic!("{}", ran.stderr)).to_owned()
    };
    let sealed = place.run(&["seal", "model"], &[]);
    assert!(next(&sealed).ends_with("`tensorseal sign model --attest seal --key KEY.pem`"));
    let fixtures = oms::Fixtures::new();
    for (from, to) in [("keys/p256.priv.pem", "key.pem"), ("keys/p256.pub.pem", "pub.pem")] {
        fs::copy(fixtures.path(from), place.dir.path().join(to)).unwrap();
    }
    let sign = ["sign", "model", "--attest", "seal", "--key", "key.pem"];
    let signed = place.run(&sign, &[]);
    let verify = "`tensorseal verify model --signature model/model.sig --public-key PUB.pem`";
    assert!(next(&signed).ends_with(verify), "{}", signed.stderr);
    assert!(next(&signed).contains("`openssl pkey -in key.pem -pubout -out PUB.pem`"));
    let verify = ["verify", "model", "--signature", "model/model.sig", "--public-key", "pub.pem"];
    assert_eq!(place.run(&verify, &[]).code, 0);
    // Trust implies a signature: that of the model, or an error.
    let trusting = place.run(&["verify", "model", "--public-key", "pub.pem"], &[]);
    assert!(trusting.code == 0 && trusting.stdout.contains("signature model/model.sig"));
    fs::rename(place.dir.path().join("model/model.sig"), place.dir.path().join("away")).unwrap();
    let without = place.run(&["verify", "model", "--public-key", "pub.pem"], &[]);
    assert!(without.code == 2 && without.stderr.contains("no signature at model/model.sig"));
    fs::rename(place.dir.path().join("away"), place.dir.path().join("model/model.sig")).unwrap();
    let printed = place.run(&["gate", "--print-policy"], &[]);
    assert!(next(&printed).ends_with("`tensorseal gate MODEL --policy policy.toml`"));
    place.write("policy.toml", &printed.stdout.replace("release.pub.pem", "pub.pem"));
    let gated = place.run(&["gate", "model", "--policy", "policy.toml"], &[]);
    assert_eq!(gated.code, 0, "{}", gated.stdout);
    // Not in quiet runs, and not behind JSON.
    for extra in [&["--quiet"][..], &["--format", "json"]] {
        let ran = place.run(&[&["seal", "model"][..], extra].concat(), &[]);
        assert!(!ran.stderr.contains("next: "), "{}", ran.stderr);
    }
}
