//! The published schemas, and documents that are held to them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Holds a document to its published schema.
pub(crate) fn validate(schema: &str, document: &Value) {
    // Compiling a schema takes longer than most runs of the program.
    static COMPILED: Mutex<BTreeMap<String, Arc<jsonschema::Validator>>> =
        Mutex::new(BTreeMap::new());
    let validator = {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let compile =
            || Arc::new(jsonschema::validator_for(&tensorseal_testing::schema(schema)).unwrap());
        compiled.entry(schema.to_owned()).or_insert_with(compile).clone()
    };
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
