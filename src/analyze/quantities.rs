//! Quantities: named numbers that the metrics, statements and wire give a level. Invariant: one that was not measured
//! has no value and says why.

use serde::Serialize;

/// What a quantity is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    Query,
    Call,
    Batch,
    None,
}

/// One number of one window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantity {
    pub name: String,
    pub unit: String,
    pub per: Per,
    pub value: Option<f64>,
    /// Observations it rests on.
    pub count: Option<f64>,
    /// The quantile lies in `(lower, upper]`.
    pub bounds: Option<(f64, f64)>,
    /// The series or file it came from.
    pub source: String,
    /// Why there is no value.
    pub missing: Option<String>,
}
