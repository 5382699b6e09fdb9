//! Rows of an answer in JSON, found by what they are about. Invariant: a row that is not there is a failure that shows
//! all rows.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use serde_json::Value;

/// All rows.
pub fn rows(answer: &Value) -> &[Value] {
    answer["rows"].as_array().unwrap_or_else(|| panic!("no rows: {answer}"))
}

/// Those that have all of these facts.
pub fn having<'a>(rows: &'a [Value], facts: &Value) -> Vec<&'a Value> {
    let facts = facts.as_object().unwrap();
    rows.iter().filter(|row| facts.iter().all(|(key, fact)| row[key] == *fact)).collect()
}

/// The first row that has all of these facts.
pub fn row<'a>(rows: &'a [Value], facts: &Value) -> &'a Value {
    having(rows, facts).first().copied().unwrap_or_else(|| panic!("no row of {facts} in {rows:?}"))
}

/// The number of the first row that has all of these facts, in its unit.
pub fn figure(rows: &[Value], facts: &Value) -> f64 {
    let row = row(rows, facts);
    row["value"].as_f64().unwrap_or_else(|| panic!("no number: {row}"))
}
