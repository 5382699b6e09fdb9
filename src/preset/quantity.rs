//! Figures computed from metrics. Invariant: only a time is shown in another unit than its expression gives.

use super::{Expression, Per, Time, Unit};
use serde::Deserialize;

/// A figure computed from metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenQuantity")]
pub struct Computed {
    /// The quantity's name, as reports show it; nodes, checks and diagnoses refer to it.
    pub name: String,
    /// Of what the expression gives.
    pub unit: Unit,
    /// In which the figure is shown.
    pub shown: Unit,
    /// What the figure is per.
    pub per: Per,
    /// How the figure is computed from a window's metrics; the result is in `unit`.
    pub expression: Expression,
    /// Servers may lack its metrics: nobody is told where they do.
    pub optional: bool,
}

impl Computed {
    /// The expression with its unit, where that is one of time.
    pub fn timed(&self) -> Option<Timed> {
        Some(Timed { expression: self.expression.clone(), unit: self.unit.time()? })
    }
}

/// As it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuantity {
    name: String,
    unit: Unit,
    /// The unit of time that it is shown in; left out: `unit`.
    show: Option<Time>,
    per: Per,
    expression: Expression,
    #[serde(default)]
    optional: bool,
}

impl TryFrom<WrittenQuantity> for Computed {
    type Error = String;
    fn try_from(written: WrittenQuantity) -> Result<Computed, String> {
        let WrittenQuantity { name, unit, show, per, expression, optional } = written;
        let shown = match show {
            Some(_) if unit.time().is_none() => {
                return Err(format!(
                    "quantity `{name}`: its unit `{unit}` is none of time, so it cannot be shown in another; give its \
                     unit as s, ms, us or ns, or leave `show` out"
                ));
            }
            Some(time) => Unit::Time(time),
            None => unit.clone(),
        };
        Ok(Computed { name, unit, shown, per, expression, optional })
    }
}

/// An expression that gives a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// How the time is computed from a window's metrics.
    pub expression: Expression,
    /// Unit of what the expression gives.
    pub unit: Time,
}
