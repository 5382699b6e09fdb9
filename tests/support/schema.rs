//! Answers in JSON against the schema in `docs/json-schema.json`. Invariant: what it does not allow is a failure that
//! names the place and the reason.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;
use std::sync::LazyLock;

static SCHEMA: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json-schema.json");
    let mut schemas = Schemas::new();
    let index = Compiler::new().compile(path, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    (schemas, index)
});

/// What the schema has against it, by the place in the answer.
pub fn wrong(answer: &Value) -> Option<String> {
    let (schemas, index) = &*SCHEMA;
    schemas.validate(answer, *index).err().map(|error| format!("{error:#}"))
}

/// The answer, which the schema allows.
pub fn answer(text: &str) -> Value {
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if let Some(wrong) = wrong(&answer) {
        let [wrong, text] = [&wrong, text].map(|text| text.chars().take(3_000).collect::<String>());
        panic!("{wrong}\n{text}");
    }
    answer
}
