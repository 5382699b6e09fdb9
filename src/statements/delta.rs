//! Two readings of statement statistics, subtracted. Invariant: statements are matched by the source's own key, never
//! by text alone, and what the source does not tell apart is summed before it is subtracted; a counter that went down
//! counts as vanished, not as a negative; what the role may not see is left out and counted.

use super::{SampledDelta, StatementDelta, StatementsDelta};
use crate::clock::Span;
use crate::connection::without_sql_secrets;
use std::collections::{BTreeMap, HashMap};

/// What pg_stat_statements shows instead of the statements of other roles, which then have no id either.
const HIDDEN: &str = "<insufficient privilege>";
/// What shows them; it goes on with the role's name.
pub const HIDDEN_REMEDY: &str = "GRANT pg_read_all_stats TO";

/// One statement in one reading: totals since the source's own start. Times in ns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatementRow {
    /// What the source tells statements apart by.
    pub key: String,
    /// The statement's text, with parameters for constants where the source replaces them.
    pub query: String,
    /// `None` where the source does not tell applications apart.
    pub application: Option<String>,
    /// Executions.
    pub calls: u64,
    /// Rows returned or affected, over all calls.
    pub rows: u64,
    /// Float, as the source keeps it: differences are rounded to ns once.
    pub exec: f64,
    /// `None` where planning is not tracked.
    pub plan: Option<f64>,
    /// `None` where the source does not measure the whole service.
    pub service: Option<f64>,
    /// `None` where nothing was sampled.
    pub sampled: Option<SampledRow>,
}

impl StatementRow {
    /// Whether the role may not see this statement.
    pub fn is_hidden(&self) -> bool {
        self.query == HIDDEN
    }

    /// The totals of two rows that the source does not tell apart.
    fn plus(mut self, other: &StatementRow) -> StatementRow {
        let both = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        self.calls = self.calls.saturating_add(other.calls);
        self.rows = self.rows.saturating_add(other.rows);
        self.exec += other.exec;
        self.plan = both(self.plan, other.plan);
        self.service = both(self.service, other.service);
        self.sampled = match (self.sampled, other.sampled) {
            (Some(a), Some(b)) => Some(SampledRow {
                calls: a.calls.saturating_add(b.calls),
                cpu: both(a.cpu, b.cpu),
                contention: both(a.contention, b.contention),
            }),
            (a, b) => a.or(b),
        };
        self
    }
}

/// Totals over the calls that the source sampled. Times in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SampledRow {
    /// Calls that were sampled.
    pub calls: u64,
    /// Sum of their CPU time in the database's SQL layer; `None` where this version does not measure it.
    pub cpu: Option<f64>,
    /// Sum of their waits for other transactions; `None` where the source does not give it.
    pub contention: Option<f64>,
}

/// One reading. `span` is the duration of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementsSnapshot {
    /// Where it was read: source and version, and the database's URL without password.
    pub source: String,
    /// When it was read.
    pub span: Span,
    /// As the source gives them; several may share a key.
    pub rows: Vec<StatementRow>,
}

impl StatementsSnapshot {
    /// How many statements the role may not see.
    pub fn hidden(&self) -> usize {
        self.rows.iter().filter(|row| row.is_hidden()).count()
    }

    /// The statements that can be told apart, by the source's key.
    fn by_key(&self) -> BTreeMap<&str, StatementRow> {
        let mut rows: BTreeMap<&str, StatementRow> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| !row.is_hidden()) {
            let sum = match rows.remove(row.key.as_str()) {
                Some(former) => former.plus(row),
                None => row.clone(),
            };
            rows.insert(&row.key, sum);
        }
        rows
    }
}

impl StatementsDelta {
    /// What was called between two readings of the same source, the most execution time first. Statements without a
    /// call in between are left out.
    pub fn between(before: &StatementsSnapshot, after: &StatementsSnapshot) -> StatementsDelta {
        let mut first: HashMap<&str, StatementRow> = before.by_key().into_iter().collect();
        let mut vanished = 0;
        let mut statements = Vec::new();
        for (key, row) in &after.by_key() {
            let former = first.remove(key);
            let former = former.as_ref();
            if former.is_some_and(|f| f.calls > row.calls || f.exec > row.exec * (1.0 + 1e-9)) {
                vanished += 1;
                continue;
            }
            if former.is_none_or(|former| former.calls < row.calls) {
                statements.push(difference(former, row));
            }
        }
        statements.sort_by(|a, b| b.exec.cmp(&a.exec).then_with(|| a.query.cmp(&b.query)));
        StatementsDelta {
            source: after.source.clone(),
            before: before.span,
            after: after.span,
            statements,
            vanished: vanished + first.len(),
            hidden: after.hidden(),
        }
    }
}

