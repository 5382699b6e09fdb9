//! Two readings of statement statistics, subtracted. Invariant: statements are matched by the source's own key, never by
//! text alone; a counter that went down counts as vanished, not as a negative.

use super::{StatementDelta, StatementsDelta};
use crate::clock::Span;
use std::collections::HashMap;

/// One statement in one reading: totals since the source's own start. Times in ns.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementRow {
    /// What the source tells statements apart by.
    pub key: String,
    pub query: String,
    pub calls: u64,
    pub rows: u64,
    /// Float, as the source keeps it: differences are rounded to ns once.
    pub exec: f64,
    /// `None` where planning is not tracked.
    pub plan: Option<f64>,
}

/// One reading. `span` is the duration of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementsSnapshot {
    pub source: String,
    pub span: Span,
    pub rows: Vec<StatementRow>,
}

impl StatementsDelta {
    /// What was called between two readings of the same source, the most execution time first. Statements without a
    /// call in between are left out.
    pub fn between(before: &StatementsSnapshot, after: &StatementsSnapshot) -> StatementsDelta {
        let mut first: HashMap<&str, &StatementRow> = before.rows.iter().map(|r| (r.key.as_str(), r)).collect();
        let mut vanished = 0;
        let mut statements = Vec::new();
        for row in &after.rows {
            let former = first.remove(row.key.as_str());
            if former.is_some_and(|f| f.calls > row.calls || f.exec > row.exec * (1.0 + 1e-9)) {
                vanished += 1;
                continue;
            }
            let (calls, rows, exec) = former.map_or((0, 0, 0.0), |f| (f.calls, f.rows, f.exec));
            if row.calls == calls {
                continue;
            }
            let plan = row.plan.map(|plan| plan - former.and_then(|f| f.plan).unwrap_or(0.0));
            statements.push(StatementDelta {
                query: row.query.clone(),
                calls: row.calls - calls,
                rows: row.rows.saturating_sub(rows),
                exec: (row.exec - exec).round().max(0.0) as u64,
                plan: plan.map(|p| p.round().max(0.0) as u64),
                new: former.is_none(),
            });
        }
        statements.sort_by(|a, b| b.exec.cmp(&a.exec).then_with(|| a.query.cmp(&b.query)));
        StatementsDelta {
            source: after.source.clone(),
            before: before.span,
            after: after.span,
            statements,
            vanished: vanished + first.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, calls: u64, exec: f64, plan: Option<f64>) -> StatementRow {
        StatementRow { key: key.into(), query: format!("select\n {key}"), calls, rows: calls, exec, plan }
    }

    fn snapshot(rows: Vec<StatementRow>) -> StatementsSnapshot {
        StatementsSnapshot { source: "test".into(), span: Span::new(0, 1), rows }
    }

    #[test]
    fn calls_and_times_are_differences_sorted_by_time() {
        let before = snapshot(vec![row("a", 10, 100.0, None), row("same", 1, 1.0, None)]);
        let after = snapshot(vec![row("a", 15, 350.4, None), row("b", 2, 900.0, Some(7.0)), row("same", 1, 1.0, None)]);
        let delta = StatementsDelta::between(&before, &after);
        assert_eq!(delta.vanished, 0);
        let of = |s: &StatementDelta| (s.query.clone(), s.calls, s.exec, s.plan, s.new);
        let all: Vec<_> = delta.statements.iter().map(of).collect();
        assert_eq!(all, [("select\n b".into(), 2, 900, Some(7), true), ("select\n a".into(), 5, 250, None, false)]);
        let found = delta.statement(" select  a ").unwrap();
        assert_eq!(found.mean_exec(), Some(50.0));
        assert_eq!(delta.statement("select c"), None);
    }

    #[test]
    fn what_was_evicted_or_reset_has_vanished() {
        let before = snapshot(vec![row("evicted", 10, 100.0, None), row("reset", 10, 100.0, None)]);
        let after = snapshot(vec![row("reset", 3, 30.0, None)]);
        let delta = StatementsDelta::between(&before, &after);
        assert_eq!((delta.vanished, delta.statements.len()), (2, 0));
    }
}
