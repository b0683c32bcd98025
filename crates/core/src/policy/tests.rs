use super::*;
use crate::judge::Severity;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

const HEAD: &str = "schema = \"tensorseal.policy/1\"\n";

fn parsed(body: &str) -> Policy {
    Policy::parse(&format!("{HEAD}{body}")).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn refused(body: &str) -> PolicyError {
    let result = Policy::parse(&format!("{HEAD}{body}"));
    result.expect_err(body)
}

/// The default with the keys set that it does not set.
fn complete() -> String {
    DEFAULT
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_default_is_a_policy_and_so_is_each_key_of_it() {
    let policy = Policy::parse(DEFAULT).unwrap();
    assert!(policy.signature.required && policy.audit && policy.wants_audit());
    assert_eq!(policy.signature.keys, [Path::new("release.pub.pem")]);
    assert!(policy.exceptions.is_empty() && policy.watermarks.is_empty());
    let policy = Policy::parse(&complete()).unwrap();
    assert_eq!(policy.exceptions[0].rule, "weights/row-outlier");
    assert_eq!(policy.watermarks[0].max_log10_p, -12.0);
    assert_eq!(policy.severity.len(), Area::ALL.len());
    assert_eq!(policy.attestations.max_age.unwrap().to_string(), "30d");
    assert_eq!((policy.code, policy.unknown), (CodeAllowed::Pinned, UnknownFiles::Pinned));
    assert!(policy.wants_pins() && policy.wants_digests());
}

/// Keys that a table takes, as the reader of it says when it is given another.
fn keys(table: &str) -> BTreeSet<String> {
    let array = ["watermark", "allow"].contains(&table);
    let body = match table {
        "" => "zzz = 1\n".to_owned(),
        table if array => format!("[[{table}]]\nzzz = 1\n"),
        table => format!("[{table}]\nzzz = 1\n"),
    };
    let error = refused(&body);
    assert!(error.message.starts_with("unknown field `zzz`"), "{table}: {error}");
    let (_, known) = error.message.split_once("expected ").unwrap();
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_default_names_each_key_that_there_is() {
    let document: toml::Table = toml::from_str(&complete()).unwrap();
    let top: BTreeSet<String> = document.keys().cloned().collect();
    assert_eq!(top, keys(""));
    for (name, value) in &document {
        let table = match value {
            toml::Value::Table(table) => table,
            toml::Value::Array(tables) => tables[0].as_table().unwrap(),
            _ => continue,
        };
        let mut written: BTreeSet<String> = table.keys().cloned().collect();
        // It says of this that it is not built in.
        if name == "signature" {
            assert!(written.insert("keyless".to_owned()));
        }
        assert_eq!(written, keys(name), "[{name}]");
    }
    for table in ["signature.keyless"] {
        let (_, section) = DEFAULT.split_once(&format!("[{table}]")).unwrap();
        let section = section.lines().next().unwrap();
        for key in keys(table) {
            assert!(section.contains(&key), "[{table}] {key}");
        }
    }
}

#[test]
fn what_is_not_said_has_a_strict_meaning() {
    let policy = parsed("");
    assert!(!policy.signature.is_active() && !policy.wants_audit());
    assert!(!policy.signature.allow_unsigned_files && !policy.signature.allow_symlinks);
    assert!(policy.signature.allow_ignored_paths.is_empty());
    assert_eq!(policy.unmeasured.len(), 5);
    assert!(policy.formats.is_none() && policy.dtypes.is_none());
    assert_eq!((policy.code, policy.unknown), (CodeAllowed::Any, UnknownFiles::List));
    assert!(!policy.wants_weights() && !policy.wants_pins() && !policy.wants_digests());
    assert!(parsed("[dtypes]\nallowed = [\"F32\"]").wants_weights());
    let formats = parsed("[formats]\nallowed = [\"onnx\", \"raw-weights\", \"torch\"]").formats;
    assert_eq!(formats.unwrap(), ["onnx", "raw-weights", "torch"]);
    assert!(parsed("[severity]\nweights = \"none\"").wants_audit());
    assert_eq!(
        parsed("[severity]\nformat = \"high\"").severity,
        [(Area::Format, Limit::Upto(Severity::High))]
    );
}

#[test]
fn errors_name_line_column_and_key() {
    let shown = |body: &str| refused(body).to_string();
    for (body, start) in [
        ("[signature]\nrequierd = true\n", "line 3, column 1: signature.requierd: unknown field"),
        ("[signature]\nrequired = 1\n", "line 3, column 12: signature.required: invalid type"),
        (
            "[signature]\nkeys = [\"a\", \"\"]\n",
            "line 3, column 14: signature.keys[1]: must not be empty",
        ),
        (
            "[signature]\nrequired = true\n",
            "line 3, column 12: signature.required: needs trusted signers",
        ),
        (
            "[formats]\nallowed = [\"pickle\"]\n",
            "line 3, column 12: formats.allowed[0]: expected one of safetensors",
        ),
        ("[[allow]]\nrule = \"weights/x\"\n", "line 2, column 1: allow[0]: missing field `reason`"),
        (
            "dtypes = { allowed = [\"f32\"] }",
            "line 2, column 23: dtypes.allowed[0]: unknown element type",
        ),
        ("[seal\n", "line 2, column 6: "),
    ] {
        let message = shown(body);
        assert!(message.starts_with(start), "{body}\n{message}\nexpected {start}");
        assert!(!message.contains('\n'), "{message}");
    }
    let error = Policy::parse("schema = \"tensorseal.policy/2\"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 10: schema: unsupported schema: this version reads \"tensorseal.policy/1\""
    );
    assert!(Policy::parse("").unwrap_err().message.contains("missing field `schema`"));
}

const DIGEST: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";

const ALLOW: &str =
    "[[allow]]\nrule = \"weights/row-outlier\"\nreason = \"r\"\nexpires = 2027-01-31\n";

#[test]
fn values_are_checked() {
    let with = |line: &str| {
        let key = line.split(' ').next().unwrap();
        let kept = ALLOW.lines().filter(|line| !line.starts_with(key));
        kept.chain([line]).fold(String::new(), |text, line| text + line + "\n")
    };
    assert_eq!(parsed(ALLOW).exceptions.len(), 1);
    let keys = "[signature]\nkeys = [\"k\"]\n";
    for (body, expected) in [
        (with("rule = \"weights/row-outlyer\""), "similar rules are weights/row-outlier"),
        (with("rule = \"weights/*\""), "unknown rule"),
        (with("rule = \"policy/not-checked\""), "do not apply to requirements"),
        (with("reason = \" \""), "must not be empty"),
        (with("expires = \"2027-01-31\""), "string"),
        (with("expires = 2027-01-31T10:00:00Z"), "expected a date"),
        (with("expires = 2027-02-30"), ""),
        (with("tensor = \"\""), "must not be empty"),
        (with(&format!("digest = \"{DIGEST}\"")), "needs a file"),
        (with("file = \"a\"\ndigest = \"blake3:ab\""), "64 lower-case"),
        (with("file = \"a\"\ndigest = \"sha256:ab\""), "64 lower-case"),
        (with("digest = 1"), "string"),
        (with("rule = \"format/pickle-global\""), "with `file` and `digest`"),
        (with("rule = \"format/pickle-call\"\nfile = \"a\""), "with `file` and `digest`"),
        (with("rule = \"format/torchscript\"\nfile = \"a\""), "with `file` and `digest`"),
        ("code = \"some\"".to_owned(), "expected one of none, pinned, any"),
        ("code = true".to_owned(), "string"),
        ("[code]\nallowed = \"any\"".to_owned(), "string"),
        ("[files]\nunknown = \"any\"".to_owned(), "expected one of fail, pinned, list"),
        ("[files]\nunknown = []".to_owned(), "string"),
        ("[files]\nknown = \"list\"".to_owned(), "unknown field"),
        ("[seal]\nexpect_digest = []".to_owned(), "must not be empty"),
        ("[seal]\nexpect_digest = [\"blake3:AB\"]".to_owned(), "64 lower-case"),
        (format!("[seal]\nexpect_digest = [\"{DIGEST}\", \"{DIGEST}\"]"), "twice"),
        (
            "[formats]\nallowed = [\"torch-zip\"]".to_owned(),
            "expected one of safetensors, gguf, torch",
        ),
        ("[formats]\nallowed = [\"json\"]".to_owned(), "expected one of"),
        ("[severity]\ncontent = \"some\"".to_owned(), "expected none, info"),
        (with(&format!("reason = \"{}\"", "x".repeat(4097))), "longer than 4096"),
        (format!("{keys}identities = []"), "must not be empty"),
        (format!("{keys}identities = [\"**\"]"), "matches everyone"),
        (format!("{keys}identities = [\"sha256:*\"]"), "all 64"),
        ("[signature]\nidentities = [\"a\"]".to_owned(), "needs trusted signers"),
        (format!("{keys}hash = [\"md5\"]"), "expected one of sha256, blake2b, blake3"),
        (format!("{keys}hash = [\"sha256\", \"sha256\"]"), "twice"),
        ("[seal]\nrequired = true\nsigned = true".to_owned(), "needs trusted signers"),
        (format!("{keys}[seal]\nsigned = true"), "only to a required seal"),
        ("[seal]\nexpect_root = [\"blake3:AB\"]".to_owned(), "64 lower-case"),
        ("[attestations]\nrequired = [\"seal\"]".to_owned(), "needs trusted signers"),
        (format!("{keys}[attestations]\nmax_age = \"30d\""), "only to required attestations"),
        ("[registry]\nmax_age = \"30d\"".to_owned(), "only to a required check"),
        (
            format!("{keys}[attestations]\nrequired = [\"seal\"]\nmax_age = \"1y\""),
            "expected an age",
        ),
        ("[severity]\nweights = \"Low\"".to_owned(), "expected none, info"),
        ("[severity]\npolicy = \"low\"".to_owned(), "unknown field"),
        ("[formats]\nallowed = []".to_owned(), "must not be empty"),
        ("[[watermark]]\nkey = \"k\"\nexpect = \"maybe\"".to_owned(), "\"present\" or \"absent\""),
        (
            "[[watermark]]\nkey = \"k\"\nexpect = \"present\"\nmax_log10_p = -1.0".to_owned(),
            "from -10000 to -9",
        ),
        (
            "[[watermark]]\nkey = \"k\"\nexpect = \"present\"\nmax_log10_p = nan".to_owned(),
            "from -10000 to -9",
        ),
        (
            "[[watermark]]\nkey = \"k\"\nexpect = \"absent\"\nmax_log10_p = -12.0".to_owned(),
            "expected to be present",
        ),
    ] {
        let error = refused(&body);
        assert!(error.to_string().contains(expected), "{body}\n{error}\nexpected {expected}");
        assert!(!error.not_built_in, "{body}");
    }
}

#[test]
fn an_exception_of_what_is_executed_names_one_content() {
    let text = format!(
        "{}file = \"*.bin\"\ndigest = \"{DIGEST}\"\n",
        ALLOW.replace("weights/row-outlier", "format/pickle-global")
    );
    let policy = parsed(&text);
    assert_eq!(policy.exceptions[0].digest.as_deref(), Some(DIGEST));
    assert!(policy.wants_digests());
    assert_eq!(parsed(ALLOW).exceptions[0].digest, None);
}

#[test]
fn what_is_not_built_in_is_refused_as_that() {
    for (body, key) in [
        ("[signature.keyless]\nidentity = \"a\"\nissuer = \"b\"\n", "signature.keyless"),
        ("[signature]\nkeys = [\"k\"]\nkeyless = { issuer = \"b\" }\n", "signature.keyless"),
    ] {
        let error = refused(body);
        assert!(error.not_built_in && error.message.contains("not built in"), "{error}");
        assert_eq!(error.key, key, "{body}");
    }
}

#[test]
fn files_are_bounded_and_paths_are_relative_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.toml");
    std::fs::write(&path, DEFAULT).unwrap();
    let file = PolicyFile::read(&path).unwrap();
    assert_eq!(file.policy, Policy::parse(DEFAULT).unwrap());
    assert_eq!(file.resolve(Path::new("release.pub.pem")), dir.path().join("release.pub.pem"));
    assert_eq!(file.resolve(Path::new("/etc/key.pem")), Path::new("/etc/key.pem"));
    std::fs::write(&path, vec![b'#'; MAX_BYTES + 1]).unwrap();
    assert!(matches!(PolicyFile::read(&path), Err(PolicyReadError::TooLarge { .. })));
    std::fs::write(&path, b"schema = \"\xff\"").unwrap();
    assert!(matches!(PolicyFile::read(&path), Err(PolicyReadError::NotUtf8 { at: 10, .. })));
    std::fs::write(&path, "x = 1").unwrap();
    assert!(
        PolicyFile::read(&path)
            .unwrap_err()
            .to_string()
            .contains("policy.toml: line 1, column 1: x")
    );
    assert!(matches!(PolicyFile::read(dir.path()), Err(PolicyReadError::Io { .. })));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]={}\"#.a-z0-9é\n -]{0,60}", cut in 0usize..4000) {
        let _ = Policy::parse(&format!("{HEAD}{text}"));
        let whole = complete();
        let mut cut = cut.min(whole.len());
        while !whole.is_char_boundary(cut) {
            cut -= 1;
        }
        if let Err(error) = Policy::parse(&format!("{}{text}{}", &whole[..cut], &whole[cut..])) {
            prop_assert!(error.line >= 1 && error.column >= 1);
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