/// One statement between two readings; `None` before: it was not there yet.
fn difference(former: Option<&StatementRow>, row: &StatementRow) -> StatementDelta {
    let (calls, rows, exec) = former.map_or((0, 0, 0.0), |f| (f.calls, f.rows, f.exec));
    let before = |figure: fn(&StatementRow) -> Option<f64>| former.and_then(figure).unwrap_or(0.0);
    let since = |figure: fn(&StatementRow) -> Option<f64>| figure(row).map(|now| nanos(now - before(figure)));
    StatementDelta {
        query: without_sql_secrets(&row.query),
        application: row.application.clone(),
        calls: row.calls - calls,
        rows: row.rows.saturating_sub(rows),
        exec: nanos(row.exec - exec),
        plan: since(|row| row.plan),
        service: since(|row| row.service),
        sampled: sampled(former.and_then(|former| former.sampled), row.sampled),
        new: former.is_none(),
    }
}

/// `None` where no call was sampled in between.
fn sampled(former: Option<SampledRow>, now: Option<SampledRow>) -> Option<SampledDelta> {
    let (former, now) = (former.unwrap_or_default(), now?);
    let since = |now: Option<f64>, before: Option<f64>| now.map(|now| nanos(now - before.unwrap_or(0.0)));
    let calls = now.calls.checked_sub(former.calls).filter(|calls| *calls > 0)?;
    let (cpu, contention) = (since(now.cpu, former.cpu), since(now.contention, former.contention));
    Some(SampledDelta { calls, cpu, contention })
}

/// Rounding can take a difference of two large sums below 0.
fn nanos(difference: f64) -> u64 {
    difference.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, calls: u64, exec: f64, plan: Option<f64>) -> StatementRow {
        StatementRow {
            key: key.into(),
            query: format!("select\n {key}"),
            calls,
            rows: calls,
            exec,
            plan,
            ..StatementRow::default()
        }
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

    #[test]
    fn rows_of_one_key_are_subtracted_together() {
        let before = snapshot(vec![row("a", 1000, 100.0, None), row("a", 3, 30.0, None)]);
        let after = snapshot(vec![row("a", 7, 70.0, None), row("a", 1010, 110.0, None), row("b", 1, 5.0, None)]);
        let delta = StatementsDelta::between(&before, &after);
        let of = |s: &StatementDelta| (s.query.clone(), s.calls, s.exec, s.new);
        let all: Vec<_> = delta.statements.iter().map(of).collect();
        assert_eq!(all, [("select\n a".into(), 14, 50, false), ("select\n b".into(), 1, 5, true)]);
        assert_eq!((delta.vanished, delta.hidden), (0, 0));
    }

    #[test]
    fn what_the_role_may_not_see_is_left_out_and_counted() {
        let hidden = |calls| StatementRow { query: HIDDEN.into(), ..row("same", calls, 10.0, None) };
        let before = snapshot(vec![hidden(1000), hidden(3), row("own", 1, 1.0, None)]);
        let after = snapshot(vec![hidden(7), hidden(1010), hidden(1), row("own", 2, 2.0, None)]);
        let delta = StatementsDelta::between(&before, &after);
        let calls: Vec<_> = delta.statements.iter().map(|s| (s.query.as_str(), s.calls)).collect();
        assert_eq!((calls, delta.vanished, delta.hidden), (vec![("select\n own", 1)], 0, 3));
    }

    #[test]
    fn what_is_sampled_is_divided_by_its_own_count() {
        let with =
            |calls, exec, sampled| StatementRow { service: Some(2.0 * exec), sampled, ..row("a", calls, exec, None) };
        let some = |calls, cpu, contention| Some(SampledRow { calls, cpu: Some(cpu), contention });
        let delta = |before, after| {
            let delta = StatementsDelta::between(&snapshot(vec![before]), &snapshot(vec![after]));
            delta.statements[0].clone()
        };
        let found = delta(with(100, 1e6, some(1, 5e3, None)), with(300, 5e6, some(3, 25e3, Some(8.0))));
        assert_eq!((found.calls, found.mean_exec(), found.mean_service()), (200, Some(2e4), Some(4e4)));
        assert_eq!((found.sampled.unwrap().calls, found.mean_cpu()), (2, Some(1e4)));
        assert_eq!(found.mean_contention(), Some(4.0));
        let unsampled = delta(with(100, 1e6, some(1, 5e3, None)), with(150, 2e6, some(1, 5e3, None)));
        assert_eq!((unsampled.sampled, unsampled.mean_cpu()), (None, None), "no call of the window was sampled");
        let two = found.clone().plus(unsampled.clone());
        assert_eq!((two.calls, two.sampled), (250, found.sampled));
        let unmeasured = StatementDelta { service: None, ..unsampled };
        assert_eq!(found.plus(unmeasured).service, None, "a sum of what was half measured would be too small");
    }
}
