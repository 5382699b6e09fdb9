//! Having a database forget its statistics. Invariant: whether it did is seen in its figures, never taken from its
//! answer; every window is a difference all the same, so a reset without effect costs nothing.

use super::{StatementSource, StatementsError, StatementsSnapshot};

/// What became of a reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The counts began anew, or were too small to tell.
    Done,
    /// The database answered, and this statement still has its calls.
    WithoutEffect {
        /// Text of the statement.
        query: String,
    },
}

/// Resets the statistics and looks whether that had an effect.
///
/// # Errors
/// The database refuses, or cannot be read.
pub async fn reset(source: &dyn StatementSource) -> Result<Reset, StatementsError> {
    let before = source.snapshot().await?;
    source.clear().await?;
    Ok(verdict(&before, &source.snapshot().await?))
}

/// A reset that works takes the calls of the most called statement with it: in the moment between the two readings it
/// cannot be called as often again as in all the time before. Under two calls nothing can be told, and nothing need
/// be.
fn verdict(before: &StatementsSnapshot, after: &StatementsSnapshot) -> Reset {
    let most =
        before.rows.iter().filter(|row| !row.is_hidden()).max_by_key(|row| row.calls).filter(|row| row.calls > 1);
    let kept = most.filter(|most| after.rows.iter().any(|row| row.key == most.key && row.calls >= most.calls));
    kept.map_or(Reset::Done, |row| Reset::WithoutEffect { query: row.query.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::StatementRow;
    use super::*;
    use crate::clock::Span;

    fn snapshot(rows: &[(&str, u64)]) -> StatementsSnapshot {
        let row = |(key, calls): &(&str, u64)| StatementRow {
            key: key.to_string(),
            query: format!("select {key}"),
            calls: *calls,
            ..StatementRow::default()
        };
        StatementsSnapshot { source: "test".into(), span: Span::new(0, 1), rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn a_reset_that_left_the_most_called_statement_alone_had_no_effect() {
        let before = snapshot(&[("a", 3), ("b", 90)]);
        let told = Reset::WithoutEffect { query: "select b".into() };
        assert_eq!(verdict(&before, &snapshot(&[("b", 90), ("reset", 1)])), told);
        assert_eq!(verdict(&before, &snapshot(&[("b", 95)])), told);
        for after in [snapshot(&[]), snapshot(&[("reset", 1)]), snapshot(&[("b", 2), ("a", 3)])] {
            assert_eq!(verdict(&before, &after), Reset::Done);
        }
        assert_eq!(verdict(&snapshot(&[("a", 1)]), &snapshot(&[("a", 1)])), Reset::Done);
    }
}
