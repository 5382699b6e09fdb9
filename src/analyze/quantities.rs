//! Quantities: named numbers that the metrics, statements and wire give a level. Invariant: one that was not measured
//! has no value and says why.

use serde::{Deserialize, Serialize};

/// One number of one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    pub name: String,
    /// `us`, `calls`, `%` ...
    pub unit: String,
    /// What it is divided by: `query`, `batch`, `call`; empty where by nothing.
    pub per: String,
    pub value: Option<f64>,
    /// Observations it rests on.
    pub count: Option<f64>,
    /// The series or file it came from.
    pub source: String,
    /// Why there is no value.
    pub missing: Option<String>,
}
