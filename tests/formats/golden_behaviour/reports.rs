//! What is written to files.

use super::models::*;
use super::run::Sequence;
use crate::common::*;
use std::fs;
use std::path::Path;

/// Reports in every format.
pub(super) fn sequences() -> Vec<Sequence> {
    const FILES: [&str; 8] = [
        "out.json",
        "out.human",
        "out.html",
        "out.sarif",
        "out.junit",
        "out.markdown",
        "out.github",
        "out.cyclonedx",
    ];
    let formats = FILES.map(|file| format!("--report {}={file}", &file[4..])).join(" ");
    let build = |dir: &Path| {
        fs::write(dir.join("sealed.toml"), SEALED).unwrap();
        let mut tensors = small_tensors(1);
        tensors.push((
            "<script>x</script>|`\"'&]]>\u{202e}[a](b)",
            "F32",
            &[64, 64],
            noise(9, 16_384),
        ));
        write_model(&dir.join("a-model"), &tensors)
    };
    let all = |args: &str| format!("{args} {formats}");
    let sequence = Sequence::new("reports", build)
        .json("seal", &all("seal {m} -o seal.json"))
        .writing(&FILES)
        .json("verify", &all("verify {m} --seal seal.json"))
        .writing(&FILES)
        .change(|_, model| {
            flip(model);
            fs::write(model.join("config.json"), "{}").unwrap();
            fs::write(model.join("loader.py"), "x = 1\n").unwrap();
        })
        .json("verify, changed", &all("verify {m} --seal seal.json"))
        .writing(&FILES)
        .json("audit", &all("audit {m}"))
        .writing(&FILES)
        .json("gate", &all("gate {m} --seal seal.json --policy sealed.toml"))
        .writing(&FILES)
        .json("compare", &all("compare {m} {m}"))
        .writing(&FILES)
        .json("inspect", &all("inspect {m}"))
        .writing(&FILES)
        .json("nothing there", &all("audit none"))
        .writing(&FILES);
    vec![sequence]
}
