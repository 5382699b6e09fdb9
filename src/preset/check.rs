//! Checks that are particular to a server. Invariant: the value that is checked is said in one way, by an
//! expression or by the name of a quantity; an error names the check and its line.

use super::node::located;
use super::{Computed, Expression};
use serde::Deserialize;
use toml::Spanned;

/// Checks that are particular to the server, and thresholds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// That the code path in focus was the one measured.
    pub focus: Option<FocusGuard>,
    /// That the client's connections did not come and go.
    pub churn: Vec<ChurnGuard>,
}

/// `value` must reach `at_least`.
#[derive(Clone, Debug, PartialEq)]
pub struct FocusGuard {
    /// What is checked, as reports show it.
    pub name: String,
    /// What is compared, in the unit of `at_least`.
    pub value: Expression,
    /// The least value with which the check passes.
    pub at_least: f64,
    /// What to do when the check fails, in words.
    pub remedy: String,
}

/// `value` must not exceed `at_most`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChurnGuard {
    /// What is checked, as reports show it.
    pub name: String,
    /// Unit of `value` and `at_most`, as reports show it.
    pub unit: String,
    /// What is compared.
    pub value: Expression,
    /// The greatest value with which the check passes; like `value` it is computed from the window's metrics.
    pub at_most: Expression,
}

/// `[checks]`, as a file has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenChecks {
    focus: Option<WrittenFocus>,
    churn: Vec<WrittenChurn>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFocus {
    name: Spanned<String>,
    value: Option<Expression>,
    quantity: Option<String>,
    at_least: f64,
    remedy: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChurn {
    name: Spanned<String>,
    /// Of a quantity it is the quantity's.
    unit: Option<String>,
    value: Option<Expression>,
    quantity: Option<String>,
    at_most: Expression,
}

impl WrittenChecks {
    /// The checks, with the quantities that they name; `text` is that of their file.
    pub fn resolve(self, quantities: &[Computed], text: &str) -> Result<Checks, String> {
        let focus = self.focus.map(|focus| focus.resolve(quantities, text)).transpose()?;
        let churn = self.churn.into_iter().map(|churn| churn.resolve(quantities, text)).collect::<Result<_, _>>()?;
        Ok(Checks { focus, churn })
    }
}

impl WrittenFocus {
    fn resolve(self, quantities: &[Computed], text: &str) -> Result<FocusGuard, String> {
        let checked = value(self.value, self.quantity.as_deref(), quantities);
        let (value, _) = checked.map_err(|why| located("check", &self.name, text, &why))?;
        Ok(FocusGuard { name: self.name.into_inner(), value, at_least: self.at_least, remedy: self.remedy })
    }
}

impl WrittenChurn {
    fn resolve(self, quantities: &[Computed], text: &str) -> Result<ChurnGuard, String> {
        let bad = |why: &str| located("check", &self.name, text, why);
        let (value, of_quantity) = value(self.value, self.quantity.as_deref(), quantities).map_err(|why| bad(&why))?;
        let unit = match (self.unit, of_quantity) {
            (Some(_), Some(_)) => return Err(bad("the quantity says its `unit`; leave it out here")),
            (own, of_quantity) => own.or(of_quantity).ok_or_else(|| bad("`unit` is missing"))?,
        };
        Ok(ChurnGuard { name: self.name.into_inner(), unit, value, at_most: self.at_most })
    }
}

/// The expression, and its unit where a quantity has it.
fn value(
    expression: Option<Expression>,
    quantity: Option<&str>,
    quantities: &[Computed],
) -> Result<(Expression, Option<String>), String> {
    match (expression, quantity) {
        (Some(expression), None) => Ok((expression, None)),
        (None, Some(name)) => {
            let found = quantities.iter().find(|quantity| quantity.name == name);
            let found = found.ok_or_else(|| format!("there is no quantity `{name}`"))?;
            Ok((found.expression.clone(), Some(found.unit.to_string())))
        }
        _ => Err("exactly one of `value` and `quantity` says what is checked".into()),
    }
}
