//! What counts the queries of a window where no driver of ours does. Invariant: a count taken over another interval
//! than the window's is scaled to it, and one that cannot be had is an error with its reason, never 0.

use crate::analyze::cost::quantities::evaluate;
use crate::clock::Span;
use crate::load::LoadError;
use crate::preset::Expression;
use crate::run::{Part, Window};
use anyhow::Result;
use regex::Regex;
use std::fmt;

/// A counter of queries.
#[derive(Clone, Debug)]
pub enum QueryCounter {
    /// An expression over the server's metrics.
    Metrics(Expression),
    /// Calls of the statements whose text matches, by the database's statement statistics.
    Statements(Regex),
    /// Requests that arrived at the sockets of the server's port.
    Sockets,
}

impl QueryCounter {
    /// `statements(REGEX)`, `sockets`, or an expression over metrics.
    ///
    /// # Errors
    /// Text that is none of these.
    pub fn parse(text: &str) -> Result<QueryCounter> {
        let text = text.trim();
        if text == "sockets" {
            return Ok(QueryCounter::Sockets);
        }
        if let Some(pattern) = text.strip_prefix("statements(").and_then(|rest| rest.strip_suffix(')')) {
            let bad = |error| LoadError::Usage(format!("statements(): `{pattern}` is no regular expression: {error}"));
            return Ok(QueryCounter::Statements(Regex::new(pattern).map_err(bad)?));
        }
        Ok(QueryCounter::Metrics(Expression::parse(text)?))
    }

    /// Queries of the window, scaled from the interval that they were counted over.
    ///
    /// # Errors
    /// Why they were not counted.
    pub fn count(&self, window: &Window) -> Result<f64, String> {
        let scaled = |count: u64, over: Span| match over.nanos() {
            0 => Err("its two readings are of the same instant".to_string()),
            nanos => Ok(count as f64 * window.facts.span.nanos() as f64 / nanos as f64),
        };
        match self {
            QueryCounter::Metrics(expression) => evaluate(expression, window),
            QueryCounter::Statements(pattern) => {
                let delta = window.statements.as_ref().ok_or_else(|| window.facts.why_without(&Part::Statements))?;
                let calls = delta.statements.iter().filter(|s| pattern.is_match(&s.query)).map(|s| s.calls).sum();
                scaled(calls, Span::new(delta.before.midpoint(), delta.after.midpoint()))
            }
            QueryCounter::Sockets => {
                let wire = window.wire.as_ref().ok_or_else(|| window.facts.why_without(&Part::Places))?;
                let hop = wire.load().ok_or("the sockets of no hop were followed")?;
                scaled(hop.queries, wire.span)
            }
        }
    }
}

impl fmt::Display for QueryCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryCounter::Metrics(expression) => expression.fmt(f),
            QueryCounter::Statements(pattern) => write!(f, "statements({pattern})"),
            QueryCounter::Sockets => f.write_str("sockets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divisor_reads_back_as_it_was_written_and_a_wrong_one_says_what_is_wrong() {
        for text in ["sockets", "statements(^SELECT read_ts)", "delta(a_total) + delta(b_total)"] {
            assert_eq!(QueryCounter::parse(text).unwrap().to_string(), text);
        }
        assert!(QueryCounter::parse("statements([)").unwrap_err().to_string().contains("`[` is no regular expression"));
        assert!(QueryCounter::parse("queries(x)").is_err());
    }
}
