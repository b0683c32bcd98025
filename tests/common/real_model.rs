//! The real model that `scripts/test` fetches.

use std::path::PathBuf;

/// The directory of the real model: `scripts/test` fetches it; `TENSORSEAL_TESTDATA` says where to.
pub(crate) fn real_model() -> PathBuf {
    let data = std::env::var_os("TENSORSEAL_TESTDATA")
        .map_or_else(|| tensorseal_testing::workspace().join(".testdata"), PathBuf::from);
    let model = data.join("all-MiniLM-L6-v2");
    assert!(model.is_dir(), "{} is not there: run scripts/fetch-testdata", model.display());
    model
}
