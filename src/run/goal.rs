//! How precisely a run was to be measured. Invariant: it is what was asked for; what was reached is computed from the
//! windows.

use serde::{Deserialize, Serialize};

/// Windows of a level are taken until its large functions are known so well, or until there are so many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionGoal {
    /// Half of the 95 % interval over the value, 0..1.
    pub half_width: f64,
    /// Windows of a level at most (a count).
    pub windows: usize,
}

impl PrecisionGoal {
    /// `±5 %`
    pub fn told(&self) -> String {
        format!("±{} %", (1e3 * self.half_width).round() / 10.0)
    }
}
