//! How a server's metrics divide a place. Invariant: what a node takes is said in one way: by an expression with
//! its unit, by the name of a quantity, which says the same things, or by statements; an error names the node and
//! its line.

use super::{Computed, Expression, Pattern, Per, Time, Timed};
use serde::Deserialize;
use toml::Spanned;

/// A node of the nesting by which the server's metrics divide a place. Keys of places are their names in `wire.json`
/// (`server`), of another hop's with the hop's name before (`database/server`).
#[derive(Clone, Debug, PartialEq)]
pub struct Nested {
    /// The node's name, as reports show it; other nodes name it in `inside`.
    pub name: String,
    /// Key of the place, or name of the node, that it is a part of.
    pub inside: String,
    /// A batch serves several queries: its time is set against a caller's only where each query has one of its own.
    pub per: Per,
    /// Where the node's time comes from.
    pub known: Known,
    /// The hop whose round trips it consists of: their places become its parts.
    pub hop: Option<String>,
    /// Of those the round trips for statements whose text this finds; `None`: all of the hop.
    pub of_use: Option<Pattern>,
    /// Servers may lack its metrics: nobody is told where they do.
    pub optional: bool,
}

/// What tells how long a node takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// Mean of one, with the count of the histogram it rests on.
    Metrics(Timed),
    /// Execution and planning time of the first of these statements that was called, by the database's own statistics.
    Statements(Vec<String>),
}

impl Known {
    /// The expression over metrics, if it is known by one.
    pub fn metrics(&self) -> Option<&Timed> {
        match self {
            Known::Metrics(timed) => Some(timed),
            Known::Statements(_) => None,
        }
    }
}

/// A `[[node]]`, as a file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenNode {
    name: Spanned<String>,
    inside: String,
    /// Of a quantity it is the quantity's.
    per: Option<Per>,
    quantity: Option<String>,
    expression: Option<Expression>,
    /// Of the expression; left out: us.
    unit: Option<Time>,
    statements: Option<Vec<String>>,
    hop: Option<String>,
    /// Of the round trips those for statements whose text, without constants, this expression finds.
    #[serde(rename = "use")]
    of_use: Option<Pattern>,
    #[serde(default)]
    optional: bool,
}

impl WrittenNode {
    /// The node, with the quantity that it names; `text` is that of its file.
    pub fn resolve(self, quantities: &[Computed], text: &str) -> Result<Nested, String> {
        let (per, known) = self.known(quantities).map_err(|why| located("node", &self.name, text, &why))?;
        let of_quantity = |quantity: &Computed| quantity.optional && self.quantity.as_ref() == Some(&quantity.name);
        let optional = self.optional || quantities.iter().any(of_quantity);
        if self.of_use.is_some() && self.hop.is_none() {
            return Err(located("node", &self.name, text, "`use` says which round trips of a `hop`, which is missing"));
        }
        let WrittenNode { name, inside, hop, of_use, .. } = self;
        Ok(Nested { name: name.into_inner(), inside, per, known, hop, of_use, optional })
    }

    fn known(&self, quantities: &[Computed]) -> Result<(Per, Known), String> {
        let per = || self.per.ok_or("`per` is missing: query, call, batch or window".to_string());
        match (&self.quantity, &self.expression, &self.statements) {
            (Some(name), None, None) => {
                if self.per.is_some() || self.unit.is_some() {
                    return Err("the quantity says its `per` and `unit`; leave them out here".into());
                }
                let quantity = quantities.iter().find(|quantity| quantity.name == *name);
                let quantity =
                    quantity.ok_or_else(|| format!("there is no quantity `{name}`; {}", times(quantities)))?;
                let wrong =
                    || format!("quantity `{name}` is in {}, which is no time; {}", quantity.unit, times(quantities));
                Ok((quantity.per, Known::Metrics(quantity.timed().ok_or_else(wrong)?)))
            }
            (None, Some(expression), None) => {
                let unit = self.unit.unwrap_or(Time::Microseconds);
                Ok((per()?, Known::Metrics(Timed { expression: expression.clone(), unit })))
            }
            (None, None, Some(_)) if self.unit.is_some() => Err("statements have no `unit`; leave it out".into()),
            (None, None, Some(statements)) => Ok((per()?, Known::Statements(statements.clone()))),
            _ => Err("exactly one of `quantity`, `expression` and `statements` says what it takes".into()),
        }
    }
}

/// What is wrong with an entry of this name, and where.
pub fn located(what: &str, name: &Spanned<String>, text: &str, why: &str) -> String {
    let line = text[..name.span().start].matches('\n').count() + 1;
    format!("line {line}: {what} `{}`: {why}", name.get_ref())
}

/// The quantities that a node can name, for the one who named none of them.
fn times(quantities: &[Computed]) -> String {
    let times = quantities.iter().filter(|quantity| quantity.unit.time().is_some());
    let names: Vec<String> = times.map(|quantity| format!("`{}`", quantity.name)).collect();
    if names.is_empty() { "no quantity is a time".into() } else { format!("times are {}", names.join(", ")) }
}
