//! Guards: checks that must hold for a window's numbers to mean what they say. Each carries its evidence; its prose
//! and remedy are made in `Display` and [`Guard::remedy`].

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    /// Could not be checked; the evidence says why.
    NotMeasured,
    Warn,
    Fail,
}

/// Placeholder until the guards land.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "guard")]
pub enum Guard {
    Placeholder,
}
